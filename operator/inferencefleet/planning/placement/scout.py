"""Which pools will be scarce, and what are their GPUs worth? Asked of a few fleets first when there are many.

Every so-manieth fleet with as large a part of the limits meets nearly the prices of all fleets, at a part of the time.
What is wrong with the answer costs rounds later, never the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferencefleet.planning.placement.alone import Choice
from inferencefleet.planning.placement.case import Case
from inferencefleet.planning.placement.columns import Search
from inferencefleet.planning.placement.share import caps, over
from inferencefleet.planning.placement.solve import Allowance

SAMPLE = 80
"""Fleets that are asked first; with less than twice as many all are asked at once."""
SURELY = 1.02
"""A sample that is this much over a limit speaks for all."""


@dataclass(slots=True)
class Scouted:
    scarce: set[str]
    prices: dict[str, float]
    """Dollars per hour of a GPU, by scarce pool."""


def scout(
    cases: Sequence[Case],
    wishes: Sequence[Choice],
    scarce: set[str],
    limited: Mapping[str, float],
    allowance: Allowance,
) -> Scouted:
    """From the pools that are scarce by wishes alone to those that will be when everybody has moved."""
    if len(cases) < 2 * SAMPLE:
        return Scouted(scarce, {})
    chosen = range(0, len(cases), len(cases) // SAMPLE)
    few = [cases[i] for i in chosen]
    room = [caps(case, limited) for case in few]
    part = {pool: gpus * len(few) / len(cases) for pool, gpus in limited.items()}
    found = Scouted(set(scarce), {})
    while True:
        search = Search(few, room, {pool: part[pool] for pool in sorted(found.scarce)}, allowance)
        search.converge([wishes[i].counts for i in chosen], found.prices)
        found.prices = dict(zip(search.pools, search.prices, strict=True))
        enough = {pool: gpus * SURELY for pool, gpus in part.items()}
        more = over(search.held(), enough) - found.scarce
        if not more:
            return found
        found.scarce |= more
