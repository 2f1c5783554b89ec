"""Builders for tests of joint placement, and what a placement costs and breaks by a second, slower way to count."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from inferencefleet.domain.fleet import FleetKey, Routing, SpotPolicy, SpotTerms
from inferencefleet.domain.plan import Reason
from inferencefleet.domain.pool import CapacityType
from inferencefleet.planning.place import Need
from inferencefleet.planning.placement import Claim, Joint, Offer
from inferencefleet.planning.rooms import Room
from tests.builders import a_pool, a_sizing

RESERVED, ON_DEMAND, SPOT = CapacityType.RESERVED, CapacityType.ON_DEMAND, CapacityType.SPOT
PRICES = {RESERVED: 2.1, ON_DEMAND: 3.9, SPOT: 1.9}
PREFERRED = SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=1.0)
HEDGED = SpotTerms(policy=SpotPolicy.HEDGED, max_fraction=1.0)


def an_offer(
    pool: str,
    kind: CapacityType = ON_DEMAND,
    *,
    gpus: int | None = None,
    price: float | None = None,
    per_node: int = 1,
    start_hours: float = 0.0,
) -> Offer:
    """A pool of single-GPU nodes unless said otherwise, so that whole nodes do not matter."""
    each = PRICES[kind] if price is None else price
    return Offer(
        pool=pool,
        gpus=gpus,
        gpus_per_node=per_node,
        price_per_gpu_hour=each,
        marginal_price_per_gpu_hour=0.0 if kind is RESERVED else each,
        capacity_type=kind,
        start_cost_hours=start_hours,
    )


def a_claim_room(offer: Offer, rps: float = 4.0, *, size: int = 1, most: int | None = None) -> Room:
    pool = a_pool(
        offer.pool,
        offer.capacity_type,
        price_per_gpu_hour=offer.price_per_gpu_hour,
        gpus_per_node=offer.gpus_per_node,
    )
    limit = 10**6 if offer.gpus is None else offer.gpus // size
    return Room(
        sizing=a_sizing(pool, rps, size=size),
        capacity_type=offer.capacity_type,
        most=limit if most is None else most,
        limited_by=Reason.POOL_LIMIT,
        limit_sentence=f"pool {offer.pool} has room for {limit} replicas",
        replicas_per_node=max(1, offer.gpus_per_node // size),
    )


def a_claim(
    name: str,
    rps: float,
    offers: Iterable[Offer],
    *,
    speeds: Mapping[str, float] | None = None,
    size: int = 1,
    floor: int = 1,
    ceiling: int = 100,
    survive: float = 0.0,
    keep: Mapping[str, int] | None = None,
    **overrides: Any,
) -> Claim:
    """4 requests/s by replica, or `speeds` by pool."""
    values: dict[str, Any] = {
        "key": FleetKey("default", name),
        "priority": 0,
        "need": Need(
            requests_per_s=rps,
            survival_requests_per_s=survive,
            floor=floor,
            ceiling=ceiling,
            keep=keep or {},
        ),
        "rooms": tuple(a_claim_room(offer, (speeds or {}).get(offer.pool, 4.0), size=size) for offer in offers),
        "spot": PREFERRED,
        "routing": Routing.UNIFORM,
    }
    return Claim(**{**values, **overrides})


def used(joint: Joint, name: str) -> dict[str, int]:
    placement = joint.placements[FleetKey("default", name)]
    return {pool: n for pool, n in placement.replicas.items() if n}


def codes(joint: Joint, name: str) -> list[Reason]:
    return [verdict.code for verdict in joint.placements[FleetKey("default", name)].verdicts]


def worth_of(claim: Claim, counts: Sequence[int]) -> float:
    there = [(room.sizing.planned_requests_per_s, n) for room, n in zip(claim.rooms, counts, strict=True) if n]
    if not there:
        return 0.0
    if claim.routing is Routing.UNIFORM:
        return sum(n for _, n in there) * min(speed for speed, _ in there)
    return sum(speed * n for speed, n in there) * (1.0 if len({speed for speed, _ in there}) == 1 else 0.95)


def keeps_its_terms(claim: Claim, counts: Sequence[int]) -> bool:
    """Demand, floor, ceiling, share of spot, hedge and budget of one fleet."""
    need, total = claim.need, sum(counts)
    if not need.floor <= total <= need.ceiling or worth_of(claim, counts) < need.requests_per_s - 1e-9:
        return False
    prices = sum(room.sizing.price_per_hour * n for room, n in zip(claim.rooms, counts, strict=True))
    if claim.budget_per_hour is not None and prices > claim.budget_per_hour + 1e-9:
        return False
    spot = [n if room.capacity_type is SPOT else 0 for room, n in zip(claim.rooms, counts, strict=True)]
    if claim.spot.policy is SpotPolicy.NEVER:
        return not any(spot)
    speeds = [room.sizing.planned_requests_per_s for room, n in zip(claim.rooms, counts, strict=True) if n]
    wanted = max(need.floor, math.ceil(need.requests_per_s / min(speeds, default=1.0) - 1e-9))
    if claim.spot.max_fraction < 1 and sum(spot) > math.floor(claim.spot.max_fraction * wanted):
        return False
    return claim.spot.policy is not SpotPolicy.HEDGED or survives(claim, counts)


def survives(claim: Claim, counts: Sequence[int]) -> bool:
    """Through the loss of any one spot pool's plausible number; the rest is counted as it was."""
    whole, total = worth_of(claim, counts), sum(counts)
    mixed = len({r.sizing.planned_requests_per_s for r, n in zip(claim.rooms, counts, strict=True) if n}) > 1
    for room, n in zip(claim.rooms, counts, strict=True):
        if room.capacity_type is not SPOT or not n:
            continue
        lost = min(n, claim.losses.get(room.pool, room.replicas_per_node))
        share = whole * lost / total
        if claim.routing is not Routing.UNIFORM:
            share = lost * room.sizing.planned_requests_per_s * (0.95 if mixed else 1.0)
        if lost and whole - share < claim.need.survival_requests_per_s - 1e-9:
            return False
    return True


