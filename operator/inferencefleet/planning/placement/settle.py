"""A given number of replicas, after guards have held or limited it: stay where possible, then cheapest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from inferencefleet.planning.place import Placement
from inferencefleet.planning.placement.alone import fill
from inferencefleet.planning.placement.case import Case, Mode, prepare
from inferencefleet.planning.placement.measure import shortage, worth
from inferencefleet.planning.placement.share import caps
from inferencefleet.planning.placement.terms import Claim, Offer
from inferencefleet.planning.placement.verdicts import Around, told

NO_OFFERS: Mapping[str, Offer] = MappingProxyType({})
"""Prices as the rooms say."""


def settle(
    claim: Claim,
    total: int,
    current: Mapping[str, int],
    free: Mapping[str, int | None],
    offers: Mapping[str, Offer] = NO_OFFERS,
) -> Placement:
    """So many replicas in all; `free`: GPUs that the fleet may hold in each pool, None or absent = no limit.

    `current` is what should stay (the joint placement, or what runs): all of it while it fits, then the cheapest are
    added, or the dearest given up. What the share of spot or the hedge forbids moves all the same.
    """
    need = replace(claim.need, floor=total, ceiling=total, keep={})
    case = prepare(replace(claim, need=need, current=current), offers)
    left = {pool: float(gpus) for pool, gpus in free.items() if gpus is not None}
    room = caps(case, left)
    best: tuple[tuple[int, int, float, float], list[int]] | None = None
    for mode in case.modes:
        staying = _staying(case, mode)
        for hedged in (True, False) if case.hedged else (False,):
            counts = fill(case, staying, room, total, hedged=hedged)
            lacking = shortage(case, counts)
            moved = sum(max(0, n - option.current) for option, n in zip(case.options, counts, strict=True))
            missing = min(worth(case, counts), claim.need.requests_per_s)
            rank = (lacking.replicas, int(lacking.survival_requests_per_s > 1e-9), -missing, float(moved))
            if best is None or rank < best[0]:
                best = (rank, counts)
    counts = best[1] if best else [0] * len(case.options)
    return told(case, counts, Around(limited={}), shortage(case, counts))


def _staying(case: Case, mode: Mode) -> Mode:
    """The mode with every replica that is there before any that is not, each in order of price."""
    segments: list[tuple[int, float, int, int]] = []
    for i in mode.members:
        option = case.options[i]
        segments.append((0, option.cost, i, min(option.current, option.most)))
        segments.append((1, option.cost, i, option.most))
    return replace(mode, segments=[segment[1:] for segment in sorted(segments)])
