"""Token lengths: the declared mix until enough is seen, then a slow mean that yields to longer requests at once."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from inferencefleet.domain.history import LengthMemory
from inferencefleet.domain.observation import Histogram
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.planning.drift import differs, learn_lengths, stability_index
from inferencefleet.planning.plan import plan
from tests.builders import GAP, ITL, NOW_S, TTFT, a_fleet, a_mix, a_snapshot, a_state, metrics, replicas

BOUNDS = (*(float(mantissa * 10**power) for power in range(6) for mantissa in (1, 2, 5)), math.inf)
"""vLLM's."""
DECLARED = a_mix(1155, 211)
WINDOW_S, TICK_S = 60.0, 15.0


class Traffic:
    """Windows of log-normal lengths, as overlapping as they are for a loop that ticks four times a window."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = np.random.default_rng(seed)
        self.memory = LengthMemory()
        self.at_s = NOW_S
        self.made = 0

    def histogram(self, mean: float, requests: int) -> Histogram:
        lengths = np.maximum(1, self.chance.lognormal(math.log(mean) - 0.32, 0.8, requests)).round()
        counts = np.bincount(np.searchsorted(BOUNDS, lengths), minlength=len(BOUNDS))
        return Histogram(
            bounds=BOUNDS, counts=tuple(counts.astype(float).tolist()), total=float(requests), sum=float(lengths.sum())
        )

    def lives(
        self,
        minutes: float,
        prompt: float = 1155,
        output: float = 211,
        *,
        requests: int = 600,
        hit: float | None = None,
    ) -> LengthMemory:
        """`requests` finish in each window."""
        for _ in range(round(minutes * 60 / TICK_S)):
            self.at_s += TICK_S
            seen = metrics(
                rps=requests / WINDOW_S,
                prompt_tokens=self.histogram(prompt, requests),
                output_tokens=self.histogram(output, requests),
                prefix_hit_ratio=hit,
            )
            before = self.memory.mix
            self.memory = learn_lengths(DECLARED, seen, self.memory, at_s=self.at_s)
            self.made += self.memory.mix is not before
        return self.memory

    @property
    def prompt_mean(self) -> float:
        assert self.memory.mix is not None
        return self.memory.mix.mean_prompt_tokens


@pytest.mark.parametrize(("requests", "weight"), [(5, 5 / 55), (50, 0.5), (450, 0.9), (5000, 0.99)])
def test_the_declared_mix_weighs_as_much_as_fifty_requests(requests: int, weight: float) -> None:
    fixed = Histogram(bounds=(1000, 5000, math.inf), counts=(0, requests, 0), total=requests, sum=3000.0 * requests)
    seen = metrics(rps=1, prompt_tokens=fixed, output_tokens=fixed)
    mix = learn_lengths(DECLARED, seen, LengthMemory(), at_s=NOW_S).mix
    assert mix is not None
    assert mix.mean_prompt_tokens == pytest.approx(weight * 3000 + (1 - weight) * 1155, rel=0.02)
    assert mix.source == ("observed" if weight > 0.9 else "blended")


@pytest.mark.parametrize("seed", range(3))
def test_stationary_traffic_keeps_the_very_same_mix_so_that_capacities_need_not_be_computed_again(seed: int) -> None:
    traffic = Traffic(seed)
    traffic.lives(30)
    settled = traffic.memory.mix
    traffic.made = 0
    traffic.lives(120)
    assert traffic.made <= 2
    assert traffic.memory.mix is settled or traffic.made
    assert traffic.prompt_mean == pytest.approx(1155, rel=0.06)


@pytest.mark.parametrize("grown", [1.5, 4.0])
def test_longer_prompts_are_believed_within_the_minute(grown: float) -> None:
    traffic = Traffic()
    traffic.lives(30)
    traffic.lives(0.25, prompt=grown * 1155)
    assert traffic.prompt_mean == pytest.approx(grown * 1155, rel=0.12)
    assert traffic.memory.mix is not None
    assert traffic.memory.mix.mean_output_tokens == pytest.approx(211, rel=0.1), "outputs did not drift"


def test_shorter_prompts_are_believed_slowly() -> None:
    traffic = Traffic()
    traffic.lives(30, prompt=4000)
    traffic.lives(2, prompt=1000)
    assert traffic.prompt_mean > 3000
    traffic.lives(60, prompt=1000)
    assert traffic.prompt_mean < 1300


def test_one_minute_of_long_prompts_is_forgotten_sooner_than_a_change_that_lasted() -> None:
    traffic = Traffic()
    traffic.lives(30)
    traffic.lives(1, prompt=8000)
    assert traffic.prompt_mean > 6000
    traffic.lives(15)
    assert traffic.prompt_mean < 2500


def test_a_small_sample_of_odd_requests_is_no_drift() -> None:
    traffic = Traffic()
    traffic.lives(30)
    traffic.made = 0
    traffic.lives(1, prompt=1600, requests=6)
    assert traffic.made == 0


def test_a_fleet_with_a_request_a_minute_remembers_its_last_three_hundred() -> None:
    traffic = Traffic()
    traffic.lives(600, prompt=3000, requests=1)
    assert traffic.memory.prompt is not None
    assert 100 < traffic.memory.prompt.total <= 310
    assert traffic.prompt_mean == pytest.approx(3000, rel=0.35)


def test_means_that_move_inside_one_bucket_are_seen() -> None:
    def inside(mean: float) -> Histogram:
        return Histogram(bounds=(1000, 5000, math.inf), counts=(0, 1000, 0), total=1000, sum=1000 * mean)

    assert stability_index(inside(1500), inside(4000))[0] == 0
    assert differs(inside(1500), inside(4000), psi=0.02, shift=0.15)


def test_the_prefix_hit_ratio_falls_at_once_rises_slowly_and_is_unknown_rather_than_zero() -> None:
    traffic = Traffic()
    assert traffic.lives(5, hit=0.6).prefix_hit_ratio == pytest.approx(0.6)
    assert traffic.lives(1, hit=None).prefix_hit_ratio == pytest.approx(0.6)
    assert traffic.lives(0.25, hit=math.nan).prefix_hit_ratio == pytest.approx(0.6)
    assert traffic.lives(0.25, hit=0.2).prefix_hit_ratio == pytest.approx(0.2)
    assert traffic.memory.mix is not None
    assert traffic.memory.mix.prefix_hit_ratio == pytest.approx(0.2)
    risen = traffic.lives(1, hit=0.6).prefix_hit_ratio
    assert risen is not None
    assert 0.2 < risen < 0.4


def test_other_bucket_bounds_after_a_rollout_begin_anew() -> None:
    traffic = Traffic()
    traffic.lives(10)
    other = Histogram(bounds=(100, 10_000, math.inf), counts=(0, 600, 0), total=600, sum=600 * 900.0)
    seen = metrics(rps=10, prompt_tokens=other, output_tokens=traffic.histogram(211, 600))
    memory = learn_lengths(DECLARED, seen, traffic.memory, at_s=traffic.at_s + 15)
    assert memory.prompt == other
    assert memory.mix is not None
    assert memory.mix.mean_prompt_tokens == pytest.approx(900, rel=0.1)


@pytest.mark.parametrize("total", [0.0, math.nan, math.inf])
def test_histograms_that_say_nothing_leave_the_memory_as_it_is(total: float) -> None:
    empty = Histogram(bounds=(100, math.inf), counts=(total, 0), total=total, sum=total)
    for seen in (GAP, metrics(rps=1), metrics(rps=1, prompt_tokens=empty, output_tokens=empty)):
        memory = LengthMemory()
        assert learn_lengths(DECLARED, seen, memory, at_s=NOW_S) is memory


def test_psi_of_two_samples_of_one_mix_is_within_chance_and_of_two_mixes_is_not() -> None:
    traffic = Traffic()
    alarms = sum(
        differs(traffic.histogram(1155, 400), traffic.histogram(1155, 4000), psi=0.0, shift=0.0) for _ in range(400)
    )
    assert alarms <= 8, "about one in a thousand by counts, and as many by means"
    assert differs(traffic.histogram(1700, 400), traffic.histogram(1155, 4000), psi=0.02, shift=0.15)


def test_a_tick_without_news_costs_little() -> None:
    traffic = Traffic()
    traffic.lives(30)
    seen = metrics(rps=10, prompt_tokens=traffic.histogram(1155, 600), output_tokens=traffic.histogram(211, 600))
    took = []
    for _ in range(50):
        began = time.perf_counter()
        learn_lengths(DECLARED, seen, traffic.memory, at_s=traffic.at_s + 15)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.0005


def test_learnt_lengths_beyond_the_slo_do_not_refuse_a_fleet_whose_metrics_are_missing() -> None:
    """Prometheus goes blind just after a burst of monstrous prompts: the declared mix still says what is needed."""
    fleet = a_fleet(slos=(ITL, replace(TTFT, target_s=1.0)))
    monstrous = LengthMemory(mix=a_mix(30_000, 211))
    memory = FleetMemory(lengths=monstrous, arrivals=((NOW_S - 15, 10.0),))
    blind = a_state(fleet, replicas("reserved", 3), seen=GAP)
    [decided] = plan(a_snapshot(blind, memory={fleet.key: memory})).fleets
    assert [problem.code for problem in decided.problems] == ["SLOUnreachable"]
    assert decided.act
    assert decided.replicas >= 3
