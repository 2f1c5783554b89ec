"""Means with intervals over seeds, and comparisons at equal attainment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantile of Student's t by degrees of freedom, from 1."""
Z_975 = 1.960
SLACK = 0.001
"""Attainments that differ by less than this count as equal."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds and half the width of its 95 % interval; NaN when one seed cannot tell."""

    mean: float
    half: float

    def text(self, digits: int = 2, scale: float = 1.0, unit: str = "") -> str:
        if math.isnan(self.mean):
            return "-"
        spread = "" if math.isnan(self.half) else f" ± {self.half * scale:.{digits}f}"
        return f"{self.mean * scale:.{digits}f}{spread}{unit}"


def interval(values: Iterable[float]) -> Interval:
    """Student's t over independent seeds."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Interval(math.nan, math.nan)
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return Interval(mean, math.nan)
    variance = math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1)
    freedom = len(known) - 1
    quantile = T_975[freedom - 1] if freedom <= len(T_975) else Z_975
    return Interval(mean, quantile * math.sqrt(variance / len(known)))


@dataclass(frozen=True, slots=True)
class Point:
    """One policy with one setting of its knobs, over the seeds."""

    policy: str
    variant: str
    attainment: float
    dollars: float


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those that no other one beats: from the cheapest up, each attains more than all that are cheaper."""
    best, found = -math.inf, []
    for point in sorted(points, key=lambda each: (each.dollars, -each.attainment, each.policy, each.variant)):
        if point.attainment > best:
            best = point.attainment
            found.append(point)
    return found


def at_equal_attainment(points: Sequence[Point], attainment: float) -> Point | None:
    """The cheapest that attains as much, give or take `SLACK`; None when nothing does."""
    enough = [point for point in points if point.attainment >= attainment - SLACK - 1e-12]
    return min(enough, key=lambda each: (each.dollars, each.policy, each.variant), default=None)


def chosen(points: Sequence[Point], declared: float) -> Point:
    """What tuning picks: the cheapest that attains the declared share, else the one that attains most."""
    if not points:
        raise ValueError("nothing to choose from: a law without settings cannot be tuned")
    enough = [point for point in points if point.attainment >= declared]
    if enough:
        return min(enough, key=lambda each: (each.dollars, each.variant))
    return min(points, key=lambda each: (-each.attainment, each.dollars, each.variant))
