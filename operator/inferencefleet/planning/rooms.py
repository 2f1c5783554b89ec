"""How many replicas each pool can take now: its limit, what others hold, back-off, interruption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.plan import Reason, Sizing
from inferencefleet.domain.pool import CapacityType, Exhaustion, PoolState
from inferencefleet.planning.pools import is_blocked, is_probing

UNLIMITED = 10**6
"""Replicas that a pool without a limit can take; far above any `maxReplicas`."""


@dataclass(slots=True)
class Ledger:
    """GPUs of every pool as fleets are planned one after the other, so that shared limits are never over-committed."""

    limits: Mapping[str, int | None]
    held: dict[tuple[FleetKey, str], int] = field(default_factory=dict)
    """By (fleet, pool): what its pods and its plan occupy, whichever is more."""
    _totals: dict[str, int] = field(default_factory=dict)

    def hold(self, fleet: FleetKey, pool: str, gpus: int) -> None:
        self._totals[pool] = self.total(pool) - self.held.get((fleet, pool), 0) + gpus
        self.held[fleet, pool] = gpus

    def total(self, pool: str) -> int:
        """GPUs of the pool that all fleets hold."""
        return self._totals.get(pool, 0)

    def free_for(self, fleet: FleetKey, pool: str) -> int | None:
        """GPUs that this fleet may hold in the pool in all, None = no limit."""
        limit = self.limits[pool]
        if limit is None:
            return None
        others = self.total(pool) - self.held.get((fleet, pool), 0)
        return max(0, limit - others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Replicas of one fleet in one pool, counted once."""

    ready: int = 0
    starting: int = 0
    unscheduled: int = 0
    blocked: int = 0
    """Unschedulable past the pool's time-out; not in `unscheduled`."""
    failed: int = 0
    doomed: int = 0
    """Alive on a node that goes away; not in `ready` or `starting`."""
    terminating: int = 0
    """Draining: counted nowhere else, but its GPUs are not free yet."""

    @property
    def bound(self) -> int:
        return self.ready + self.starting + self.failed

    @property
    def alive(self) -> int:
        return self.bound + self.unscheduled + self.blocked + self.doomed

    def room_within(self, replicas: int) -> int:
        """Of GPUs for so many replicas: what drains or is doomed still holds its GPUs. Nothing grows into them, and
        nothing that is there already makes way."""
        most = max(0, replicas - self.doomed)
        return max(most - self.terminating, min(most, self.alive - self.doomed))


def census(replicas: Sequence[Replica], state: PoolState, at_s: float, *, patient_s: float | None = None) -> Census:
    """Count the replicas of `state.pool`; one that waits for a node for longer than `patient_s` is blocked."""
    mine = [replica for replica in replicas if replica.pool == state.pool.name]
    return Census(**Counter(_column(replica, state, at_s, patient_s) for replica in mine))


def _column(replica: Replica, state: PoolState, at_s: float, patient_s: float | None) -> str:
    if replica.phase is Phase.TERMINATING:
        return "terminating"
    if replica.doomed:
        return "doomed"
    if is_blocked(replica, state.pool, at_s, patient_s=patient_s):
        return "blocked"
    return {
        Phase.UNSCHEDULED: "unscheduled",
        Phase.STARTING: "starting",
        Phase.READY: "ready",
        Phase.FAILED: "failed",
    }[replica.phase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One pool as placement sees it."""

    sizing: Sizing
    capacity_type: CapacityType
    most: int
    """Replicas that may be asked for there."""
    limited_by: Reason
    limit_sentence: str
    replicas_per_node: int
    probe: bool = False
    """The back-off of a pool that did not deliver is over: one replica more may be tried, on top of what is placed."""

    @property
    def pool(self) -> str:
        return self.sizing.pool

    @property
    def dollars_per_request_per_s(self) -> float:
        """Marginal price of one request per second of planned capacity, per hour."""
        return self.sizing.marginal_price_per_hour / self.sizing.planned_requests_per_s


def room(
    sizing: Sizing,
    state: PoolState,
    counted: Census,
    exhaustion: Exhaustion | None,
    *,
    free_gpus: int | None,
    at_s: float,
) -> Room:
    """`free_gpus` is what the fleet may hold in this pool in all (None = unlimited)."""
    size = sizing.shape.tensor_parallel
    most, limited_by, probe = UNLIMITED, Reason.POOL_LIMIT, False
    sentence = f"pool {sizing.pool} has no limit"
    if free_gpus is not None:
        most = counted.room_within(free_gpus // size)
        sentence = f"pool {sizing.pool} has {free_gpus} GPUs for this fleet, enough for {most} replicas of {size}"
    if exhaustion is not None and counted.bound < most:
        # A probe is no capacity: whoever needs the replica gets it elsewhere until the probe has found a node.
        probe = is_probing(exhaustion, at_s)
        most, limited_by = counted.bound, Reason.POOL_EXHAUSTED
        sentence = (
            f"pool {sizing.pool} {exhaustion.sentence}; "
            f"{counted.bound} replicas run there, next probe in {max(0.0, exhaustion.until_s - at_s):.0f} s"
        )
    return Room(
        sizing=sizing,
        capacity_type=state.pool.capacity_type,
        most=most,
        limited_by=limited_by,
        limit_sentence=sentence,
        replicas_per_node=max(1, state.pool.gpus_per_node // size),
        probe=probe,
    )
