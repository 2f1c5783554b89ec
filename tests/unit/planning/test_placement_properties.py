"""What holds for every set of fleets and pools that can be thought of."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.fleet import Routing, SpotPolicy, SpotTerms
from inferencefleet.domain.plan import Reason
from inferencefleet.planning.placement import Claim, Offer, place_all
from tests.unit.planning.claims import (
    ON_DEMAND,
    RESERVED,
    SPOT,
    a_claim,
    an_offer,
    bill_of,
    brute_force,
    chosen,
    keeps_its_terms,
    survives,
    within_limits,
    worth_of,
)

DEADLINE_S = 5.0
quick = settings(derandomize=True, max_examples=60, deadline=None)
slow = settings(derandomize=True, max_examples=40, deadline=None)

World = tuple[list[Claim], list[Offer]]


@st.composite
def a_world(draw: st.DrawFn, *, fleets: int = 4, small: bool = False) -> World:
    """Three pools of one kind each, any number of fleets. `small`: few enough placements to try them all."""
    limits = st.sampled_from([0, 1, 2, 3] if small else [0, 1, 4, 9, 40, None])
    offers = [
        an_offer(
            name,
            kind,
            gpus=draw(limits),
            price=draw(st.sampled_from([0.5, 1.0, 1.9, 4.0] if small else [0.0, 0.5, 1.9, 4.0])),
            per_node=draw(st.sampled_from([1, 2, 4])),
            start_hours=0.0 if small else draw(st.sampled_from([0.0, 2.0])),
        )
        for name, kind in (("reserved", RESERVED), ("on-demand", ON_DEMAND), ("spot", SPOT))
    ]
    claims = [
        a_claim(
            f"f{i}",
            draw(st.sampled_from([0.5, 4.0, 7.0] if small else [0.0, 0.3, 4.0, 17.0, 90.0])),
            offers,
            speeds={offer.pool: draw(st.sampled_from([2.0, 4.0] if small else [0.0, 1.0, 4.0])) for offer in offers},
            size=1 if small else draw(st.sampled_from([1, 1, 2, 3])),
            floor=draw(st.integers(0, 2)),
            ceiling=draw(st.sampled_from([3] if small else [2, 9, 100])),
            survive=draw(st.sampled_from([0.0, 0.5, 3.0])),
            keep={} if small else {draw(st.sampled_from(["reserved", "spot"])): draw(st.sampled_from([0, 0, 2]))},
            priority=0 if small else draw(st.integers(0, 2)),
            spot=SpotTerms(
                policy=draw(st.sampled_from(list(SpotPolicy))), max_fraction=draw(st.sampled_from([0.0, 0.5, 1.0]))
            ),
            routing=draw(st.sampled_from(list(Routing))),
            losses={"spot": draw(st.integers(0, 3))},
            current={} if small else {draw(st.sampled_from(["on-demand", "spot"])): draw(st.integers(0, 5))},
            start_cost_hours=0.0 if small else draw(st.sampled_from([0.0, 0.2])),
            budget_per_hour=draw(st.sampled_from([None, None, 5.0])),
        )
        for i in range(draw(st.integers(1, fleets)))
    ]
    return claims, offers


@slow
@given(a_world(fleets=2, small=True))
def test_no_placement_that_keeps_every_term_is_cheaper_than_the_stated_gap_allows(world: World) -> None:
    claims, offers = world
    least = brute_force(claims, offers, most=3)
    joint = place_all(claims, offers, deadline_s=DEADLINE_S)
    counts = chosen(joint, claims)
    if math.isinf(least):
        assert not all(keeps_its_terms(claim, mine) for claim, mine in zip(claims, counts, strict=True))
        return
    dollars = bill_of(claims, offers, counts)
    assert all(keeps_its_terms(claim, mine) for claim, mine in zip(claims, counts, strict=True)), counts
    assert dollars - least <= joint.gap * dollars + 1e-3 * dollars + 1e-9, (dollars, least, joint.gap)
    assert joint.gap <= 0.02


@quick
@given(a_world(fleets=6))
def test_limits_ceilings_and_budgets_are_kept_unless_what_must_stay_breaks_them(world: World) -> None:
    claims, offers = world
    free = [replace(claim, need=replace(claim.need, keep={})) for claim in claims]
    counts = chosen(place_all(free, offers, deadline_s=DEADLINE_S), free)
    assert within_limits(free, offers, counts)
    for claim, mine in zip(free, counts, strict=True):
        assert sum(mine) <= claim.need.ceiling
        paid = sum(room.sizing.price_per_hour * n for room, n in zip(claim.rooms, mine, strict=True))
        assert claim.budget_per_hour is None or paid <= claim.budget_per_hour + 1e-6


@quick
@given(a_world(fleets=6))
def test_nothing_raises_and_whatever_is_lacking_is_told(world: World) -> None:
    claims, offers = world
    joint = place_all(claims, offers, deadline_s=DEADLINE_S)
    assert 0.0 <= joint.gap <= 1.0
    assert all(worth >= 0 and math.isfinite(worth) for worth in joint.worth_per_gpu_hour.values())
    told = {Reason.NOT_ENOUGH_GPUS, Reason.MAX_REPLICAS, Reason.BUDGET}
    for claim, mine in zip(claims, chosen(joint, claims), strict=True):
        short = worth_of(claim, mine) < claim.need.requests_per_s * (1 - 1e-9) or sum(mine) < claim.need.floor
        codes = {verdict.code for verdict in joint.placements[claim.key].verdicts}
        assert bool(codes & told) == short, (mine, codes)


@quick
@given(a_world(fleets=5))
def test_a_hedge_holds_or_is_said_not_to(world: World) -> None:
    claims, offers = world
    joint = place_all(claims, offers, deadline_s=DEADLINE_S)
    for claim, mine in zip(claims, chosen(joint, claims), strict=True):
        if claim.spot.policy is not SpotPolicy.HEDGED or claim.need.survival_requests_per_s > claim.need.requests_per_s:
            continue
        verdicts = joint.placements[claim.key].verdicts
        warned = any(v.code is Reason.SPOT_HEDGE and v.sentence.startswith("the loss of") for v in verdicts)
        assert survives(claim, mine) or warned


@quick
@given(a_world(fleets=5), st.randoms(use_true_random=False))
def test_the_same_claims_in_any_order_give_the_same_placement(world: World, shuffle: object) -> None:
    claims, offers = world
    first = place_all(claims, offers, deadline_s=DEADLINE_S)
    mixed = place_all(
        [replace(claim, rooms=claim.rooms[::-1]) for claim in claims[::-1]], offers[::-1], deadline_s=DEADLINE_S
    )
    assert {key: dict(p.replicas) for key, p in first.placements.items()} == {
        key: dict(p.replicas) for key, p in mixed.placements.items()
    }
    assert (first.gap, first.problems) == (mixed.gap, mixed.problems)


@quick
@given(a_world(fleets=1), st.floats(0, 60), st.floats(0, 60))
def test_more_demand_never_gives_less_capacity_at_equal_prices(world: World, one: float, other: float) -> None:
    claims, offers = world
    equal = [replace(o, price_per_gpu_hour=2.0, marginal_price_per_gpu_hour=2.0, gpus_per_node=1) for o in offers]
    claim = replace(claims[0], current={}, start_cost_hours=0.0, budget_per_hour=None)

    def capacity(rps: float) -> float:
        asked = replace(claim, need=replace(claim.need, requests_per_s=rps, survival_requests_per_s=0.0, keep={}))
        joint = place_all([asked], equal, deadline_s=DEADLINE_S)
        return min(rps, worth_of(asked, chosen(joint, [asked])[0]))

    assert capacity(min(one, other)) <= capacity(max(one, other)) + 1e-6


@quick
@given(st.floats(0.5, 5.0), st.floats(0.01, 3.0), st.floats(1.0, 60.0), st.integers(1, 12))
def test_the_cheaper_of_two_otherwise_equal_pools_is_full_before_the_dearer_is_used(
    price: float, more: float, rps: float, limit: int
) -> None:
    cheap, dear = an_offer("z-cheap", price=price, gpus=limit), an_offer("a-dear", price=price + more, gpus=40)
    claims = [a_claim("a", rps, [dear, cheap]), a_claim("b", rps / 2, [dear, cheap])]
    counts = chosen(place_all(claims, [dear, cheap], deadline_s=DEADLINE_S), claims)
    in_dear, in_cheap = (sum(mine[i] for mine in counts) for i in (0, 1))
    assert in_dear == 0 or in_cheap == limit


@quick
@given(a_world(fleets=4), st.integers(0, 3))
def test_who_has_a_higher_priority_is_served_as_if_nobody_below_were_there(world: World, first: int) -> None:
    claims, offers = world
    claims = [replace(c, need=replace(c.need, keep={}, survival_requests_per_s=0.0)) for c in claims]
    top = replace(claims[first % len(claims)], priority=9)
    rest = [claim for claim in claims if claim.key != top.key]

    def served(joint_claims: list[Claim]) -> float:
        joint = place_all(joint_claims, offers, deadline_s=DEADLINE_S)
        return min(top.need.requests_per_s, worth_of(top, chosen(joint, [top])[0]))

    assert served([top, *rest]) >= served([top]) * (1 - 1e-4) - 1e-6
