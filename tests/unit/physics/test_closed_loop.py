from __future__ import annotations

import numpy as np
import pytest

from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.closed_loop import ClosedLoopRun, run_closed_loop
from inferencefleet.physics.operating import closed_loop, open_loop, static_batch
from inferencefleet.physics.prefill import host_s
from inferencefleet.physics.step import StepModel
from tests.unit.physics.shapes import chat, shape

SHAPE = shape("meta-llama/Llama-3.1-8B-Instruct", tensor_parallel=1)
STEP = StepModel(SHAPE)


def run(prompts: list[float], outputs: list[float], clients: int = 1, **limits: float) -> ClosedLoopRun:
    given = {"batched_tokens": 8192, "slots": 256, "kv_cache_tokens": 400_000, **limits}
    return run_closed_loop(STEP, np.array(prompts), np.array(outputs), clients=clients, **given)  # type: ignore[arg-type]


def test_a_lone_request_pays_the_host_its_prefill_and_its_steps() -> None:
    found = run([1000], [101])
    prefill = STEP.seconds(0, 0, 1000, 500)
    assert found.ttft_s[0] == pytest.approx(float(host_s(1000)) + prefill)
    assert found.itl_s[0] == pytest.approx(STEP.seconds(1, 1050), rel=0.01)
    assert found.seconds == pytest.approx(float(host_s(1000)) / 2 + prefill + 100 * found.itl_s[0])


def test_every_request_is_served_once_whatever_the_order() -> None:
    rng = np.random.default_rng(7)
    prompts, outputs = rng.integers(1, 9000, 200), rng.integers(1, 300, 200)
    found = run(prompts.tolist(), outputs.tolist(), clients=24, slots=16)
    assert np.isfinite(found.ttft_s).all()
    assert (found.ttft_s > 0).all()
    assert np.isnan(found.itl_s).sum() == (outputs == 1).sum()
    assert found.waited  # 24 clients on 16 slots
    assert 0 < found.running_mean <= 16


def test_tokens_of_long_runs_of_decode_steps_take_as_long_as_one_by_one() -> None:
    """The closed form takes the middle of a run of steps; contexts grow evenly, so the sum is the same."""
    found = run([500], [2000])
    one_by_one = sum(STEP.seconds(1, 500 + token) for token in range(1999)) / 1999
    assert found.itl_s[0] == pytest.approx(one_by_one, rel=1e-3)


def test_clients_that_start_together_queue_for_their_first_token() -> None:
    together = run([8000] * 16, [200] * 16, clients=16)
    alone = run([8000], [200])
    assert together.ttft_s.max() > 10 * alone.ttft_s[0]
    assert together.ttft_s.min() == pytest.approx(alone.ttft_s[0], rel=0.05)


def test_a_full_cache_makes_requests_wait_for_one_to_end() -> None:
    roomy = run([4000] * 8, [400] * 8, clients=8)
    tight = run([4000] * 8, [400] * 8, clients=8, kv_cache_tokens=8500)
    assert not roomy.waited
    assert tight.waited
    assert tight.running_mean < 2.01
    assert tight.seconds > 2 * roomy.seconds


def test_cached_prefixes_shorten_the_first_token_only() -> None:
    cold, warm = (run_closed_loop(
        STEP, np.full(40, 4000.0), np.full(40, 100.0), clients=1, batched_tokens=8192, slots=256,
        kv_cache_tokens=400_000, prefix_hit_ratio=ratio,
    ) for ratio in (0.0, 0.9))  # fmt: skip
    assert warm.ttft_s.mean() < 0.5 * cold.ttft_s.mean()
    assert warm.itl_s.mean() == pytest.approx(cold.itl_s.mean())


def test_a_benchmark_obeys_littles_law() -> None:
    point = closed_loop(SHAPE, chat(), 32)
    resident = point.requests_per_s * (point.ttft_mean_s + (chat().mean_output_tokens - 1) * point.itl_mean_s)
    # The last round ends with fewer clients than the first began with.
    assert resident == pytest.approx(32, rel=0.15)


def test_the_same_benchmark_gives_the_same_answer() -> None:
    assert closed_loop(SHAPE, chat(), 16) == closed_loop(SHAPE, chat(), 16)


def test_more_clients_wait_longer_and_get_more_done() -> None:
    points = [closed_loop(SHAPE, chat(), clients) for clients in (1, 4, 16, 64)]
    assert [p.itl_mean_s for p in points] == sorted(p.itl_mean_s for p in points)
    assert [p.ttft_mean_s for p in points] == sorted(p.ttft_mean_s for p in points)
    assert [p.output_tokens_per_s for p in points] == sorted(p.output_tokens_per_s for p in points)


def test_an_open_loop_says_when_more_arrives_than_can_be_served() -> None:
    light, heavy = open_loop(SHAPE, chat(), 2.0), open_loop(SHAPE, chat(), 1000.0)
    assert light.stable
    assert light.utilisation < 0.2
    assert not heavy.stable
    assert heavy.utilisation > 1


def test_a_static_batch_prefills_first_and_then_decodes_together() -> None:
    mix = LengthMix(prompt_tokens=np.full(2, 1024.0), output_tokens=np.full(2, 128.0))
    one, many = static_batch(SHAPE, mix, 1), static_batch(SHAPE, mix, 64)
    assert many.ttft_mean_s > 20 * (one.ttft_mean_s - float(host_s(1024)))
    assert many.output_tokens_per_s > 10 * one.output_tokens_per_s
