"""Five cheap ways to say what arrives at the horizon: as now, by trend, smoothed, as yesterday, as last week."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from inferencefleet.domain.history import Blocks, Points, Skill

WAYS = ("persistence", "trend", "holt", "day", "week")
TREND_MEMORY_S = 90.0
"""Trend is fitted over the last horizon, but over at least this long, so that noise is not taken for a ramp."""
WINDOWS_OF_HISTORY = 2.0
"""Rate windows of history before a trend is believed: a step looks like a ramp until it has passed through one."""
TREND_POINTS = 16
"""More points than this say nothing new, as their windows overlap."""
TREND_DAMPING_S = 400.0
"""Time constant of a damped trend (Gardner and McKenzie 1985): no ramp goes on for ever."""
TREND_PERCENTILE = 0.1
"""Far below the median: what one in ten pairs of points does not show is not a trend, but what all show goes on."""
LARGEST_RISE = 0.5
"""A trend adds at most this share of the level: a spike that has just begun must not be extrapolated into the sky."""
SMOOTH_LEVEL_S, SMOOTH_SLOPE_S = 120.0, 900.0
"""Time constants of Holt's level and slope."""
SMOOTH_FORGET_S = 900.0
"""After a silence as long as this, smoothing begins anew."""
DAY_S = 86_400.0
DAYS, WEEKS = (1, 2, 3), (7, 14)
"""Days ago that say how a day, or a week, goes."""
LEAST_RATE = 1 / 300
"""One request in five minutes: ratios of less are noise."""
LARGEST_RATIO = 4.0
"""No season is believed to move traffic further than so many times up or down within a horizon."""


def locations(
    level_per_s: float,
    arrivals: Points,
    blocks: Blocks,
    skill: Skill,
    *,
    at_s: float,
    horizon_s: float,
    window_s: float,
) -> tuple[tuple[float | None, ...], float]:
    """(what each way says, None where the history does not reach; the proven rise in req/s per second)."""
    trend = rising_trend(arrivals, at_s=at_s, horizon_s=horizon_s, window_s=window_s)
    smooth = skill.smooth_per_s
    return (
        level_per_s,
        level_per_s + trend_ahead(level_per_s, trend, horizon_s=horizon_s, window_s=window_s),
        _holt(skill, horizon_s),
        _season(smooth, blocks, at_s, horizon_s, DAYS),
        _season(smooth, blocks, at_s, horizon_s, WEEKS),
    ), trend


def trend_ahead(level_per_s: float, trend_per_s2: float, *, horizon_s: float, window_s: float) -> float:
    """What a damped and capped trend adds to the level over the horizon, requests per second.

    A rate is centred half a window ago, so the trend looks that much further.
    """
    reach_s = TREND_DAMPING_S * (1 - math.exp(-(horizon_s + window_s / 2) / TREND_DAMPING_S))
    return min(trend_per_s2 * reach_s, LARGEST_RISE * level_per_s)


def rising_trend(arrivals: Points, *, at_s: float, horizon_s: float, window_s: float) -> float:
    """Slope in req/s per second over the last horizon, >= 0; 0 while there is too little history to tell.

    A low percentile of the slopes between all pairs of points (Theil 1950, Sen 1968: their median): a ramp shows in
    every pair, a step only in the pairs across it, noise in half of them.
    """
    span_s = max(TREND_MEMORY_S, horizon_s, 1.5 * WINDOWS_OF_HISTORY * window_s)
    recent = _thinned(arrivals, at_s - span_s)
    if len(recent) < 4 or recent[-1][0] - recent[0][0] < WINDOWS_OF_HISTORY * window_s:
        return 0.0
    if recent[-1][1] <= min(rate for _, rate in recent):
        return 0.0  # most fleets, most of the time: what is at its lowest does not rise
    points = np.array(recent)
    earlier, later = _pairs(len(recent))
    rises = (points[later, 1] - points[earlier, 1]) / (points[later, 0] - points[earlier, 0])
    place = TREND_PERCENTILE * (rises.size - 1)
    at = int(place)
    rises.partition((at, at + 1))
    slope = float(rises[at] + (place - at) * (rises[at + 1] - rises[at]))
    return max(0.0, slope)


def smoothed(skill: Skill, at_s: float, rate_per_s: float) -> Skill:
    """Holt's two moving means (1957), for ticks at any distance."""
    passed_s = at_s - skill.smooth_at_s
    if not 0 < passed_s <= SMOOTH_FORGET_S:
        if passed_s == 0:
            return skill
        return replace(skill, smooth_at_s=at_s, smooth_per_s=rate_per_s, smooth_slope_per_s2=0.0)
    before, slope = skill.smooth_per_s, skill.smooth_slope_per_s2
    expected = before + slope * passed_s
    level = max(0.0, expected + (1 - math.exp(-passed_s / SMOOTH_LEVEL_S)) * (rate_per_s - expected))
    slope += (1 - math.exp(-passed_s / SMOOTH_SLOPE_S)) * ((level - before) / passed_s - slope)
    return replace(skill, smooth_at_s=at_s, smooth_per_s=level, smooth_slope_per_s2=slope)


def _holt(skill: Skill, horizon_s: float) -> float:
    reach_s = SMOOTH_SLOPE_S * (1 - math.exp(-horizon_s / SMOOTH_SLOPE_S))
    most = LARGEST_RISE * skill.smooth_per_s
    return skill.smooth_per_s + min(most, max(-most, skill.smooth_slope_per_s2 * reach_s))


def _season(smooth_per_s: float, blocks: Blocks, at_s: float, horizon_s: float, ago: Sequence[int]) -> float | None:
    """The level now times how it went on from this time of day then; None when no such day was seen."""
    if len(blocks.means) < 2:
        return None
    ratios = []
    for days in ago:
        then_s = at_s - days * DAY_S
        before, after = blocks.mean_at(then_s), blocks.mean_at(then_s + horizon_s)
        if before is not None and after is not None and before >= LEAST_RATE:
            ratios.append(min(LARGEST_RATIO, max(1 / LARGEST_RATIO, after / before)))
    return smooth_per_s * sum(ratios) / len(ratios) if ratios else None


def _thinned(arrivals: Points, after_s: float) -> Points:
    """The points since then, evenly fewer of them where there are many; always with the last."""
    begin = len(arrivals)
    while begin > 0 and arrivals[begin - 1][0] > after_s:
        begin -= 1
    step = -(-(len(arrivals) - begin) // TREND_POINTS) or 1
    return arrivals[begin:][::-step][::-1]


@lru_cache(maxsize=TREND_POINTS + 1)
def _pairs(points: int) -> tuple[Any, Any]:
    earlier, later = np.triu_indices(points, k=1)
    return earlier, later
