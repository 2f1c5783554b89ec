"""What the cluster and Prometheus say about one fleet. Missing is never zero: absent values are None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from inferencefleet.domain.slo import SloMetric


class Phase(StrEnum):
    """Where one replica is on its way to serving, and out again."""

    UNSCHEDULED = "Unscheduled"
    """No node yet: pending is not capacity."""
    STARTING = "Starting"
    """Bound to a node: pulling, loading, compiling."""
    READY = "Ready"
    FAILED = "Failed"
    """Crash-looping or image not found: will not become ready by itself."""
    TERMINATING = "Terminating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One vLLM pod."""

    name: str
    pool: str
    phase: Phase
    node: str | None
    since_s: float
    """When it entered this phase (epoch seconds)."""
    created_s: float
    scheduled_s: float | None = None
    """When it got its node; None while it has none (or nobody told)."""
    doomed: bool = False
    """Its node has an interruption notice or is being drained."""
    message: str = ""
    """The scheduler's or kubelet's own words, when it is stuck."""
    tensor_parallel: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadState:
    """The Deployment of one fleet in one pool, as it is in the cluster."""

    pool: str
    replicas: int
    """`spec.replicas`."""
    tensor_parallel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Increase of a Prometheus histogram over the window."""

    bounds: tuple[float, ...]
    """Upper bounds, ascending, the last one is infinity."""
    counts: tuple[float, ...]
    """Observations in each bucket (not cumulative). Same length as `bounds`."""
    total: float
    sum: float

    @property
    def mean(self) -> float | None:
        return self.sum / self.total if self.total > 0 else None

    def quantile(self, q: float) -> float | None:
        """Linear within the bucket, as `histogram_quantile` does; in the last bucket its lower bound. None if empty."""
        if self.total <= 0:
            return None
        rank, below, lower = q * sum(self.counts), 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if below + count >= rank and count > 0:
                return lower if bound == float("inf") else lower + (bound - lower) * (rank - below) / count
            below, lower = below + count, bound
        return lower

    def share_at_most(self, value: float) -> float | None:
        """Share of observations <= value, 0..1, linear within the bucket. None if empty."""
        total = sum(self.counts)
        if total <= 0:
            return None
        below, lower = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if value < bound:
                inside = 0.0 if bound == float("inf") else (value - lower) / (bound - lower)
                return (below + count * inside) / total
            below, lower = below + count, bound
        return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWindow:
    """What the engines of one pool did over the rate window, summed over them; None = unknown.

    The rate of a latency's sum is a mean number of requests in that phase (Little's law): seconds spent each second.
    """

    window_s: float
    requests_per_s: float | None = None
    """Finished and not aborted."""
    prompts_per_s: float | None = None
    """First tokens."""
    prompt_tokens_per_s: float | None = None
    """Of prompts as they were sent, cached tokens included."""
    output_tokens_per_s: float | None = None
    scheduled_tokens_per_s: float | None = None
    """Prompt tokens that were computed plus tokens generated."""
    prefix_hit_ratio: float | None = None
    preemptions_per_s: float | None = None
    itl_seconds_per_s: float | None = None
    itl_intervals_per_s: float | None = None
    prefill_seconds_per_s: float | None = None
    prefills_per_s: float | None = None
    ttft_seconds_per_s: float | None = None
    running_early: float | None = None
    running_late: float | None = None
    """Mean of the gauge over the first and the second half of the window."""
    waiting_mean: float | None = None
    resets: float | None = None
    """Counters that started again: processes that did."""
    models: tuple[str, ...] = ()
    """Model names that the engines report; empty = unknown."""

    @property
    def itl_mean_s(self) -> float | None:
        return _ratio(self.itl_seconds_per_s, self.itl_intervals_per_s)

    @property
    def prefill_mean_s(self) -> float | None:
        return _ratio(self.prefill_seconds_per_s, self.prefills_per_s)

    @property
    def ttft_mean_s(self) -> float | None:
        return _ratio(self.ttft_seconds_per_s, self.prompts_per_s)


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under is not None and under > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMetrics:
    """Engine gauges of one fleet in one pool, summed over its pods unless said otherwise."""

    engines: int
    """Pods that answered within the freshness limit."""
    running: float
    waiting: float
    kv_cache_usage_mean: float | None
    kv_cache_usage_max: float | None
    window: PoolWindow | None = None
    """None when nothing but the gauges could be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMetrics:
    """All that Prometheus said about one fleet in one query round; counters are increases per second."""

    at_s: float
    """Time of the oldest sample that is used (epoch seconds)."""
    window_s: float
    pools: Mapping[str, PoolMetrics] = field(default_factory=lambda: MappingProxyType({}))
    completions_per_s: float | None = None
    """Finished requests, aborted ones excluded."""
    in_system_growth_per_s: float | None = None
    """Rate of change of running + waiting: what arrived and has not finished."""
    prompt_tokens_per_s: float | None = None
    output_tokens_per_s: float | None = None
    preemptions_per_s: float | None = None
    prefix_hit_ratio: float | None = None
    prompt_tokens: Histogram | None = None
    output_tokens: Histogram | None = None
    ttft_s: Histogram | None = None
    itl_s: Histogram | None = None
    e2e_s: Histogram | None = None
    ttft_long_s: Histogram | None = None
    """As `ttft_s`, over the attainment window."""
    itl_long_s: Histogram | None = None
    e2e_long_s: Histogram | None = None

    def histogram(self, metric: SloMetric, *, long: bool = False) -> Histogram | None:
        """Seconds of this latency over the rate window, or over the attainment window; None when unknown."""
        short_and_long = {
            SloMetric.TTFT: (self.ttft_s, self.ttft_long_s),
            SloMetric.ITL: (self.itl_s, self.itl_long_s),
            SloMetric.E2E: (self.e2e_s, self.e2e_long_s),
        }
        return short_and_long[metric][long]

    @property
    def running(self) -> float:
        return sum(pool.running for pool in self.pools.values())

    @property
    def waiting(self) -> float:
        return sum(pool.waiting for pool in self.pools.values())

    @property
    def engines(self) -> int:
        return sum(pool.engines for pool in self.pools.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsGap:
    """Metrics that should be there and are not."""

    code: str
    """`PrometheusUnreachable`, `NoSamples`, `StaleSamples`."""
    sentence: str
