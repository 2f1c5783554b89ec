"""Calibration under replay: one pool whose true speed is known, and windows of metrics that tell it, or lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Any

import numpy as np

from inferencefleet.domain.calibration import ShapeCalibration, Window
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.fleet import EngineTerms, Fleet
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import FleetMetrics, Histogram, PoolMetrics, PoolWindow
from inferencefleet.domain.snapshot import FleetMemory, FleetState
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.observed import Observed, prompt_shape
from inferencefleet.physics.residence import load, resident_context_tokens
from inferencefleet.physics.ttft import latencies
from inferencefleet.planning.calibrate import Learnt, calibrate, prior_scales, running_shape
from inferencefleet.planning.learn import constants
from tests.builders import NOW_S, a_fleet, a_mix, a_pool, a_workload, replicas

POOL = "reserved"
WINDOW_S = 60.0
ENGINES = 4
Bad = Callable[[PoolMetrics, int], PoolMetrics]
"""What becomes of a window on its way to the planner; the number is that of the window."""


def a_fleet_that_runs(**overrides: Any) -> Fleet:
    engine = EngineTerms(image="vllm/vllm-openai:v0.33.0", tensor_parallel=2)
    return a_fleet(**{"engine": engine, **overrides})


def point(decode_seqs: float, rate: float, lengths: LengthMix) -> Window:
    """An operating point to predict at."""
    return Window(
        decode_seqs=decode_seqs,
        context_tokens=resident_context_tokens(lengths)[0],
        prompts_per_s=rate,
        prompt_tokens=lengths.mean_prompt_tokens,
        prefix_hit_ratio=lengths.prefix_hit_ratio,
        itl_s=1.0,
    )


_MODELLED: dict[object, tuple[float, ...]] = {}


def _modelled(shape: ReplicaShape, truth: Scales, lengths: LengthMix, rate: float) -> tuple[float, ...]:
    """Without noise: rate, decoding sequences, ITL, prefill time, TTFT. Remembered: stories ask the same again."""
    key = (shape, truth, lengths.content(), rate)
    if key not in _MODELLED:
        state = load(shape, lengths, truth, float(shape.limits.max_num_seqs))
        rate = min(rate, 0.95 * float(state.rate[-1]))
        decode = rate * (lengths.mean_output_tokens - 1) * float(np.interp(rate, state.rate, state.itl_mean_s))
        observed = Observed(shape, [point(decode, rate, lengths)], prompt_shape(lengths))
        _MODELLED[key] = (
            rate,
            decode,
            float(observed.itl_s(truth)[0]),
            float(observed.prefill_s(truth)[0]),
            latencies(state, rate).ttft_mean_s() * truth.ttft,
        )
    return _MODELLED[key]


@dataclass
class Synthetic:
    """Physics with hidden scales and log-normal noise: windows that are right but for noise. Rates are of an engine."""

    shape: ReplicaShape
    truth: Scales
    lengths: LengthMix
    noise: float = 0.03
    seed: int = 1

    def __post_init__(self) -> None:
        self._chance = np.random.default_rng(self.seed)

    def window(self, rate: float, hit_ratio: float = 0.0) -> PoolMetrics:
        lengths = replace(self.lengths, prefix_hit_ratio=hit_ratio)
        rate, decode, itl, prefill, ttft = _modelled(self.shape, self.truth, lengths, rate)
        itl, prefill, ttft = itl * self._scatter(), prefill * self._scatter(), ttft * self._scatter()
        tokens = rate * lengths.mean_output_tokens
        spent = (decode, rate * prefill)
        running = ENGINES * sum(spent)
        prompt = rate * lengths.mean_prompt_tokens
        window = PoolWindow(
            window_s=WINDOW_S,
            requests_per_s=ENGINES * rate,
            prompts_per_s=ENGINES * rate,
            prompt_tokens_per_s=ENGINES * prompt,
            output_tokens_per_s=ENGINES * tokens,
            scheduled_tokens_per_s=ENGINES * (prompt * (1 - hit_ratio) + tokens),
            prefix_hit_ratio=hit_ratio,
            preemptions_per_s=0.0,
            itl_seconds_per_s=ENGINES * decode,
            itl_intervals_per_s=ENGINES * decode / itl,
            prefill_seconds_per_s=ENGINES * rate * prefill,
            prefills_per_s=ENGINES * rate,
            ttft_seconds_per_s=ENGINES * rate * ttft,
            running_early=running * (1 + 0.05 * self._chance.standard_normal()),
            running_late=running * (1 + 0.05 * self._chance.standard_normal()),
            waiting_mean=0.0,
            resets=0.0,
            models=("Qwen/Qwen3-32B",),
        )
        return PoolMetrics(
            engines=ENGINES, running=running, waiting=0.0, kv_cache_usage_mean=0.3, kv_cache_usage_max=0.4,
            window=window,
        )  # fmt: skip

    def _scatter(self) -> float:
        return exp(self.noise * self._chance.standard_normal() - self.noise**2 / 2)


@dataclass
class Learner:
    """The planner's side: shows it windows, a minute apart, and asks what it believes."""

    fleet: Fleet = field(default_factory=a_fleet_that_runs)
    engines: int = ENGINES
    lengths: LengthMix = field(default_factory=a_mix)
    window_s: float = WINDOW_S
    at_s: float = NOW_S
    memory: FleetMemory = FleetMemory()

    @property
    def pool(self) -> Any:
        return a_pool(POOL)

    @property
    def shape(self) -> ReplicaShape:
        return running_shape(self.fleet, self.pool.gpu, 2)

    @property
    def prior(self) -> Scales:
        return prior_scales(self.shape)

    @property
    def entry(self) -> ShapeCalibration:
        return self.memory.calibration[0]

    @property
    def scales(self) -> Scales:
        """What capacity is computed with."""
        return Learnt(self.memory.calibration).scales(self.shape, POOL)

    @property
    def best(self) -> Scales:
        """The estimate without margins."""
        return constants(self.entry) if self.memory.calibration else prior_scales(self.shape)

    def show(self, seen: PoolMetrics | None, **overrides: Any) -> ShapeCalibration:
        """One window passes; None is a silent Prometheus."""
        self.at_s += self.window_s
        pools = {} if seen is None else {POOL: seen}
        values: dict[str, Any] = {"at_s": self.at_s - 2, "window_s": self.window_s, "pools": pools}
        state = FleetState(
            fleet=self.fleet,
            metrics=FleetMetrics(**{**values, **overrides.pop("metrics", {})}),
            replicas=overrides.pop("replicas", replicas(POOL, self.engines)),
            workloads=(a_workload(POOL, self.engines),),
        )
        entries = calibrate(state, self.memory, {POOL: self.pool}, self.lengths, at_s=self.at_s)
        self.memory = replace(self.memory, calibration=entries)
        return self.entry

    def show_all(self, windows: Iterable[PoolMetrics]) -> None:
        for seen in windows:
            self.show(seen)

    def capacity(self, scales: Scales | None = None) -> float:
        return replica_capacity(self.shape, self.lengths, self.fleet.slos, scales or self.scales).requests_per_s

    def itl_error(self, truth: Scales, points: Sequence[Window], scales: Scales | None = None) -> float:
        """Mean absolute log error of ITL over operating points."""
        observed = Observed(self.shape, points, prompt_shape(self.lengths))
        found = np.log(observed.itl_s(scales or self.scales)) - np.log(observed.itl_s(truth))
        return float(np.abs(found).mean())

    def capacity_error(self, truth: Scales, scales: Scales | None = None) -> float:
        return abs(log(self.capacity(scales) / self.capacity(truth)))


def with_window(seen: PoolMetrics, **changes: Any) -> PoolMetrics:
    assert seen.window is not None
    return replace(seen, window=replace(seen.window, **changes))


def scaled(seen: PoolMetrics, factor: float, *names: str) -> PoolMetrics:
    """The fields of the window times `factor`."""
    assert seen.window is not None
    return with_window(seen, **{name: factor * getattr(seen.window, name) for name in names})


def slow_answers(target_s: float, share_missed: float) -> Histogram:
    """1,000 values of which this share is over the target."""
    late = 1000 * share_missed
    return Histogram(
        bounds=(target_s, 2 * target_s, float("inf")), counts=(1000 - late, late, 0.0), total=1000.0,
        sum=1000 * target_s,
    )  # fmt: skip
