"""One claim made ready for arithmetic: what a replica costs in each room, and the ways to count its worth.

Behind a plain Service replicas on mixed GPUs are worth their number times the slowest. That is a choice between
*modes*: "no GPU slower than v", in which every replica counts v. Behind a load-aware gateway a mode is one GPU speed,
or the mixture, in which every replica counts its own speed less 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inferencefleet.domain.fleet import Routing, SpotPolicy
from inferencefleet.domain.pool import CapacityType
from inferencefleet.physics.quick import whole_replicas
from inferencefleet.planning.placement.terms import Claim, Offer
from inferencefleet.planning.rooms import Room

MIXED_SHARE = 0.95
"""What a load-aware gateway gets out of unequal replicas: it learns their speeds from queues, with delay."""
RESERVED_SHARE = 1e-3
"""Of its list price counts as the price of a reserved GPU: it is paid already, but fewer are better than more."""
RESERVED_START_SHARE = 0.1
"""Of its list price is wasted while a replica starts on reserved GPUs: nobody else could have used them meanwhile."""
HEDGE_SHARE = 0.25
"""A replica that only a loss would make missing counts as this share of one that is missing now."""
LEAST_REMAINDER = 0.5
"""Of a replica: a smaller part that is missing counts as this, or it would be traded for dollars."""
LEAST_PRICE = 10.0
"""So many times what serving it costs at most is the least price of a request/s that is missing: demand comes first."""
MOST_REPLICAS = 10**9

_TYPE_ORDER = {CapacityType.RESERVED: 0, CapacityType.ON_DEMAND: 1, CapacityType.SPOT: 2}


@dataclass(slots=True)
class Option:
    """One usable room."""

    room: Room
    offer: Offer
    speed: float
    """Requests/s of one replica."""
    gpus: int
    cost: float
    """Dollars per hour of a replica that is there already."""
    start: float
    """Dollars more for one that is not."""
    price: float
    """Dollars per hour at list price, as budgets count."""
    spot: bool
    most: int
    keep: int
    current: int
    loss: int

    @property
    def pool(self) -> str:
        return self.offer.pool


@dataclass(slots=True)
class Mode:
    """One way to count: worth in requests/s is `unit` times the sum of weights, all 1 in a mode of whole units."""

    members: tuple[int, ...]
    """Indices of options, cheapest per unit of worth first."""
    weights: tuple[float, ...]
    unit: float
    need_units: float
    """Whole in a mode of whole units."""
    survive_units: float
    remainder: float
    """Requests/s that the last whole unit adds."""
    whole: bool
    target: int
    """Replicas wanted, within floor and ceiling."""
    spot_most: int
    segments: list[tuple[float, int, int]] = field(default_factory=list)
    """(dollars per replica, option, count up to which this price holds), cheapest first."""


@dataclass(slots=True)
class Case:
    claim: Claim
    options: list[Option]
    modes: list[Mode]
    floor: int
    ceiling: int
    hedged: bool
    kept: int
    price: float
    """Dollars per hour of one request/s that is missing."""


def load(gpus: int, per_node: int) -> float:
    """GPUs of a node that one replica takes, with what it leaves unusable: 3 of 8 GPUs fit twice, so each takes 4."""
    if gpus > per_node:
        return float(math.ceil(gpus / per_node) * per_node)
    return per_node / (per_node // gpus)


def limit_load(gpus: int, offer: Offer) -> float:
    """GPUs of the pool's limit that one replica takes."""
    per_node = offer.gpus_per_node
    if offer.gpus is None or per_node % gpus == 0 or gpus > per_node:
        return float(gpus)
    fits = offer.gpus // per_node * (per_node // gpus) + offer.gpus % per_node // gpus
    return offer.gpus / fits if fits else float(max(gpus, offer.gpus + 1))


def prepare(claim: Claim, offers: Mapping[str, Offer]) -> Case:
    """Leave out what may not or cannot be used."""
    never = claim.spot.policy is SpotPolicy.NEVER
    options = [
        _option(claim, room, offers.get(room.pool) or _as_the_room_says(room))
        for room in claim.rooms
        if room.sizing.planned_requests_per_s > 0 and not (never and room.capacity_type is CapacityType.SPOT)
    ]
    options.sort(key=lambda option: (option.cost, _TYPE_ORDER[option.offer.capacity_type], -option.speed, option.pool))
    need = claim.need
    kept = sum(option.keep for option in options)
    ceiling = max(need.ceiling, kept)
    case = Case(
        claim=claim,
        options=options,
        modes=[],
        floor=min(need.floor, ceiling),
        ceiling=ceiling,
        hedged=claim.spot.policy is SpotPolicy.HEDGED and any(option.spot for option in options),
        kept=kept,
        price=max(
            claim.shortage_price_per_request_per_s,
            LEAST_PRICE * max(((option.cost + option.start) / option.speed for option in options), default=0.0),
        ),
    )
    case.modes = _modes(case) if options else []
    return case