def bill_of(claims: Sequence[Claim], offers: Sequence[Offer], choice: Sequence[Sequence[int]]) -> float:
    """Dollars per hour with whole nodes and a thousandth of the list price for reserved GPUs; starts are free."""
    dollars, gpus = 0.0, {offer.pool: 0 for offer in offers}
    for claim, counts in zip(claims, choice, strict=True):
        for room, n in zip(claim.rooms, counts, strict=True):
            gpus[room.pool] += n * room.sizing.shape.tensor_parallel
    for offer in offers:
        if offer.capacity_type is RESERVED:
            dollars += gpus[offer.pool] * offer.price_per_gpu_hour * 1e-3
        else:
            nodes = math.ceil(gpus[offer.pool] / offer.gpus_per_node)
            dollars += nodes * offer.gpus_per_node * offer.marginal_price_per_gpu_hour
    return dollars


def within_limits(claims: Sequence[Claim], offers: Sequence[Offer], choice: Sequence[Sequence[int]]) -> bool:
    for offer in offers:
        held = sum(
            n * room.sizing.shape.tensor_parallel
            for claim, counts in zip(claims, choice, strict=True)
            for room, n in zip(claim.rooms, counts, strict=True)
            if room.pool == offer.pool
        )
        if offer.gpus is not None and held > offer.gpus:
            return False
    return all(
        n <= room.most
        for claim, counts in zip(claims, choice, strict=True)
        for room, n in zip(claim.rooms, counts, strict=True)
    )


def brute_force(claims: Sequence[Claim], offers: Sequence[Offer], most: int) -> float:
    """The smallest bill of all placements that keep every term; infinite when there is none."""
    each = [
        [
            counts
            for counts in product(*(range(min(most, room.most) + 1) for room in claim.rooms))
            if keeps_its_terms(claim, counts)
        ]
        for claim in claims
    ]
    fitting = (choice for choice in product(*each) if within_limits(claims, offers, choice))
    return min((bill_of(claims, offers, choice) for choice in fitting), default=math.inf)


def chosen(joint: Joint, claims: Sequence[Claim]) -> list[list[int]]:
    return [[joint.placements[claim.key].replicas[room.pool] for room in claim.rooms] for claim in claims]
