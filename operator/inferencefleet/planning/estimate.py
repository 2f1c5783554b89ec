"""Step 1: what arrives now. Completions are not arrivals when engines are saturated: growth in the system is added."""

from __future__ import annotations

import math
from itertools import accumulate

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from inferencefleet.domain.plan import Demand
from inferencefleet.domain.slo import SloMetric
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.physics.lengths import mix_from_histograms

REQUESTS_TO_TRUST_LENGTHS = 50
"""Fewer finished requests than this in the window say too little about a p95 length: the declared mix is used."""


def estimate(fleet: Fleet, metrics: FleetMetrics | MetricsGap, memory: FleetMemory) -> Demand:
    """Demand of one fleet.

    With metrics: arrivals = completions + growth of (running + waiting), in requests per second. Without, the last
    observed rate stands; before the first observation the declared traffic does. `observed` tells which it was.
    """
    completions_per_s = None if isinstance(metrics, MetricsGap) else _finite(metrics.completions_per_s)
    if isinstance(metrics, MetricsGap) or completions_per_s is None or metrics.engines == 0:
        return _last_seen(fleet, memory) if memory.arrivals else _declared(fleet)
    growth_per_s = _finite(metrics.in_system_growth_per_s) or 0.0
    waiting = _finite(metrics.waiting) or 0.0
    arrivals_per_s = max(0.0, completions_per_s + growth_per_s)
    backlog = max(0.0, waiting - _healthy_queue(fleet, arrivals_per_s))
    return Demand(
        arrivals_per_s=arrivals_per_s,
        backlog_requests=backlog,
        observed=True,
        lengths=_lengths(fleet, metrics),
        sentence=(
            f"{arrivals_per_s:.2f} req/s arrive: {completions_per_s:.2f} finish and the number in the system "
            f"changes by {growth_per_s:+.2f} per second; {waiting:.0f} wait, {backlog:.0f} of them are backlog"
        ),
    )


def _finite(value: float | None) -> float | None:
    """NaN and infinity are what a division by nothing leaves behind: unknown, neither zero nor endless."""
    return value if value is not None and math.isfinite(value) else None


def _declared(fleet: Fleet) -> Demand:
    rate = fleet.expected.requests_per_s
    return Demand(
        arrivals_per_s=rate,
        backlog_requests=0.0,
        observed=False,
        lengths=fleet.expected.lengths,
        sentence=f"{rate:.2f} req/s as declared in spec.traffic.expected, because no engine reports yet",
    )


def _last_seen(fleet: Fleet, memory: FleetMemory) -> Demand:
    rate = memory.arrivals[-1][1]
    return Demand(
        arrivals_per_s=rate,
        backlog_requests=0.0,
        observed=False,
        lengths=fleet.expected.lengths,
        sentence=f"{rate:.2f} req/s as last observed, because metrics are missing now",
    )


def _healthy_queue(fleet: Fleet, arrivals_per_s: float) -> float:
    """Requests that may wait without harm: those that arrive within half of the tightest TTFT target."""
    targets_s = [slo.target_s for slo in fleet.slos if slo.metric is SloMetric.TTFT]
    return arrivals_per_s * 0.5 * min(targets_s, default=1.0)


def _lengths(fleet: Fleet, metrics: FleetMetrics) -> LengthMix:
    prompts, outputs = metrics.prompt_tokens, metrics.output_tokens
    if prompts is None or outputs is None or min(prompts.total, outputs.total) < REQUESTS_TO_TRUST_LENGTHS:
        return fleet.expected.lengths
    return mix_from_histograms(
        prompts.bounds,
        list(accumulate(prompts.counts)),
        outputs.bounds,
        list(accumulate(outputs.counts)),
        prompt_mean=prompts.mean,
        output_mean=outputs.mean,
        prefix_hit_ratio=metrics.prefix_hit_ratio or 0.0,
    )
