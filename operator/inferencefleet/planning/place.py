"""What placement is asked and what it answers; the order in which pools are worth looking at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from inferencefleet.domain.plan import Verdict
from inferencefleet.domain.pool import CapacityType
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