def _as_the_room_says(room: Room) -> Offer:
    size = room.sizing.shape.tensor_parallel
    return Offer(
        pool=room.pool,
        gpus=None,
        gpus_per_node=size * room.replicas_per_node,
        price_per_gpu_hour=room.sizing.price_per_hour / size,
        marginal_price_per_gpu_hour=room.sizing.marginal_price_per_hour / size,
        capacity_type=room.capacity_type,
    )


def _option(claim: Claim, room: Room, offer: Offer) -> Option:
    gpus, pool = room.sizing.shape.tensor_parallel, room.pool
    reserved = room.capacity_type is CapacityType.RESERVED
    keep = min(claim.need.keep.get(pool, 0), max(0, room.most))
    most = max(0, room.most)
    if offer.gpus is not None:
        most = max(keep, min(most, int(max(0, offer.gpus) / limit_load(gpus, offer) + 1e-9)))
    list_price = offer.price_per_gpu_hour * gpus
    hours = claim.start_cost_hours + offer.start_cost_hours
    return Option(
        room=room,
        offer=offer,
        speed=room.sizing.planned_requests_per_s,
        gpus=gpus,
        cost=offer.marginal_price_per_gpu_hour * load(gpus, offer.gpus_per_node)
        + (list_price * RESERVED_SHARE if reserved else 0.0),
        start=hours * list_price * (RESERVED_START_SHARE if reserved else 1.0),
        price=room.sizing.price_per_hour,
        spot=room.capacity_type is CapacityType.SPOT,
        most=most,
        keep=keep,
        current=min(claim.current.get(pool, 0), most),
        loss=claim.losses.get(pool, room.replicas_per_node),
    )


def _modes(case: Case) -> list[Mode]:
    options = case.options
    speeds = sorted({option.speed for option in options}, reverse=True)
    everywhere = range(len(options))
    if len(speeds) == 1:
        return [_whole_mode(case, tuple(everywhere), speeds[0])]
    if case.claim.routing is Routing.UNIFORM:
        modes = [_whole_mode(case, tuple(i for i in everywhere if options[i].speed >= v), v) for v in speeds]
    else:
        modes = [_whole_mode(case, tuple(i for i in everywhere if options[i].speed == v), v) for v in speeds]
        modes.append(_mixed_mode(case, speeds[0]))
    held = {i for i in everywhere if options[i].keep > 0}
    return [mode for mode in modes if held <= set(mode.members)] if held else modes


def _whole_mode(case: Case, members: tuple[int, ...], speed: float) -> Mode:
    need = case.claim.need
    units = _units(need.requests_per_s, speed)
    remainder = need.requests_per_s - (units - 1) * speed
    target = min(case.ceiling, max(case.floor, units))
    return Mode(
        members=members,
        weights=(1.0,) * len(members),
        unit=speed,
        need_units=units,
        survive_units=min(units, _units(need.survival_requests_per_s, speed)),
        remainder=min(speed, max(remainder, LEAST_REMAINDER * speed)),
        whole=True,
        target=target,
        spot_most=_spot_most(case, members, target),
        segments=_segments(case.options, members),
    )


def _mixed_mode(case: Case, fastest: float) -> Mode:
    need, options = case.claim.need, case.options
    members = tuple(sorted(range(len(options)), key=lambda i: (options[i].cost / options[i].speed, i)))
    unit = MIXED_SHARE * fastest
    target = min(case.ceiling, max(case.floor, _units(need.requests_per_s, unit)))
    return Mode(
        members=members,
        weights=tuple(options[i].speed / fastest for i in members),
        unit=unit,
        need_units=max(0.0, need.requests_per_s / unit),
        survive_units=max(0.0, min(need.requests_per_s, need.survival_requests_per_s) / unit),
        remainder=unit,
        whole=False,
        target=target,
        spot_most=_spot_most(case, members, target),
        segments=sorted(
            _segments(options, members), key=lambda segment: (segment[0] / options[segment[1]].speed, segment[1])
        ),
    )


def _units(requests_per_s: float, speed: float) -> int:
    ratio = requests_per_s / speed
    if not ratio < MOST_REPLICAS:
        return MOST_REPLICAS
    return max(0, whole_replicas(ratio))


def _spot_most(case: Case, members: Sequence[int], target: int) -> int:
    """The share is of what demand needs: spares do not widen it."""
    if case.claim.spot.max_fraction >= 1.0:
        return case.ceiling
    kept = sum(case.options[i].keep for i in members if case.options[i].spot)
    return max(kept, math.floor(case.claim.spot.max_fraction * target))


def _segments(options: Sequence[Option], members: Sequence[int]) -> list[tuple[float, int, int]]:
    """Options come sorted by cost, so only those with replicas to keep or to start need another look."""
    segments = []
    for i in members:
        option = options[i]
        if option.start > 0 and option.current > 0:
            segments.append((option.cost, i, option.current))
        segments.append((option.cost + option.start, i, option.most))
    segments.sort()
    return segments
