"""Step 4: the cheapest pools first until the need is met; reserved GPUs are paid already and count as free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from inferencefleet.domain.fleet import SpotPolicy, SpotTerms
from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.domain.pool import CapacityType
from inferencefleet.physics.quick import whole_replicas
from inferencefleet.planning.rooms import Room

SURVIVAL_UTILISATION = 0.9
"""Right after the loss of a spot node the rest may run this hot until the replacement serves."""

_TYPE_ORDER = {CapacityType.RESERVED: 0, CapacityType.ON_DEMAND: 1, CapacityType.SPOT: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What must be placed."""

    requests_per_s: float
    """Worth of planned capacity that is needed."""
    survival_requests_per_s: float
    """Planned capacity that must be left after the loss of a spot node (hedged spot only)."""
    floor: int
    ceiling: int
    keep: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """By pool: replicas that stay where they are while metrics are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Replicas by pool (0 for those not used), and what stood in the way of something cheaper or more."""

    replicas: Mapping[str, int]
    verdicts: tuple[Verdict, ...]
    sized: Verdict
    """How demand became this number, before hedge and shortage."""

    @property
    def total(self) -> int:
        return sum(self.replicas.values())


def cheapest_first(rooms: Sequence[Room]) -> list[Room]:
    """Usable rooms by marginal dollars per request/s, then reserved before on-demand before spot, then the faster.

    The last resort is the name. Faster first, because one slow replica drags an even spread down.
    """
    return sorted(
        (room for room in rooms if room.sizing.usable),
        key=lambda room: (room.dollars_per_request_per_s, _TYPE_ORDER[room.capacity_type], -_speed(room), room.pool),
    )


def _speed(room: Room) -> float:
    return room.sizing.planned_requests_per_s


def place(need: Need, rooms: Sequence[Room], spot: SpotTerms) -> Placement:
    """Fill rooms cheapest first, one replica at a time.

    A plain Service spreads evenly, so replicas on mixed GPUs are worth their number times the slowest: a pool that
    would lower the whole is passed over.
    """
    order = [room for room in cheapest_first(rooms) if not (_is_spot(room) and spot.policy is SpotPolicy.NEVER)]
    counts = {room.pool: min(need.keep.get(room.pool, 0), room.most) for room in order}
    spot_most = _spot_most(need, order, spot)
    while sum(counts.values()) < need.ceiling and not _enough(need, order, counts):
        chosen = _next(need, order, counts, spot_most)
        if chosen is None:
            break
        counts[chosen.pool] += 1
    sized = _sized(need, order, counts)
    verdicts = [*_full_rooms(order, counts, spot_most), *_hedge(need, order, counts, spot, spot_most)]
    if not _enough(need, order, counts):
        verdicts.append(_shortage(need, order, counts))
    replicas = {room.pool: counts.get(room.pool, 0) for room in rooms}
    return Placement(replicas=replicas, verdicts=tuple(verdicts), sized=sized)


def worth(order: Sequence[Room], counts: Mapping[str, int]) -> float:
    """Planned requests/s of a placement behind an even spread: replicas x the slowest used."""
    used = [room.sizing.planned_requests_per_s for room in order if counts[room.pool] > 0]
    return sum(counts.values()) * min(used, default=0.0)


def _sized(need: Need, order: Sequence[Room], counts: Mapping[str, int]) -> Verdict:
    """The sum that anybody can do again: need / worth of a replica, cheapest pool first."""
    used = [room for room in order if counts[room.pool] > 0]
    where = ", ".join(
        f"{counts[room.pool]} in {room.pool} (${room.sizing.marginal_price_per_hour:.2f}/h more each)" for room in used
    )
    each = min((room.sizing.planned_requests_per_s for room in used), default=0.0)
    total = sum(counts.values())
    return Verdict(
        code=Reason.SIZED,
        sentence=(
            f"{need.requests_per_s:.2f} req/s at {each:.2f} planned for a replica, at least {need.floor}: "
            f"{total} replicas, cheapest first: {where or 'none'}"
        ),
        after=total,
    )


def _is_spot(room: Room) -> bool:
    return room.capacity_type is CapacityType.SPOT


def _spot_most(need: Need, order: Sequence[Room], spot: SpotTerms) -> int:
    if not order:
        return 0
    slowest = min(room.sizing.planned_requests_per_s for room in order)
    replicas = min(need.ceiling, max(need.floor, whole_replicas(need.requests_per_s / slowest)))
    return math.floor(spot.max_fraction * replicas)


