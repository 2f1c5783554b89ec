"""Step 1: what arrives now. Completions are not arrivals when engines are saturated: growth in the system is added."""

from __future__ import annotations

import math
from dataclasses import replace

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from inferencefleet.domain.plan import Demand
from inferencefleet.domain.slo import SloMetric
from inferencefleet.domain.snapshot import FleetMemory

SATURATED_S = 300.0
"""While a backlog waits, arrivals fall no faster than with this time constant: clients that give up are neither
completions nor in the system, so a queue that shrinks is no proof that less arrives."""
DRAIN_SHARE = 0.2
"""Requests miss their SLO until the replicas for them serve; draining may make that time a fifth longer."""
LEAST_DRAIN_S = 15.0
"""A gauge is one moment: a shorter drain would answer a burst of one scrape."""
DEFAULT_TTFT_S = 1.0
MOST = 1e9
"""Requests, or requests/s, of one fleet: more is no reading."""


def estimate(fleet: Fleet, metrics: FleetMetrics | MetricsGap, memory: FleetMemory, *, at_s: float) -> Demand:
    """Demand of one fleet, at the lengths in memory (`drift.learn_lengths`), or else the declared ones.

    With metrics: arrivals = completions + growth of (running + waiting), in requests per second. Without, the last
    observed rate stands; before the first observation the declared traffic does. `observed` tells which it was.
    """
    lengths = memory.lengths.mix or fleet.expected.lengths
    completions_per_s = None if isinstance(metrics, MetricsGap) else _finite(metrics.completions_per_s)
    if isinstance(metrics, MetricsGap) or completions_per_s is None or metrics.engines == 0:
        last = memory.arrivals[-1][1] if memory.arrivals else None
        rate = fleet.expected.requests_per_s if last is None else last
        return Demand(
            arrivals_per_s=rate,
            backlog_requests=0.0,
            observed=False,
            lengths=lengths,
            sentence=f"{rate:.2f} req/s as declared in spec.traffic.expected, because no engine reports yet"
            if last is None
            else f"{rate:.2f} req/s as last observed, because metrics are missing now",
        )
    growth_per_s = _finite(metrics.in_system_growth_per_s)
    waiting = _finite(metrics.waiting) or 0.0
    counted_per_s = max(0.0, completions_per_s + (growth_per_s or 0.0))
    arrivals_per_s = counted_per_s
    begun_per_s = _begun_per_s(metrics)
    if waiting > _healthy_queue(fleet, counted_per_s):
        arrivals_per_s = max(counted_per_s, _remembered(memory, growth_per_s, at_s))
    elif begun_per_s is not None:
        # Nobody waits, so every arrival has its first token: counted itself, without the noise of a difference.
        arrivals_per_s = begun_per_s
    backlog = max(0.0, waiting - _healthy_queue(fleet, arrivals_per_s))
    held = "" if arrivals_per_s == counted_per_s else f" (counted {counted_per_s:.2f}; a full queue hides the rest)"
    return Demand(
        arrivals_per_s=arrivals_per_s,
        backlog_requests=backlog,
        observed=True,
        lengths=lengths,
        sentence=(
            f"{arrivals_per_s:.2f} req/s arrive{held}: {completions_per_s:.2f} finish and the number in the system "
            f"changes by {growth_per_s or 0.0:+.2f} per second; {waiting:.0f} wait, {backlog:.0f} of them are backlog"
        ),
    )


def _begun_per_s(metrics: FleetMetrics) -> float | None:
    """First tokens each second."""
    seen = metrics.ttft_s
    if seen is None or not 0 < seen.total <= MOST or metrics.window_s <= 0:
        return None
    return seen.total / metrics.window_s


def drain_time_s(fleet: Fleet, horizon_s: float) -> float:
    """Time in which a backlog is worked off once the replicas for it serve.

    In proportion to the time that was lost until then, and not faster than the tightest TTFT target: a queue that
    is shorter than this is none.
    """
    return max(LEAST_DRAIN_S, _ttft_s(fleet), DRAIN_SHARE * horizon_s)


def _remembered(memory: FleetMemory, growth_per_s: float | None, at_s: float) -> float:
    """What certainly still arrives while engines are full: all of the last estimate if growth is unknown."""
    if not memory.arrivals:
        return 0.0
    last_s, rate = memory.arrivals[-1]
    return rate if growth_per_s is None else rate * math.exp(-max(0.0, at_s - last_s) / SATURATED_S)


def _finite(value: float | None) -> float | None:
    """NaN and infinity are what a division by nothing leaves behind: unknown, neither zero nor endless."""
    return value if value is not None and abs(value) <= MOST else None


def believable(memory: FleetMemory) -> FleetMemory:
    """Without rates that nobody can have seen: a memory may come from a status that was edited or cut."""
    kept = tuple(point for point in memory.arrivals if math.isfinite(point[0]) and 0 <= point[1] <= MOST)
    return memory if len(kept) == len(memory.arrivals) else replace(memory, arrivals=kept)


def _healthy_queue(fleet: Fleet, arrivals_per_s: float) -> float:
    """Requests that may wait without harm: those that arrive within half of the tightest TTFT target."""
    return arrivals_per_s * 0.5 * _ttft_s(fleet)


def _ttft_s(fleet: Fleet) -> float:
    return min((slo.target_s for slo in fleet.slos if slo.metric is SloMetric.TTFT), default=DEFAULT_TTFT_S)
