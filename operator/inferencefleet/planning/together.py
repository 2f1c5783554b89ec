"""Step 4 for all fleets: claims and offers in one problem."""

from __future__ import annotations

from collections.abc import Sequence

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.planning.ask import Asked, Surroundings, offer_of
from inferencefleet.planning.place import Placement
from inferencefleet.planning.placement import Joint, Offer, place_all


def together(asked: Sequence[Asked], around: Surroundings) -> Joint:
    """Where all acting fleets go; what the others hold (refused, broken, only watching) is not theirs to take."""
    takers = {each.state.fleet.key for each in asked}
    offers = [_offer(name, asked, takers, around) for name in sorted(around.pools)]
    return place_all(
        [each.claim for each in asked],
        [offer for offer in offers if offer is not None],
        deadline_s=around.settings.placement_deadline_s,
    )


def alone(asked: Asked, around: Surroundings) -> Placement:
    """Where a fleet that takes no part would go."""
    offers = [offer_of(room, around.pools[room.pool], asked.terms, gpus=None) for room in asked.rooms]
    joint = place_all((asked.claim,), offers, deadline_s=around.settings.placement_deadline_s)
    return joint.placements[asked.state.fleet.key]


def _offer(pool: str, asked: Sequence[Asked], takers: set[FleetKey], around: Surroundings) -> Offer | None:
    """A pool that all who may use it share. Its expected price is that of the fleet that loses most by interruptions:
    who starts slowly must not be lured in by one that starts fast."""
    gpus = _left_for(asked, takers, pool, around)
    own = [
        offer_of(room, around.pools[pool], each.terms, gpus=gpus)
        for each in asked
        for room in each.rooms
        if room.pool == pool
    ]
    return max(own, key=lambda offer: (offer.marginal_price_per_gpu_hour, offer.start_cost_hours), default=None)


def _left_for(asked: Sequence[Asked], takers: set[FleetKey], pool: str, around: Surroundings) -> int | None:
    """GPUs that those who share the pool may hold in all, beside what is on its way out there."""
    limit = around.ledger.limits[pool]
    if limit is None:
        return None
    others = sum(gpus for (key, name), gpus in around.ledger.held.items() if name == pool and key not in takers)
    there = leaving = doomed = 0
    for each in asked:
        for room in each.rooms:
            if room.pool == pool:
                size, counted = room.sizing.shape.tensor_parallel, each.counted[pool]
                doomed += size * counted.doomed
                leaving += size * counted.terminating
                there += size * (counted.alive - counted.doomed)
    most = max(0, limit - others - doomed)
    return max(most - leaving, min(most, there))
