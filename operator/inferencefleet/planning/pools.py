"""Pools that do not deliver: a pod that waits for a node for too long marks its pool, with back-off and a probe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import CapacityType, Exhaustion, Pool, PoolMemory, PoolState
from inferencefleet.domain.snapshot import PlannerSettings
from inferencefleet.planning.coldstart import SHORTEST_PROVISIONING_S
from inferencefleet.planning.interruptions import is_taking_back

LONGEST_BACKOFF_S = 3600.0
WAITS_KEPT = 20
LATE_S = 60.0
"""News of a pod may be older than the tick that hears it."""
FEWEST_WAITS = 5
"""With fewer the declared p95 decides alone."""
STATIC_PATIENCE_S = 45.0
"""For a node of a reservation that never brought one: a node that was cordoned or restarts is often back by then."""
PATIENCE = 1.5
"""Times the 95th percentile of the waits that were seen: what has never taken longer is not coming."""


def is_blocked(replica: Replica, pool: Pool, at_s: float, *, patient_s: float | None = None) -> bool:
    """Without a node for longer than `patient_s`, default the pool's provisioning p95: it is not coming."""
    limit_s = pool.provision_p95_s if patient_s is None else patient_s
    return replica.phase is Phase.UNSCHEDULED and at_s - replica.since_s > limit_s


def patience_s(state: PoolState, memory: PoolMemory, exhaustion: Exhaustion | None) -> float:
    """How long a replica may wait for a node here: learned, and never longer than the declared p95.

    Reserved nodes mostly are there, and who finds none free has found a reservation that is used up or broken: that is
    judged at once, unless the pool was seen to bring nodes.

    A pool that failed is probed with the whole p95: replicas that are given up early teach nothing of longer waits,
    so a market that became slower would look dry for ever.
    """
    pool = state.pool
    waits = sorted(wait_s for _, wait_s in memory.waits)
    static = pool.capacity_type is CapacityType.RESERVED and not waits and any(node.ready for node in state.nodes)
    if static and exhaustion is None:
        return min(pool.provision_p95_s, STATIC_PATIENCE_S)
    if exhaustion is not None or len(waits) < FEWEST_WAITS:
        return pool.provision_p95_s
    high_s = waits[min(len(waits) - 1, int(0.95 * len(waits)))]
    return min(pool.provision_p95_s, PATIENCE * high_s)


def judge_exhaustion(
    state: PoolState,
    replicas: Iterable[Replica],
    *,
    at_s: float,
    settings: PlannerSettings,
    memory: PoolMemory | None = None,
) -> Exhaustion | None:
    """Exhaustion after this tick. `replicas` are those of all fleets in this pool.

    healthy -> (a replica is blocked) -> exhausted until -> probing (one replica more) -> healthy, or exhausted for
    twice as long. A pool that gave others a node meanwhile is short, not dry: the back-off stays as it was. One that
    fails again soon after it recovered goes on where it left off. A market that takes nodes back is exhausted at once:
    whoever lost them there needs others now, and would wait for a node that somebody else is given.
    """
    before, memory = state.exhaustion, memory or PoolMemory()
    mine = list(replicas)
    if is_taking_back(state, memory):
        # It is probed at once: some of what it takes it may give back, and a fleet may have no other pool.
        strikes = 1 + _remembered(memory, at_s, settings) if before is None else before.strikes
        return Exhaustion(since_s=at_s, until_s=at_s, strikes=strikes)
    patient_s = patience_s(state, memory, before)
    blocked = any(is_blocked(replica, state.pool, at_s, patient_s=patient_s) for replica in mine)
    if before is None:
        return _strike(1 + _remembered(memory, at_s, settings), at_s, at_s, settings) if blocked else None
    if at_s < before.until_s:
        return before
    if blocked:
        struck_s = before.until_s - _backoff_s(before.strikes, settings)
        more = 0 if _gave_a_node(mine, struck_s) else 1
        return _strike(before.strikes + more, before.since_s, at_s, settings)
    delivered = any(
        replica.phase in {Phase.STARTING, Phase.READY} and replica.created_s >= before.since_s for replica in mine
    )
    return None if delivered else before


def is_probing(exhaustion: Exhaustion, at_s: float) -> bool:
    """The back-off is over: one more replica is allowed to see whether the pool delivers again."""
    return at_s >= exhaustion.until_s


def remember_deliveries(
    memory: PoolMemory, before: Exhaustion | None, after: Exhaustion | None, replicas: Iterable[Replica], *, at_s: float
) -> PoolMemory:
    """What a tick teaches of how the pool delivers: waits for nodes, and when it recovered.

    `memory` is that of the last tick: who got a node before it has been counted.
    """
    news_s = float("-inf") if memory.at_s is None else memory.at_s - LATE_S
    known = dict(memory.waits)
    fresh = [
        (scheduled_s, replica.name, scheduled_s - replica.created_s)
        for replica in replicas
        if (scheduled_s := replica.scheduled_s) is not None and scheduled_s > news_s and replica.name not in known
    ]
    known |= {name: wait_s for _, name, wait_s in sorted(fresh) if wait_s >= SHORTEST_PROVISIONING_S}
    memory = replace(memory, waits=tuple(known.items())[-WAITS_KEPT:])
    if before is not None and after is None:
        return replace(memory, strikes=before.strikes, recovered_s=at_s)
    return memory


def _gave_a_node(replicas: Sequence[Replica], since_s: float) -> bool:
    return any(replica.scheduled_s is not None and replica.scheduled_s >= since_s for replica in replicas)


def _remembered(memory: PoolMemory, at_s: float, settings: PlannerSettings) -> int:
    """Strikes of the last exhaustion, while it has been over for less than twice its back-off."""
    if memory.recovered_s is None or at_s - memory.recovered_s > 2 * _backoff_s(memory.strikes, settings):
        return 0
    return memory.strikes


def _strike(strikes: int, since_s: float, at_s: float, settings: PlannerSettings) -> Exhaustion:
    return Exhaustion(since_s=since_s, until_s=at_s + _backoff_s(strikes, settings), strikes=strikes)


def _backoff_s(strikes: int, settings: PlannerSettings) -> float:
    # 2^20 back-offs are beyond any limit; a larger power would overflow long before a status does.
    return min(LONGEST_BACKOFF_S, settings.exhausted_backoff_s * 2.0 ** min(20, strikes - 1))
