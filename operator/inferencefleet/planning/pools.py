"""Pools that do not deliver: a pod that stays unschedulable past the pool's p95 marks it, with back-off and a probe."""

from __future__ import annotations

from collections.abc import Iterable

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import Exhaustion, Pool, PoolState
from inferencefleet.domain.snapshot import PlannerSettings

LONGEST_BACKOFF_S = 3600.0


def is_blocked(replica: Replica, pool: Pool, at_s: float) -> bool:
    """Without a node for longer than the pool's provisioning p95: it is not coming."""
    return replica.phase is Phase.UNSCHEDULED and at_s - replica.since_s > pool.provision_p95_s


def judge_exhaustion(
    state: PoolState, replicas: Iterable[Replica], *, at_s: float, settings: PlannerSettings
) -> Exhaustion | None:
    """Exhaustion after this tick. `replicas` are those of all fleets in this pool.

    healthy -> (a replica is blocked) -> exhausted until -> probing (one replica more) -> healthy, or exhausted for
    twice as long.
    """
    before = state.exhaustion
    mine = list(replicas)
    blocked = any(is_blocked(replica, state.pool, at_s) for replica in mine)
    if before is None:
        return _strike(1, at_s, at_s, settings) if blocked else None
    if at_s < before.until_s:
        return before
    if blocked:
        return _strike(before.strikes + 1, before.since_s, at_s, settings)
    delivered = any(
        replica.phase in {Phase.STARTING, Phase.READY} and replica.created_s >= before.since_s for replica in mine
    )
    return None if delivered else before


def is_probing(exhaustion: Exhaustion, at_s: float) -> bool:
    """The back-off is over: one more replica is allowed to see whether the pool delivers again."""
    return at_s >= exhaustion.until_s


def _strike(strikes: int, since_s: float, at_s: float, settings: PlannerSettings) -> Exhaustion:
    backoff_s = min(LONGEST_BACKOFF_S, settings.exhausted_backoff_s * 2 ** (strikes - 1))
    return Exhaustion(since_s=since_s, until_s=at_s + backoff_s, strikes=strikes)
