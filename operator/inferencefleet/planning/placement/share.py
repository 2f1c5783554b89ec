"""Who meets whom: only fleets that want more of a pool than it has meet in one problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from inferencefleet.planning.placement.alone import Choice, alone
from inferencefleet.planning.placement.case import Case, limit_load
from inferencefleet.planning.placement.terms import Offer

SLACK = 1e-9
NEARLY_FULL = 0.05
"""A pool of which less than this share is left may become scarce when others move there."""


def caps(case: Case, left: Mapping[str, float]) -> list[int]:
    """Replicas by option that fit into what is left of the limited pools."""
    return [
        option.most
        if option.pool not in left
        else min(option.most, int((left[option.pool] + SLACK) / limit_load(option.gpus, option.offer)))
        for option in case.options
    ]


def usage(cases: Sequence[Case], counts: Sequence[Sequence[int]]) -> dict[str, float]:
    """GPUs of each pool's limit that these replicas take."""
    used: dict[str, float] = {}
    for case, mine in zip(cases, counts, strict=True):
        for option, n in zip(case.options, mine, strict=True):
            if n:
                used[option.pool] = used.get(option.pool, 0.0) + n * limit_load(option.gpus, option.offer)
    return used


def limits(offers: Iterable[Offer]) -> dict[str, float]:
    return {offer.pool: float(max(0, offer.gpus)) for offer in offers if offer.gpus is not None}


def over(used: Mapping[str, float], limited: Mapping[str, float]) -> set[str]:
    return {pool for pool, gpus in used.items() if pool in limited and gpus > limited[pool] + 1e-6}


def one_after_the_other(
    cases: Sequence[Case], wishes: Sequence[Choice], limited: Mapping[str, float]
) -> tuple[list[list[int]], set[str]]:
    """Higher priorities first, then by name; each takes the best of what is left. Also: pools that somebody missed
    or that are nearly full.

    What must stay where it is counts as taken from the start.
    """
    kept = [[option.keep for option in case.options] for case in cases]
    left = dict(limited)
    for pool, gpus in usage(cases, kept).items():
        if pool in left:
            left[pool] -= gpus
    counts: list[list[int]] = [[] for _ in cases]
    missed: set[str] = set()
    for index in sorted(range(len(cases)), key=lambda i: (-cases[i].claim.priority, cases[i].claim.key)):
        case, wish = cases[index], wishes[index].counts
        mine = usage([case], [kept[index]]) if case.kept else {}
        for pool, gpus in mine.items():
            if pool in left:
                left[pool] = max(left[pool] + gpus, gpus)
        room = caps(case, left)
        short = {option.pool for option, n, most in zip(case.options, wish, room, strict=True) if n > most}
        missed |= short
        counts[index] = alone(case, room).counts if short else wish
        for pool, gpus in usage([case], [counts[index]]).items():
            if pool in left:
                left[pool] -= gpus
    return counts, missed | {pool for pool, gpus in left.items() if gpus < NEARLY_FULL * limited[pool]}


def components(cases: Sequence[Case], wishes: Sequence[Choice], scarce: set[str]) -> list[tuple[list[int], set[str]]]:
    """Fleets that wish for a scarce pool, joined where they could use the same one: (fleets, their scarce pools)."""
    parent = {pool: pool for pool in scarce}

    def root(pool: str) -> str:
        while parent[pool] != pool:
            parent[pool] = parent[parent[pool]]
            pool = parent[pool]
        return pool

    inside: list[tuple[int, str]] = []
    for index, (case, wish) in enumerate(zip(cases, wishes, strict=True)):
        if not any(n and option.pool in scarce for option, n in zip(case.options, wish.counts, strict=True)):
            continue
        usable = sorted({option.pool for option in case.options if option.pool in scarce and option.most > 0})
        for pool in usable[1:]:
            first, other = sorted((root(usable[0]), root(pool)))
            parent[other] = first
        inside.append((index, usable[0]))
    groups: dict[str, list[int]] = {}
    for index, pool in inside:
        groups.setdefault(root(pool), []).append(index)
    return [(groups[name], {pool for pool in scarce if root(pool) == name}) for name in sorted(groups)]
