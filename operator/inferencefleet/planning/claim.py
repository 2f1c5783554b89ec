"""What a fleet puts before the joint placement: its claim, and the pools it may use as offers."""

from __future__ import annotations

from dataclasses import replace

from inferencefleet.domain.observation import MetricsGap, Phase
from inferencefleet.domain.plan import Forecast
from inferencefleet.domain.pool import CapacityType, PoolState
from inferencefleet.domain.snapshot import FleetState
from inferencefleet.planning.hedge import Hedge
from inferencefleet.planning.place import Need, Placement
from inferencefleet.planning.placement import Claim, Offer
from inferencefleet.planning.rooms import Room


def current(state: FleetState) -> dict[str, int]:
    """What the Deployments ask for now, by pool."""
    return {workload.pool: workload.replicas for workload in state.workloads}


def offer_of(room: Room, state: PoolState, terms: Hedge, *, gpus: int | None) -> Offer:
    """The pool as placement sees it; `gpus` is what those who share it may hold in all."""
    pool = state.pool
    price, start_cost_hours = expected_price(room, terms)
    return Offer(
        pool=pool.name,
        gpus=gpus,
        gpus_per_node=pool.gpus_per_node,
        price_per_gpu_hour=pool.price_per_gpu_hour,
        marginal_price_per_gpu_hour=price,
        capacity_type=room.capacity_type,
        start_cost_hours=start_cost_hours,
    )


def expected_price(room: Room, terms: Hedge) -> tuple[float, float]:
    """(dollars of one GPU more for an hour, hours of its price that a start wastes); reserved is paid already."""
    own = terms.pools[room.pool]
    return 0.0 if room.capacity_type is CapacityType.RESERVED else own.price_per_gpu_hour, own.start_cost_hours


def claim_of(
    state: FleetState, gap: MetricsGap | None, ahead: Forecast, rooms: tuple[Room, ...], terms: Hedge, *, hedged: bool
) -> Claim:
    fleet = state.fleet
    prices = [room.dollars_per_request_per_s for room in rooms if room.sizing.usable]
    attainment = min(fleet.attainment, 0.9999)
    return Claim(
        key=fleet.key,
        priority=fleet.priority,
        need=Need(
            requests_per_s=ahead.upper_per_s,
            survival_requests_per_s=terms.survival_requests_per_s if hedged else 0.0,
            floor=fleet.scaling.min_replicas,
            ceiling=fleet.scaling.max_replicas,
            keep=_kept_blindly(state) if gap is not None else {},
        ),
        rooms=rooms,
        spot=fleet.spot,
        routing=fleet.routing,
        current=current(state),
        losses={room.pool: terms.losses.get(room.pool, 0) if hedged else 0 for room in rooms},
        # Of one request/s for an hour: at this price the declared attainment is just worth its GPUs.
        shortage_price_per_request_per_s=max(0.01, *prices) * attainment / (1 - attainment),
        budget_per_hour=fleet.most_per_hour,
    )


def _kept_blindly(state: FleetState) -> dict[str, int]:
    """Without metrics every replica stays where it is, except on nodes that go away."""
    doomed = {workload.pool: 0 for workload in state.workloads}
    for replica in state.replicas:
        if replica.doomed and replica.phase is not Phase.TERMINATING and replica.pool in doomed:
            doomed[replica.pool] += 1
    return {pool: max(0, replicas - doomed[pool]) for pool, replicas in current(state).items()}


def as_guarded(claim: Claim, wanted: Placement, total: int) -> Claim:
    """Guards count replicas: more than wanted is a floor, fewer is a ceiling that demand has to bow to."""
    if total > wanted.total:
        return replace(claim, need=replace(claim.need, floor=total))
    if total < wanted.total:
        share = total / wanted.total
        need = replace(
            claim.need,
            requests_per_s=claim.need.requests_per_s * share,
            survival_requests_per_s=claim.need.survival_requests_per_s * share,
            floor=total,
            ceiling=total,
        )
        return replace(claim, need=need)
    return claim
