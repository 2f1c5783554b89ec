"""Which quantile of demand is worth its price, and what that quantile is when several forecasts disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from inferencefleet.domain.plan import Candidate, Forecast

HIGHEST_QUANTILE = 0.999
"""Nobody's past says more: one window in a thousand is 16 hours of windows of a minute."""
BISECTIONS = 12
"""Halvings of the distance between the candidates' own quantiles: to 1/4,000 of it."""
_NORMAL = NormalDist()
_ROOT_2 = math.sqrt(2.0)


def planning_quantile(attainment: float, *, next_price: float, reference_price: float) -> float:
    """The quantile of demand to plan for, 0..1: the newsvendor's critical ratio (Arrow, Harris and Marschak 1951).

    Who declares an attainment a and would pay the reference (on-demand) price for it says what a shortage costs:
    a / (1 - a) times that price, since at this cost of a shortage a is the ratio short / (short + over) at which one
    stops buying. If the next replica costs less than the reference (spot), more is worth having; if it costs nothing
    (a reserved GPU is paid already), as much as the past can tell. Never below a. Prices in dollars an hour.
    """
    if not 0.0 < attainment < 1.0:
        raise ValueError(f"attainment={attainment}: must lie between 0 and 1, both excluded; 0.99 is usual")
    if next_price < 0 or reference_price < 0:
        raise ValueError(f"prices {next_price} and {reference_price}: must not be negative; a paid GPU costs 0")
    short = reference_price * attainment / (1.0 - attainment)
    ratio = short / (short + next_price) if short + next_price > 0 else HIGHEST_QUANTILE
    return max(attainment, min(HIGHEST_QUANTILE, ratio))


def looked_at_again(level: float, *, window_s: float, horizon_s: float) -> float:
    """The quantile of one look when the scale-down window keeps the highest of all that were made in it, 0..1.

    Forecasts made within one horizon of each other share most of their luck, so the window holds about
    m = 1 + window / horizon independent ones, and the highest of m is exceeded with (1 - q')^m: q' = 1 - (1 - q)^(1/m).
    """
    looks = 1.0 + max(0.0, window_s) / max(1.0, horizon_s)
    return float(1.0 - (1.0 - level) ** (1.0 / looks))


def normal_quantile(level: float) -> float:
    """z of a normal distribution; the ends are capped, because a declared attainment may be 1."""
    return _NORMAL.inv_cdf(min(max(level, 1e-6), 1.0 - 1e-6))


def pooled_quantile(candidates: Sequence[Candidate], level: float, stretch: float) -> float:
    """The quantile of the mixture of all candidates, each normal with its stretched deviation; requests per second.

    Of the mixture and not the mean of their quantiles: where candidates disagree, the bound must hold if the higher
    one is right with more than the share 1 - level.
    """
    z = normal_quantile(level)
    parts = [(each.location_per_s, stretch * each.deviation_per_s, each.weight) for each in candidates]
    own = [location + z * deviation for location, deviation, _ in parts]
    low, high = min(own), max(own)
    if high - low <= 1e-4 * abs(high):
        return high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = sum(
            weight * 0.5 * (1.0 + math.erf((middle - location) / max(1e-9, deviation * _ROOT_2)))
            for location, deviation, weight in parts
        )
        low, high = (middle, high) if below < level else (low, middle)
    return max(0.0, high)


def upper_at(ahead: Forecast, level: float) -> float:
    """The bound of this forecast at another quantile: what a pool with another price should be planned for."""
    if not ahead.candidates:
        return ahead.upper_per_s
    expected = pooled_quantile(ahead.candidates, level, ahead.stretch)
    return bound(expected, ahead.level_per_s, ahead.floor_per_s, ahead.backlog_drain_per_s)


def bound(expected_per_s: float, present_per_s: float, floor_per_s: float, drain_per_s: float) -> float:
    """Nothing shrinks on a forecast alone, and what is announced is believed."""
    return max(expected_per_s, present_per_s, floor_per_s) + drain_per_s
