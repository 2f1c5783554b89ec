"""Step 2: the upper bound of demand at the time when a replica that is asked for now would serve."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from inferencefleet.domain.plan import Demand, Forecast
from inferencefleet.domain.snapshot import FleetMemory

COUNT_DISPERSION = 4.2
"""Variance / mean of arrivals counted per 10 s in the Azure 2023 conversation trace; a Poisson process has 1."""
TREND_MEMORY_S = 90.0
"""Trend is fitted over the last horizon, but over at least this long, so that noise is not taken for a ramp."""
WINDOWS_OF_HISTORY = 2.0
"""Rate windows of history before a trend is believed: a step looks like a ramp until it has passed through one."""
TREND_DAMPING_S = 120.0
"""Time constant of a damped trend (Gardner and McKenzie 1985): no ramp goes on for ever."""
DRAIN_S = 30.0
"""A backlog is worked off within this time once the replicas for it serve; whoever waits has missed the TTFT anyway."""
TREND_PERCENTILE = 35.0
"""Below the median: what a third of all pairs of points do not show is not a trend."""
MEDIAN_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
LARGEST_RISE = 0.5
"""A trend adds at most this share of the level: a spike that has just begun must not be extrapolated into the sky."""


def forecast(
    demand: Demand, memory: FleetMemory, *, at_s: float, horizon_s: float, window_s: float, attainment: float
) -> Forecast:
    """Level + rising trend x horizon + z x noise, plus what drains the backlog in `DRAIN_S`; requests per second.

    `window_s` is the rate window of the metrics: a rate is centred half a window ago, so the trend looks that much
    further. z is the normal quantile of `attainment`: in that share of windows demand stays below the bound. The trend
    is damped and capped. A falling one never lowers the bound: nothing shrinks on a forecast alone.
    """
    level = demand.arrivals_per_s
    drain = demand.backlog_requests / DRAIN_S
    if not demand.observed:
        return Forecast(
            horizon_s=horizon_s,
            level_per_s=level,
            trend_per_s2=0.0,
            noise_per_s=0.0,
            backlog_drain_per_s=0.0,
            upper_per_s=level,
            sentence=f"planned for {level:.2f} req/s, without a forecast",
        )
    counting = float(np.sqrt(COUNT_DISPERSION * level / max(window_s, 1.0)))
    trend, spread = _rising_trend(
        memory,
        at_s=at_s,
        span_s=max(TREND_MEMORY_S, horizon_s, 1.5 * WINDOWS_OF_HISTORY * window_s),
        least_s=WINDOWS_OF_HISTORY * window_s,
    )
    noise = max(counting, spread)
    ahead = trend_ahead(level, trend, horizon_s=horizon_s, window_s=window_s)
    margin = noise_margin(noise, attainment)
    upper = level + ahead + margin + drain
    return Forecast(
        horizon_s=horizon_s,
        level_per_s=level,
        trend_per_s2=trend,
        noise_per_s=noise,
        backlog_drain_per_s=drain,
        upper_per_s=upper,
        sentence=(
            f"{upper:.2f} req/s in {horizon_s:.0f} s: {level:.2f} now, {ahead:+.2f} by trend, "
            f"{margin:+.2f} for noise, {drain:+.2f} to drain the backlog"
        ),
    )


def trend_ahead(level_per_s: float, trend_per_s2: float, *, horizon_s: float, window_s: float) -> float:
    """What a damped and capped trend adds to the level over the horizon, requests per second."""
    reach_s = TREND_DAMPING_S * (1 - math.exp(-(horizon_s + window_s / 2) / TREND_DAMPING_S))
    return min(trend_per_s2 * reach_s, LARGEST_RISE * level_per_s)


def noise_margin(noise_per_s: float, attainment: float) -> float:
    """What stays above the noise in a share `attainment` of all windows, requests per second."""
    return NormalDist().inv_cdf(attainment) * noise_per_s


def _rising_trend(memory: FleetMemory, *, at_s: float, span_s: float, least_s: float) -> tuple[float, float]:
    """(slope in req/s per second, standard deviation of one rate in req/s) over the last `span_s`.

    The slope is a low percentile of the slopes between all pairs of points (Theil 1950, Sen 1968: their median): a ramp
    shows in every pair, a step only in the pairs across it, noise in half of them. The deviation is taken from the
    median change between neighbours, so that a step is not read as noise. Less than `least_s` of history gives (0, 0).
    """
    recent = np.array([point for point in memory.arrivals if point[0] > at_s - span_s], dtype=float)
    if len(recent) < 4 or recent[-1, 0] - recent[0, 0] < least_s:
        return 0.0, 0.0
    earlier, later = np.triu_indices(len(recent), k=1)
    rises = (recent[later, 1] - recent[earlier, 1]) / (recent[later, 0] - recent[earlier, 0])
    slope = max(0.0, float(np.percentile(rises, TREND_PERCENTILE)))
    changes = np.diff(recent[:, 1]) - slope * np.diff(recent[:, 0])
    return slope, float(np.median(np.abs(changes))) * MEDIAN_TO_SIGMA / math.sqrt(2)
