"""The last word has what was measured: utilisation follows the share of requests that keep their SLO.

Models of a replica and of traffic leave margins that no formula adds up rightly: bursts within seconds, routers,
engines that behave otherwise than their physics. Whether all of them together are enough shows in one number, the share
of requests that missed. More than may miss make the plan more careful, fewer let it count on more; the steps are such
that it rests where just as many miss as may (adaptive conformal inference: Gibbs and Candes 2021).
"""

from __future__ import annotations

from dataclasses import replace
from math import log

from inferencefleet.domain.feedback import Feedback
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.observation import FleetMetrics, Histogram, MetricsGap
from inferencefleet.domain.slo import Slo

LEAST_VALUES = 20.0
"""Of a histogram in one window; fewer say nothing about a share."""
STEP_LOG_PER_S = 0.001 / 60
"""So much more is counted on each second in which nothing misses: 6 % in an hour, for mistakes are found in minutes."""
LARGEST_EXCESS = 9.0
"""Ten times as many misses as are allowed say no more than a hundred times do: that was no matter of a margin."""
MOST_LOG, LEAST_LOG = log(1.15), log(0.65)
"""Bounds of the factor: what is beyond is no margin but a model to be mended, or a shortage."""
LONGEST_STEP_S = 300.0
"""After a silence nobody knows what the time between was like."""


def learn_feedback(
    known: Feedback, fleet: Fleet, metrics: FleetMetrics | MetricsGap, *, at_s: float, short: bool
) -> Feedback:
    """`known` after one more window; once for each window, so that no request counts twice.

    `short`: pools, limits or guards gave less than was asked for. What misses then misses for that reason.
    """
    if isinstance(metrics, MetricsGap) or fleet.scaling.headroom is not None:
        return known
    if known.looked_s is None or at_s < known.looked_s:
        return replace(known, looked_s=at_s)
    passed_s = at_s - known.looked_s
    if passed_s < 0.99 * metrics.window_s:
        return known
    excess = _excess(fleet, metrics)
    if excess is None or (short and excess > 0):
        return replace(known, looked_s=at_s)
    step = STEP_LOG_PER_S * min(passed_s, LONGEST_STEP_S) * excess
    return replace(known, looked_s=at_s, factor_log=max(LEAST_LOG, min(MOST_LOG, known.factor_log - step)))


def _excess(fleet: Fleet, metrics: FleetMetrics) -> float | None:
    """Misses beyond those allowed, in units of those, of the SLO that is worst off; -1 when nothing misses."""
    found = [each for slo in fleet.slos if (each := _excess_of(slo, metrics.histogram(slo.metric))) is not None]
    return max(found, default=None)


def _excess_of(slo: Slo, seen: Histogram | None) -> float | None:
    within = None if seen is None or seen.total < LEAST_VALUES else seen.share_at_most(slo.target_s)
    if within is None:
        return None
    return min(LARGEST_EXCESS, (1.0 - within) / max(1e-3, 1.0 - slo.percentile / 100) - 1.0)
