"""NVIDIA Dynamo's planner: its predictors, its throughput mode, its engine model and its all-engines rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.simulator.laws.dynamo_load import DynamoBoth, DynamoLoad
from inferencefleet.simulator.laws.dynamo_predict import Arima, Constant, Kalman, Predictor, arima
from inferencefleet.simulator.laws.dynamo_regression import Iteration, IterationModel, observe
from inferencefleet.simulator.laws.dynamo_throughput import DynamoThroughput
from inferencefleet.simulator.policy import ANY, PodSample
from tests.unit.simulator.laws_world import cluster, decide, fleet, pod, pods, see

PROFILE = {"reserved": 2.0}


def fed(predictor: Predictor, *values: float) -> float:
    for value in values:
        predictor.add(value)
    return predictor.next()


def test_the_constant_predictor_repeats_the_last_interval_and_skips_leading_silence() -> None:
    assert fed(Constant()) == 0.0
    assert fed(Constant(), 0.0, 0.0, 30.0, 20.0) == 20.0


def test_below_five_points_every_predictor_repeats_the_last() -> None:
    assert fed(Arima(), 10.0, 20.0, 30.0, 40.0) == 40.0
    assert fed(Kalman(), 10.0, 20.0, 30.0, 40.0) == 40.0


def test_arima_follows_a_ramp_and_returns_from_a_swing() -> None:
    # First differences are 10 each: ARIMA(0, 1, 0) with a mean says 10 more.
    assert arima([10, 20, 30, 40, 50, 60, 70, 80]) == pytest.approx(90.0)
    # 100 + 40 (-1)^t: a first-order autoregression knows that up follows down.
    assert arima([140, 60, 140, 60, 140, 60, 140, 60, 140]) == pytest.approx(60.0, abs=1.0)


def test_arima_is_the_constant_on_constant_data_and_never_negative() -> None:
    assert fed(Arima(), *[7.0] * 9) == 7.0
    assert fed(Arima(), *[90.0, 75.0, 60.0, 45.0, 30.0, 15.0, 0.0]) == 0.0


def test_kalman_learns_the_trend_of_a_ramp() -> None:
    assert fed(Kalman(), *[10.0 * step for step in range(1, 41)]) == pytest.approx(410.0, abs=1.0)


def test_kalmans_first_steps_are_those_of_its_equations() -> None:
    # From (100, 0), P = 1000 I: ahead P = [[2001, 1000], [1000, 1000.1]]; gain = (2001, 1000) / 2011.
    kalman = Kalman()
    kalman.add(100.0)
    kalman.add(120.0)
    assert kalman._state is not None
    assert kalman._state.tolist() == pytest.approx([100 + 20 * 2001 / 2011, 20 * 1000 / 2011])


@given(st.lists(st.floats(0, 1e4), max_size=30))
def test_no_predictor_raises_or_goes_below_zero(history: list[float]) -> None:
    for predictor in (Constant(), Arima(), Kalman()):
        assert 0.0 <= fed(predictor, *history) < 1e6


def test_throughput_divides_the_forecast_by_the_profile_every_180_s() -> None:
    law, current, history = DynamoThroughput(predictor="constant"), 1, []
    for tick in range(25):
        rate = 9.0 if tick < 12 else 3.1
        seen = see(15.0 * tick, current, arrivals_per_s=rate, profiled_requests_per_s=PROFILE)
        current = decide(law, seen)[ANY]
        history.append(current)
    assert history[:12] == [5] * 12  # ceil(9.0 / 2.0)
    # At 180 s the mean of the interval counts: (11 x 9.0 + 3.1) / 12 = 8.5 -> 5; at 360 s 3.1 -> ceil(1.55) = 2.
    assert history[12:24] == [5] * 12
    assert history[24] == 2


def test_throughput_plans_with_the_slowest_engine_and_holds_without_a_profile() -> None:
    both = see(0.0, 3, arrivals_per_s=8.0, profiled_requests_per_s={"a": 4.0, "b": 2.0})
    assert decide(DynamoThroughput(predictor="constant"), both)[ANY] == 4
    assert decide(DynamoThroughput(), see(0.0, 3, arrivals_per_s=8.0))[ANY] == 3
    assert decide(DynamoThroughput(), see(0.0, 3, blind=True, profiled_requests_per_s=PROFILE))[ANY] == 3


def test_an_unknown_predictor_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"predictor='prophet'.*constant, arima, kalman"):
        DynamoThroughput(predictor="prophet")


def test_an_iteration_is_read_from_running_requests_and_their_tokens() -> None:
    # 40 running at 800 tokens/s: 50 ms. 800 / 200 = 4 requests/s of 1000 tokens: 4000 x 0.05 = 200 tokens of prefill.
    seen = observe(pod(running=40.0, output_tokens_per_s=800.0, output_tokens_mean=200.0, kv_cache_usage=0.2))
    assert seen == Iteration(prefill_tokens=200.0, decode_tokens=100_000.0, seconds=0.05)
    assert observe(pod(running=0.0)) is None
    assert observe(pod(output_tokens_mean=0.0)) is None


def linear_model(base: float = 0.01, prefill: float = 2e-5, decode: float = 1e-7) -> IterationModel:
    model, random = IterationModel(), np.random.default_rng(1)
    for _ in range(200):
        tokens, kept = random.uniform(0, 2000), random.uniform(0, 400_000)
        model.add(Iteration(tokens, kept, base + prefill * tokens + decode * kept))
    return model


def test_the_engine_model_recovers_the_line_it_was_shown() -> None:
    # 0.01 + 2e-5 x 500 + 1e-7 x 100,000 = 0.03.
    assert linear_model().iteration_s(500, 100_000) == pytest.approx(0.03)


def test_ttft_prefills_the_queue_and_one_more_prompt_in_chunks() -> None:
    # 9000 + 1000 tokens in chunks of 4096: 2 x (0.01 + 0.08192) + (0.01 + 2e-5 x 1808) = 0.23.
    ttft = linear_model().ttft_s(9000, 0, prompt_tokens=1000, chunk=4096)
    assert ttft == pytest.approx(2 * 0.09192 + 0.01 + 0.03616)


def test_a_slope_below_zero_is_not_believed() -> None:
    model = IterationModel()
    for index in range(20):
        model.add(Iteration(100.0 * index, 1000.0, 0.05 - 0.001 * index))
    assert model.iteration_s(1900, 1000.0) == model.iteration_s(0, 1000.0)


def test_old_observations_of_a_crowded_load_go_first() -> None:
    model = IterationModel()
    model.add(Iteration(2000.0, 400_000.0, 0.09))
    for _ in range(300):
        model.add(Iteration(10.0, 1000.0, 0.01))
    # The one observation of a high load is still there, so the line still rises.
    assert model.iteration_s(2000.0, 400_000.0) == pytest.approx(0.09, rel=0.01)


def taught(law: DynamoLoad, who: int) -> None:
    """Engines show 10 ms + 20 us for each prefill token + 0.1 us for each token in the cache, at many loads."""
    for tick in range(12):
        usage, output = 0.05 + 0.05 * tick, 100.0 + 50.0 * (tick % 5)
        decide(
            law, see(5.0 * tick, who, samples=[on_the_line(pod("a", kv_cache_usage=usage, output_tokens_mean=output))])
        )


def on_the_line(sample: PodSample) -> PodSample:
    """Tokens per second of an engine whose iteration takes 10 ms + 0.1 us x tokens in the cache, prefill beside it."""
    decode = 0.01 + 1e-7 * sample.kv_cache_usage * sample.kv_cache_tokens
    # seconds = decode + 2e-5 x (running / output x prompt), since prefill tokens of an iteration are running's share.
    seconds = decode + 2e-5 * sample.running / sample.output_tokens_mean * sample.prompt_tokens_mean
    return replace(sample, output_tokens_per_s=sample.running / seconds)


def load_step(*, waiting: tuple[float, ...], usage: float = 0.2, sensitivity: float = 0.8) -> int:
    """What one decision adds, after the engine model was taught; TTFT 3 s, ITL 100 ms."""
    law, count = DynamoLoad(sensitivity=sensitivity), len(waiting)
    taught(law, count + 1)  # one more asked for than shown: it learns and holds
    samples = [
        on_the_line(pod(f"reserved-{index}", waiting=queue, kv_cache_usage=usage))
        for index, queue in enumerate(waiting)
    ]
    return decide(law, see(300.0, count, samples=samples))[ANY] - count


def test_one_engine_over_the_sla_is_not_enough() -> None:
    # 200 waiting x 1000 tokens at 20 us and 20 ms an iteration of 8192: over 4 s. Only when all are there.
    assert load_step(waiting=(200.0, 200.0)) == 1
    assert load_step(waiting=(200.0, 80.0)) == 0


def test_every_engine_over_the_itl_sla_is_enough_too() -> None:
    # 10 ms + 1e-7 x 0.95 x 500k = 57 ms stays under 100 ms; the prefill beside it adds the mean that was seen.
    assert load_step(waiting=(0.0, 0.0), usage=0.95) == 0
    law = DynamoLoad()
    taught(law, 2)
    heavy = [on_the_line(pod("reserved-0", kv_cache_usage=0.9, kv_cache_tokens=2_000_000.0))]
    assert decide(law, see(300.0, 1, samples=heavy))[ANY] == 2  # 10 ms + 180 ms


def test_it_shrinks_only_if_every_engine_takes_the_load_of_one_fewer() -> None:
    # Two engines, so x 2: a queue of 30 becomes 60,000 tokens, 60k x 20 us = 1.2 s + iterations: under 0.8 x (3 - own).
    assert load_step(waiting=(10.0, 10.0)) == -1
    assert load_step(waiting=(70.0, 10.0)) == 0
    # With sensitivity 0 nothing is calm enough.
    assert load_step(waiting=(10.0, 10.0), sensitivity=0.0) == 0


def test_it_does_not_shrink_onto_a_cache_that_cannot_hold_it() -> None:
    # 0.6 x 500k x 2 > 500k.
    assert load_step(waiting=(0.0, 0.0), usage=0.6) == 0


def test_while_a_change_is_under_way_it_only_watches() -> None:
    law = DynamoLoad()
    taught(law, 3)
    drowned = [on_the_line(sample) for sample in pods(2, waiting=500.0)]
    assert decide(law, see(300.0, 3, samples=drowned, there=cluster(2, starting=1)))[ANY] == 3
    assert decide(law, see(305.0, 2, samples=drowned, there=cluster(2)))[ANY] == 3


def test_it_decides_nothing_before_five_observations() -> None:
    law = DynamoLoad()
    for tick in range(4):
        assert decide(law, see(5.0 * tick, 1, samples=pods(1, waiting=2000.0)))[ANY] == 1
    # 2001 prompts in chunks of 8192 are 245 iterations; all that was seen took 25 ms: over 6 s.
    assert decide(law, see(20.0, 1, samples=pods(1, waiting=2000.0)))[ANY] == 2


def test_with_both_modes_the_forecast_is_a_floor() -> None:
    law = DynamoBoth(predictor="constant")
    seen = see(0.0, 2, arrivals_per_s=9.0, samples=pods(2), profiled_requests_per_s=PROFILE)
    assert decide(law, seen)[ANY] == 5
    assert decide(DynamoBoth(predictor="constant"), replace(seen, arrivals_per_s=1.0))[ANY] == 2


def test_the_bounds_of_the_fleet_are_the_planners_budget() -> None:
    seen = see(0.0, 2, arrivals_per_s=90.0, profiled_requests_per_s=PROFILE, who=fleet(1, 6))
    assert decide(DynamoThroughput(predictor="constant"), seen)[ANY] == 6
