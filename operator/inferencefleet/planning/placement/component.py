"""Fleets that share scarce pools: prices first, then whole placements; few fleets exactly, with strict priorities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inferencefleet.planning.placement.alone import alone
from inferencefleet.planning.placement.case import Case
from inferencefleet.planning.placement.columns import Search, choose
from inferencefleet.planning.placement.measure import cost, missing, priced, shortage
from inferencefleet.planning.placement.program import Program
from inferencefleet.planning.placement.share import caps, over, usage
from inferencefleet.planning.placement.solve import Allowance, optimise
from inferencefleet.planning.placement.terms import TOLERANCE

MOST_EXACT = 12
"""Fleets that are solved as one mixed-integer program when prices alone leave a gap."""
MOST_CHOSEN = 30
"""Fleets that choose anew among the placements they offered: those that were split, and those that mind least."""
PART = 0.3
"""Of the seconds that are left one such program may take: others may follow."""
NEAR = 1e-6


@dataclass(slots=True)
class Answer:
    counts: list[list[int]]
    bound: float
    """Of dollars and priced shortage."""
    worth: dict[str, float] = field(default_factory=dict)
    """Dollars per hour of one GPU more, by scarce pool."""


def solve_component(
    cases: list[Case],
    wishes: list[list[int]],
    greedy: list[list[int]],
    free: Mapping[str, float],
    limited: Mapping[str, float],
    bound: float,
    prices: Mapping[str, float],
    allowance: Allowance,
) -> Answer:
    """`greedy` is what there is without solving, `bound` what is known of it; `free`: GPUs of the scarce pools.

    `prices`: dollars per hour of a GPU, where they are known from a problem with fewer scarce pools.
    """
    search = Search(cases, [caps(case, limited) for case in cases], free, allowance)
    search.converge(greedy, prices)
    counts, anew = _whole(search, greedy, free)
    counts = _polished(cases, wishes, counts, anew, free)
    if rank(cases, greedy) < rank(cases, counts):
        counts = greedy
    weighted = sum(
        cost(case, mine) + weight * missing(case, mine)
        for case, mine, weight in zip(cases, counts, search.weights, strict=True)
    )
    distance = max(0.0, weighted - max(search.bound, bound))
    total = sum(cost(case, mine) + priced(case, shortage(case, mine)) for case, mine in zip(cases, counts, strict=True))
    answer = Answer(counts=counts, bound=max(bound, total - distance))
    if len(cases) <= MOST_EXACT and distance > TOLERANCE * total:
        part = Allowance(left_s=allowance.left_s * PART)
        answer = solve_exactly(cases, counts, free, answer.bound, part)
        allowance.left_s -= allowance.left_s * PART - part.left_s
        allowance.problems += part.problems
    answer.worth = dict(zip(search.pools, search.prices, strict=True))
    return answer


def solve_exactly(
    cases: list[Case], start: list[list[int]], free: Mapping[str, float], bound: float, allowance: Allowance
) -> Answer:
    """One mixed-integer program; what `start` does not lack need not be asked for again."""
    lacking = [shortage(case, mine) for case, mine in zip(cases, start, strict=True)]
    full = None if any(lack.any for lack in lacking) else lacking
    solved = optimise(Program(cases, free=free, most_lacking=full, whole_nodes=False), allowance, start)
    if solved is None or over(usage(cases, solved.counts), free):
        return Answer(counts=start, bound=bound)
    counts = solved.counts if rank(cases, solved.counts) <= rank(cases, start) else start
    return Answer(counts=counts, bound=max(bound, solved.cost_bound + solved.shortage_bound))


def rank(cases: Sequence[Case], counts: Sequence[Sequence[int]]) -> tuple[tuple[float, ...], float]:
    """What is lacking, by priority, the highest first; then dollars. The smaller the better."""
    lacking: dict[int, float] = {}
    for case, mine in zip(cases, counts, strict=True):
        level = -case.claim.priority
        lacking[level] = lacking.get(level, 0.0) + missing(case, mine)
    return (
        tuple(round(lacking[level], 6) for level in sorted(lacking)),
        sum(cost(case, mine) for case, mine in zip(cases, counts, strict=True)),
    )


def _whole(search: Search, greedy: list[list[int]], free: Mapping[str, float]) -> tuple[list[list[int]], Sequence[int]]:
    """Fleets that the master problem left in one piece keep it; the others, told beside, choose in what is left."""
    everybody = range(len(search.cases))
    if not search.shares:
        return greedy, everybody
    settled: dict[int, list[int]] = {}
    for column, share in zip(search.columns, search.shares, strict=False):
        if share >= 1.0 - NEAR:
            settled[column.owner] = column.counts
    owners = [owner for owner in everybody if owner not in settled]
    if not owners:
        return [settled[owner] for owner in everybody], []
    for owner in _indifferent(search)[: max(0, MOST_CHOSEN - len(owners))]:
        if settled.pop(owner, None) is not None:
            owners.append(owner)
    used = usage([search.cases[i] for i in settled], list(settled.values()))
    left = [free[pool] - used.get(pool, 0.0) for pool in search.pools]
    chosen = choose(search, left, owners)
    if chosen is None:
        return greedy, everybody
    settled |= chosen
    return [settled[owner] for owner in everybody], owners


def _indifferent(search: Search) -> list[int]:
    """Fleets in the order of what their second choice costs more at the prices found: the first make room easily."""
    found: dict[int, list[float]] = {}
    for column in search.columns:
        paid = sum(price * gpus for price, gpus in zip(search.prices, column.gpus, strict=True))
        found.setdefault(column.owner, []).append(column.total + paid)
    regret = {}
    for owner, totals in found.items():
        ordered = sorted(totals)
        if len(ordered) > 1:
            regret[owner] = (ordered[1] - ordered[0], owner)
    return sorted(regret, key=lambda owner: regret[owner])


def _polished(
    cases: list[Case],
    wishes: list[list[int]],
    counts: list[list[int]],
    anew: Sequence[int],
    free: Mapping[str, float],
) -> list[list[int]]:
    """Each fleet that chose anew or lacks something once more, higher priorities first, with what others leave.

    One that has its wish needs no more.
    """
    used = usage(cases, counts)
    left = {pool: gpus - used.get(pool, 0.0) for pool, gpus in free.items()}
    counts = list(counts)
    open_cases = set(anew) | {i for i, case in enumerate(cases) if shortage(case, counts[i]).any}
    for i in sorted(open_cases, key=lambda i: (-cases[i].claim.priority, cases[i].claim.key)):
        if counts[i] == wishes[i]:
            continue
        mine = usage([cases[i]], [counts[i]])
        room = {pool: gpus + mine.get(pool, 0.0) for pool, gpus in left.items()}
        better = alone(cases[i], caps(cases[i], room)).counts
        if rank([cases[i]], [better]) < rank([cases[i]], [counts[i]]):
            after = usage([cases[i]], [better])
            left = {pool: gpus - after.get(pool, 0.0) for pool, gpus in room.items()}
            counts[i] = better
    return counts
