"""All fleets over all pools: alone where nobody is in the way, together where a pool is scarce."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from inferencefleet.planning.placement.alone import Choice, alone
from inferencefleet.planning.placement.case import Case, load, prepare
from inferencefleet.planning.placement.component import Answer, rank, solve_component, solve_exactly
from inferencefleet.planning.placement.measure import cost, priced, shortage
from inferencefleet.planning.placement.program import Program
from inferencefleet.planning.placement.scout import scout
from inferencefleet.planning.placement.share import caps, components, limits, one_after_the_other, over, usage
from inferencefleet.planning.placement.solve import Allowance, optimise
from inferencefleet.planning.placement.terms import TOLERANCE, Claim, Joint, Offer
from inferencefleet.planning.placement.verdicts import Around, told

NODES_MATTER = 0.01
"""Whole nodes are worth a problem of their own from this share of all dollars on..."""
MOST_WHOLE_NODES = 30
"""...and up to so many fleets; with more, a node that is partly empty is noise."""
MOST_ALONE = 50
"""Fleets without a closed form that are solved one by one."""


def place_all(claims: Sequence[Claim], offers: Sequence[Offer], *, deadline_s: float) -> Joint:
    """The cheapest placement of all claims that keeps every limit; whoever lacks something has the lowest priority.

    `deadline_s` bounds the seconds of solving; what is known by then is what comes back, with its gap.
    """
    by_pool = {offer.pool: offer for offer in offers}
    cases = [prepare(claim, by_pool) for claim in sorted(claims, key=lambda claim: claim.key)]
    limited = limits(offers)
    allowance = Allowance(left_s=deadline_s)

    # 1. What would each do alone?
    wishes = [alone(case, caps(case, limited)) for case in cases]
    counts = [wish.counts for wish in wishes]
    bound = sum(wish.lower for wish in wishes)

    # 2. Where they get in each other's way, together.
    worth: dict[str, float] = {}
    if over(usage(cases, counts), limited):
        counts, bound, worth = _together(cases, wishes, limited, allowance)
    else:
        counts, bound = _one_by_one(cases, wishes, limited, allowance)

    # 3. Nodes are bought whole.
    lacking = [shortage(case, mine) for case, mine in zip(cases, counts, strict=True)]
    missing = sum(priced(case, lack) for case, lack in zip(cases, lacking, strict=True))
    dollars = bill(cases, counts)
    if dollars + missing - bound > NODES_MATTER * (dollars + missing) and len(cases) <= MOST_WHOLE_NODES:
        counts, whole_bound = _whole_nodes(cases, counts, limited, allowance)
        lacking = [shortage(case, mine) for case, mine in zip(cases, counts, strict=True)]
        dollars = bill(cases, counts)
        bound = max(bound, whole_bound)
    gap = max(0.0, (dollars + missing - bound) / (dollars + missing)) if dollars + missing > 0 else 0.0
    gap = 0.0 if gap < 1e-9 else gap
    around = Around.of(cases, counts, limited)
    return Joint(
        placements={
            case.claim.key: told(case, mine, around, lack)
            for case, mine, lack in zip(cases, counts, lacking, strict=True)
        },
        worth_per_gpu_hour={offer.pool: worth.get(offer.pool, 0.0) for offer in offers},
        gap=gap,
        problems=allowance.problems,
        exact=gap <= TOLERANCE,
    )


def bill(cases: Sequence[Case], counts: Sequence[Sequence[int]]) -> float:
    """Dollars per hour with nodes bought whole, and what starting wastes."""
    total = 0.0
    on_nodes: dict[str, float] = {}
    offers: dict[str, Offer] = {}
    for case, mine in zip(cases, counts, strict=True):
        total += cost(case, mine)
        for option, n in zip(case.options, mine, strict=True):
            if n and option.offer.marginal_price_per_gpu_hour > 0:
                offers[option.pool] = option.offer
                gpus = n * load(option.gpus, option.offer.gpus_per_node)
                on_nodes[option.pool] = on_nodes.get(option.pool, 0.0) + gpus
    for pool, gpus in on_nodes.items():
        per_node = offers[pool].gpus_per_node
        unused = math.ceil(gpus / per_node - 1e-9) * per_node - gpus
        total += unused * offers[pool].marginal_price_per_gpu_hour
    return total


def _one_by_one(
    cases: Sequence[Case], wishes: Sequence[Choice], limited: Mapping[str, float], allowance: Allowance
) -> tuple[list[list[int]], float]:
    """Nothing is scarce: only fleets without a closed form are left, and only while what they take stays free."""
    counts = [wish.counts for wish in wishes]
    bounds = [wish.lower for wish in wishes]
    open_cases = [index for index, wish in enumerate(wishes) if not wish.exact]
    for index in open_cases[:MOST_ALONE]:
        answer = solve_exactly([cases[index]], [counts[index]], _own(cases[index], limited), bounds[index], allowance)
        bounds[index] = max(bounds[index], answer.bound)
        tried = [*counts[:index], answer.counts[0], *counts[index + 1 :]]
        if not over(usage(cases, tried), limited):
            counts = tried
    return counts, sum(bounds)


def _own(case: Case, limited: Mapping[str, float]) -> dict[str, float]:
    return {option.pool: limited[option.pool] for option in case.options if option.pool in limited}


def _together(
    cases: Sequence[Case], wishes: Sequence[Choice], limited: Mapping[str, float], allowance: Allowance
) -> tuple[list[list[int]], float, dict[str, float]]:
    """Problems over scarce pools only; a pool that becomes scarce by what moved there joins, until none does.

    Limits that are left out only make the bound smaller, so it stays one.
    """
    greedy, missed = one_after_the_other(cases, wishes, limited)
    scarce = over(usage(cases, [wish.counts for wish in wishes]), limited) | missed
    scouted = scout(cases, wishes, scarce, limited, allowance)
    scarce, prices = scouted.scarce, scouted.prices
    known: dict[tuple[tuple[int, ...], frozenset[str]], Answer] = {}
    while True:
        counts = [wish.counts for wish in wishes]
        bounds = [wish.lower for wish in wishes]
        worth: dict[str, float] = {}
        for members, pools in components(cases, wishes, scarce):
            key = (tuple(members), frozenset(pools))
            if key not in known:
                known[key] = solve_component(
                    [cases[i] for i in members],
                    [wishes[i].counts for i in members],
                    [greedy[i] for i in members],
                    {pool: limited[pool] for pool in sorted(pools)},
                    limited,
                    sum(wishes[i].lower for i in members),
                    prices,
                    allowance,
                )
            for place, i in enumerate(members):
                counts[i] = known[key].counts[place]
                bounds[i] = 0.0
            bounds[members[0]] = known[key].bound
            worth.update(known[key].worth)
        prices = worth
        more = over(usage(cases, counts), limited) - scarce
        if not more:
            break
        scarce |= more
    if over(usage(cases, counts), limited) or rank(cases, greedy) < rank(cases, counts):
        counts = greedy
    return counts, sum(bounds), worth


def _whole_nodes(
    cases: list[Case], counts: list[list[int]], limited: Mapping[str, float], allowance: Allowance
) -> tuple[list[list[int]], float]:
    """The same again with nodes bought whole and nobody lacking more than before."""
    lacking = [shortage(case, mine) for case, mine in zip(cases, counts, strict=True)]
    missing = sum(priced(case, lack) for case, lack in zip(cases, lacking, strict=True))
    program = Program(cases, free=limited, most_lacking=lacking, whole_nodes=True)
    solved = optimise(program, allowance, counts, gap=TOLERANCE if len(cases) == 1 else NODES_MATTER / 2)
    if solved is None:
        return counts, -math.inf
    tried = solved.counts
    # The token price of a reserved GPU breaks ties and is no saving: a GPU that a bought node has left is not free
    # while one that is paid for stands idle.
    better = bill(cases, tried) < (1 - TOLERANCE) * bill(cases, counts) and not over(usage(cases, tried), limited)
    return (tried if better else counts), solved.cost_bound + missing