def _spot_count(order: Sequence[Room], counts: Mapping[str, int]) -> int:
    return sum(counts[room.pool] for room in order if _is_spot(room))


def _enough(need: Need, order: Sequence[Room], counts: Mapping[str, int]) -> bool:
    return sum(counts.values()) >= need.floor and worth(order, counts) >= need.requests_per_s


def _next(need: Need, order: Sequence[Room], counts: Mapping[str, int], spot_most: int) -> Room | None:
    before = worth(order, counts)
    below_floor = sum(counts.values()) < need.floor
    for room in order:
        if counts[room.pool] >= room.most:
            continue
        if _is_spot(room) and _spot_count(order, counts) >= spot_most:
            continue
        after = worth(order, {**counts, room.pool: counts[room.pool] + 1})
        if below_floor or after > before:
            return room
    return None


def _full_rooms(order: Sequence[Room], counts: Mapping[str, int], spot_most: int) -> list[Verdict]:
    """Why something did not go to a cheaper pool: said only when a later pool is used."""
    verdicts = []
    last_used = max((index for index, room in enumerate(order) if counts[room.pool] > 0), default=-1)
    for index, room in enumerate(order):
        if index >= last_used:
            break
        if counts[room.pool] >= room.most:
            verdicts.append(
                Verdict(code=room.limited_by, sentence=room.limit_sentence, before=counts[room.pool], after=room.most)
            )
        elif _is_spot(room):
            verdicts.append(
                Verdict(
                    code=Reason.SPOT_LIMIT,
                    sentence=f"spec.placement.spot.maxFraction allows {spot_most} spot replicas",
                    before=counts[room.pool],
                    after=spot_most,
                )
            )
    return verdicts


def _hedge(need: Need, order: Sequence[Room], counts: dict[str, int], spot: SpotTerms, spot_most: int) -> list[Verdict]:
    """Add replicas until the loss of any one spot node leaves enough; at the ceiling, move them off spot instead.

    Changes `counts`.
    """
    if spot.policy is not SpotPolicy.HEDGED:
        return []
    before, on_spot = sum(counts.values()), _spot_count(order, counts)
    while _after_loss(order, counts) < need.survival_requests_per_s:
        chosen = next((room for room in order if counts[room.pool] < room.most and not _is_spot(room)), None)
        if chosen is None:
            break
        if sum(counts.values()) >= need.ceiling:
            fullest = max((room for room in order if _is_spot(room)), key=lambda room: counts[room.pool])
            counts[fullest.pool] -= 1
        counts[chosen.pool] += 1
    after, moved = sum(counts.values()), on_spot - _spot_count(order, counts)
    if after == before and moved == 0:
        return []
    sentence = (
        f"{after - before} more and {moved} off spot, so that the loss of one spot node leaves "
        f"{need.survival_requests_per_s:.2f} req/s"
    )
    return [Verdict(code=Reason.SPOT_HEDGE, sentence=sentence, before=before, after=after)]


def _after_loss(order: Sequence[Room], counts: Mapping[str, int]) -> float:
    lost = max((min(counts[room.pool], room.replicas_per_node) for room in order if _is_spot(room)), default=0)
    if lost == 0:
        return math.inf
    total = sum(counts.values())
    return worth(order, counts) * (total - lost) / total


def _shortage(need: Need, order: Sequence[Room], counts: Mapping[str, int]) -> Verdict:
    placed, got = sum(counts.values()), worth(order, counts)
    short = f"{placed} replicas are worth {got:.2f} req/s of {need.requests_per_s:.2f}"
    if got >= need.requests_per_s:
        short = f"{placed} replicas are fewer than minReplicas={need.floor}"
    if placed >= need.ceiling:
        return Verdict(
            code=Reason.MAX_REPLICAS,
            sentence=f"maxReplicas={need.ceiling} is worth {got:.2f} req/s of {need.requests_per_s:.2f}; raise it",
            before=_wanted(need, order),
            after=placed,
        )
    return Verdict(
        code=Reason.NOT_ENOUGH_GPUS,
        sentence=(
            f"{short} and no pool has room for more; raise spec.limits.gpus of a GPUPool, allow more spot, or add a "
            "pool"
        ),
        before=_wanted(need, order),
        after=placed,
    )


def _wanted(need: Need, order: Sequence[Room]) -> int:
    slowest = min((room.sizing.planned_requests_per_s for room in order), default=0.0)
    return max(need.floor, whole_replicas(need.requests_per_s / slowest)) if slowest else need.floor
