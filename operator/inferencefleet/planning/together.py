"""Step 4 for all fleets: claims and offers in one problem."""

from __future__ import annotations

from collections.abc import Sequence

from inferencefleet.planning.ask import Asked, Surroundings
from inferencefleet.planning.claim import expected_price, offer_of
from inferencefleet.planning.place import Placement
from inferencefleet.planning.placement import Joint, Offer, place_all
from inferencefleet.planning.rooms import Room


def together(asked: Sequence[Asked], around: Surroundings) -> Joint:
    """Where all acting fleets go; what the others hold (refused, broken, only watching) is not theirs to take."""
    return place_all(
        [each.claim for each in asked], _offers(asked, around), deadline_s=around.settings.placement_deadline_s
    )


def alone(asked: Asked, around: Surroundings) -> Placement:
    """Where a fleet that takes no part would go."""
    offers = [offer_of(room, around.pools[room.pool], asked.terms, gpus=None) for room in asked.rooms]
    joint = place_all((asked.claim,), offers, deadline_s=around.settings.placement_deadline_s)
    return joint.placements[asked.state.fleet.key]


def _offers(asked: Sequence[Asked], around: Surroundings) -> list[Offer]:
    """Pools that all who may use them share. The expected price is that of the fleet that loses most by interruptions:
    who starts slowly must not be lured in by one that starts fast."""
    dearest: dict[str, tuple[tuple[float, float], Room, Asked]] = {}
    for each in asked:
        for room in each.rooms:
            price = expected_price(room, each.terms)
            known = dearest.get(room.pool)
            if known is None or price > known[0]:
                dearest[room.pool] = (price, room, each)
    left = _left(asked, around)
    return [
        offer_of(room, around.pools[pool], each.terms, gpus=left[pool])
        for pool, (_, room, each) in sorted(dearest.items())
    ]


def _left(asked: Sequence[Asked], around: Surroundings) -> dict[str, int | None]:
    """GPUs of each pool that these fleets may hold in all, beside what is on its way out there; None = no limit."""
    takers = {each.state.fleet.key for each in asked}
    others: dict[str, int] = {}
    for (key, pool), gpus in around.ledger.held.items():
        if key not in takers:
            others[pool] = others.get(pool, 0) + gpus
    there, leaving, doomed = dict[str, int](), dict[str, int](), dict[str, int]()
    for each in asked:
        for room in each.rooms:
            pool, size, counted = room.pool, room.sizing.shape.tensor_parallel, each.counted[room.pool]
            there[pool] = there.get(pool, 0) + size * (counted.alive - counted.doomed)
            leaving[pool] = leaving.get(pool, 0) + size * counted.terminating
            doomed[pool] = doomed.get(pool, 0) + size * counted.doomed
    found: dict[str, int | None] = {}
    for pool, limit in around.ledger.limits.items():
        if limit is None:
            found[pool] = None
            continue
        most = max(0, limit - others.get(pool, 0) - doomed.get(pool, 0))
        found[pool] = max(most - leaving.get(pool, 0), min(most, there.get(pool, 0)))
    return found
