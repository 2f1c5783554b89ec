"""What would change the answer next: how much more or less traffic moves the number of replicas. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

from inferencefleet.api.status_fleet import FleetStatus
from inferencefleet.domain.fleet import Fleet, Routing
from inferencefleet.domain.plan import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is left of one pool."""

    pool: str
    replicas: int
    """That still fit."""
    gpus: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundaries:
    """Planned-for rates at which one replica more or less is wanted; None = never, by spec.scaling."""

    planned_for_per_s: float
    more_at_per_s: float | None
    fewer_below_per_s: float | None
    full: tuple[Room, ...]

    def change(self, at_per_s: float) -> float:
        """Relative change of traffic that leads there: what is planned for goes with what arrives."""
        return at_per_s / self.planned_for_per_s - 1 if self.planned_for_per_s > 0 else 0.0


def boundaries(fleet: Fleet, status: FleetStatus, limits: Mapping[str, tuple[int, int]]) -> Boundaries | None:
    """None when the status does not say enough. `limits`: by pool, GPUs planned by all fleets and its limit."""
    upper = status.plan.upper_requests_per_second if status.plan else None
    speeds = {row.pool: row.planned_requests_per_second or 0.0 for row in status.sizing or ()}
    placed = {row.name: row.placed or 0 for row in status.pools or () if row.placed}
    if upper is None or not placed or not all(speeds.get(pool) for pool in placed):
        return None
    total = sum(placed.values())
    slowest = min(speeds[pool] for pool in placed)
    # A plain Service sends every replica the same, so a mixed fleet is worth its slowest times their number.
    even = fleet.routing is Routing.UNIFORM
    worth = total * slowest if even else sum(speeds[pool] * count for pool, count in placed.items())
    spare = _spares(status)
    holds = worth - spare * slowest
    at_most, at_least = total >= fleet.scaling.max_replicas, total <= fleet.scaling.min_replicas
    return Boundaries(
        planned_for_per_s=upper,
        more_at_per_s=None if at_most else max(holds, 0.0),
        fewer_below_per_s=None if at_least else max(holds - slowest, 0.0),
        full=tuple(_rooms(status, limits)),
    )


def _spares(status: FleetStatus) -> float:
    """Replicas that are only there for what spot may lose."""
    steps = status.plan.steps if status.plan else None
    for step in steps or ():
        if step.code == Reason.SPOT_HEDGE and step.before is not None and step.after is not None:
            return max(0.0, step.after - step.before)
    return 0.0


def _rooms(status: FleetStatus, limits: Mapping[str, tuple[int, int]]) -> Sequence[Room]:
    size = {row.pool: row.tensor_parallel_size for row in status.sizing or ()}
    found = []
    for pool in [row.name for row in status.pools or () if row.placed]:
        if pool in limits and pool in size:
            planned, limit = limits[pool]
            found.append(
                Room(pool=pool, replicas=max(0, floor((limit - planned) / size[pool])), gpus=planned, limit=limit)
            )
    return sorted(found, key=lambda room: room.replicas)
