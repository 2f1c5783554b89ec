"""The best placement of one fleet that shares nothing: closed form where one exists, and a bound where none does.

In a mode of whole units every replica counts the same, so the cheapest N replicas under caps (each pool its room, all
spot pools their share) are the best N: such caps form a matroid, on which greedy is exact. A hedge caps each spot pool
by N less what must survive, so it is exact too, once for each N that can matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inferencefleet.planning.placement.case import Case, Mode
from inferencefleet.planning.placement.measure import Shortage, cost, priced, shortage, spent
from inferencefleet.planning.placement.mixture import Question, mix
from inferencefleet.planning.placement.terms import TOLERANCE

STRICT = 100.0
"""So many times what serving costs at most counts a request that is missing, where there is room for it."""


@dataclass(slots=True)
class Choice:
    counts: list[int]
    cost: float
    lacking: Shortage
    lower: float
    """No placement of this fleet alone has a smaller sum of dollars and priced shortage."""
    total: float
    """That sum here."""

    @property
    def exact(self) -> bool:
        return self.total - self.lower <= TOLERANCE * self.total + 1e-9


_Rank = tuple[float, int, float, float]


def alone(case: Case, caps: Sequence[int]) -> Choice:
    """`caps`: replicas by option that there is room for."""
    best: tuple[_Rank, list[int], Shortage] | None = None
    bound = math.inf
    for mode in case.modes:
        known = best[0][3] if best is not None and not best[2].any else math.inf
        if mode.whole:
            least = mode.target * mode.segments[0][0]
            if least >= known:
                bound = min(bound, least)
                continue
            counts = _whole(case, mode, caps)
            lower = -math.inf
        else:
            counts, lower = _mixed(case, mode, caps, known)
            if not counts:
                bound = min(bound, lower)
                continue
        lacking = shortage(case, counts)
        dollars = cost(case, counts)
        if lacking.any:
            proven = mode.whole and lacking.survival_requests_per_s == 0
            lower = dollars + priced(case, lacking) if proven else _fractional(case, mode, caps)
        elif mode.whole:
            lower = dollars
        bound = min(bound, lower)
        if case.claim.budget_per_hour is not None and spent(case, counts) > case.claim.budget_per_hour + 1e-9:
            counts = within_budget(case, mode, caps, case.claim.budget_per_hour)
            lacking, dollars = shortage(case, counts), cost(case, counts)
        rank = (
            round(lacking.requests_per_s, 9), lacking.replicas, round(lacking.survival_requests_per_s, 9), dollars,
        )  # fmt: skip
        if best is None or rank < best[0]:
            best = (rank, counts, lacking)
    if best is None:
        counts = [0] * len(case.options)
        lacking = shortage(case, counts)
        return Choice(
            counts=counts, cost=0.0, lacking=lacking, lower=priced(case, lacking), total=priced(case, lacking)
        )
    rank, counts, lacking = best
    total = rank[3] + priced(case, lacking)
    return Choice(counts=counts, cost=rank[3], lacking=lacking, lower=min(bound, total), total=total)


def fill(case: Case, mode: Mode, caps: Sequence[int], replicas: int, *, hedged: bool) -> list[int]:
    """The cheapest so many replicas, or as many as there is room for; what must stay is there first."""
    options = case.options
    counts = [0] * len(options)
    left, spot_left = replicas, mode.spot_most
    if case.kept:
        for i in mode.members:
            counts[i] = min(options[i].keep, caps[i])
            left -= counts[i]
            if options[i].spot:
                spot_left -= counts[i]
    slack = replicas - math.ceil(mode.survive_units - 1e-9)
    for _, i, up_to in mode.segments:
        if left <= 0:
            break
        take = min(left, (up_to if up_to < caps[i] else caps[i]) - counts[i])
        if options[i].spot:
            take = min(take, spot_left)
            if hedged and options[i].loss > slack:
                take = min(take, slack - counts[i])
            if take > 0:
                spot_left -= take
        if take > 0:
            counts[i] += take
            left -= take
    return counts


def _whole(case: Case, mode: Mode, caps: Sequence[int]) -> list[int]:
    counts = fill(case, mode, caps, mode.target, hedged=False)
    if not case.hedged or _survives(case, mode, counts):
        return counts
    best, least = counts, math.inf
    most = min(case.ceiling, mode.target + max(case.options[i].loss for i in mode.members if case.options[i].spot))
    for replicas in range(mode.target, most + 1):
        tried = fill(case, mode, caps, replicas, hedged=True)
        if sum(tried) < replicas:
            continue
        dollars = cost(case, tried)
        if dollars < least and _survives(case, mode, tried):
            best, least = tried, dollars
    return best


def _survives(case: Case, mode: Mode, counts: Sequence[int]) -> bool:
    total = sum(counts)
    return all(
        total - min(counts[i], case.options[i].loss) >= mode.survive_units
        for i in mode.members
        if case.options[i].spot and counts[i] > 0
    )


def _mixed(case: Case, mode: Mode, caps: Sequence[int], known: float) -> tuple[list[int], float]:
    """(the cheapest mixture that lacks least and costs less than `known`, its bound)."""
    dearest = max((each / case.options[i].speed for each, i, _ in mode.segments), default=0.0)
    price = STRICT * (dearest + case.price)
    floor_price = price * max(option.speed for option in case.options)
    mixed = mix(Question(case, mode, mode.segments, caps, price, floor_price), known)
    return mixed.counts, mixed.bound


def _fractional(case: Case, mode: Mode, caps: Sequence[int]) -> float:
    """A bound: as if replicas could be cut and spot, floor and hedge did not count."""
    missing = mode.need_units * mode.unit
    weights = dict(zip(mode.members, mode.weights, strict=True))
    dollars = 0.0
    taken = dict.fromkeys(mode.members, 0)
    for each, i, up_to in mode.segments:
        room = min(up_to, caps[i]) - taken[i]
        serves = weights[i] * mode.unit
        part = min(max(0.0, missing / serves), max(0, room))
        taken[i] += max(0, room)
        dollars += each * part
        missing -= serves * part
    return dollars + case.price * max(0.0, missing)


def within_budget(case: Case, mode: Mode, caps: Sequence[int], budget: float) -> list[int]:
    """As many replicas as the money buys, those with the smallest list price first."""
    options = case.options
    counts = [
        min(option.keep, cap) if i in mode.members else 0
        for i, (option, cap) in enumerate(zip(options, caps, strict=True))
    ]
    money = budget - spent(case, counts)
    spot_left = mode.spot_most - sum(n for option, n in zip(options, counts, strict=True) if option.spot)
    for i in sorted(mode.members, key=lambda i: (options[i].price / options[i].speed, i)):
        take = min(caps[i] - counts[i], mode.target - sum(counts), spot_left if options[i].spot else caps[i])
        if options[i].price > 0:
            take = min(take, math.floor(money / options[i].price + 1e-9))
        if take > 0:
            counts[i] += take
            money -= take * options[i].price
            spot_left -= take if options[i].spot else 0
    return counts
