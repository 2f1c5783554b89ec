"""How long a replica takes from being asked for to serving: measured where it can be, else the declared prior."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import exp, log, sqrt
from statistics import quantiles

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import PoolState
from inferencefleet.physics.cold_start import cold_start_s

LONGEST_START_S = 1800.0
"""A replica that became ready later than this after its node came had been ready before, and lost it for a while."""
ENOUGH = 10
"""Times from which on their own 90th percentile is used."""
LEVEL_WEIGHT, SPREAD_WEIGHT, PRIOR_SPREAD_LOG = 0.5, 2.0, 0.25
NORMAL_90 = 1.2816
SHORTEST_PROVISIONING_S = 2.0
"""A replica that waited less found a node that was there already; it says nothing about how long nodes take."""


def expected_cold_start_s(
    state: PoolState,
    replicas: Sequence[Replica],
    shape: ReplicaShape,
    *,
    starting_s: float | None,
    alike: Collection[str],
    anew: bool = False,
) -> float:
    """Seconds from a new replica's creation to its readiness in this pool: time to a node + time to serve there.
    `anew`: on a node that must come first, whatever nodes have free GPUs now.

    Each part is the 90th percentile of what the fleet's own replicas took, as far as they tell: nodes in this pool,
    model loads in every pool of `alike` (the same GPU). The prior of the first part is the pool's p50 (0 when nodes
    have the free GPUs), that of the second `starting_s`, or what physics expects of a model of this size.
    """
    provision_s = 0.0
    if anew or not _has_room(state, replicas, shape.tensor_parallel):
        waits = _waits(replica for replica in replicas if replica.pool == state.pool.name)
        # Past the pool's p95 a wait is a failure to deliver, with a back-off of its own, and no provisioning time.
        provision_s = min(_high(waits, state.pool.provision_p50_s), state.pool.provision_p95_s)
    prior_s = cold_start_s(shape) if starting_s is None else starting_s
    return provision_s + _high(_loads(replica for replica in replicas if replica.pool in alike), prior_s)


def _waits(replicas: Iterable[Replica]) -> list[float]:
    waits = [replica.scheduled_s - replica.created_s for replica in replicas if replica.scheduled_s is not None]
    return [wait for wait in waits if wait >= SHORTEST_PROVISIONING_S]


def _loads(replicas: Iterable[Replica]) -> list[float]:
    loads = [
        replica.since_s - replica.scheduled_s
        for replica in replicas
        if replica.phase is Phase.READY and replica.scheduled_s is not None
    ]
    return [load for load in loads if 0 < load <= LONGEST_START_S]


def _high(seen: list[float], prior: float) -> float:
    """The 90th percentile of what comes next. A few times are no distribution: until there are enough they are taken
    for lognormal, with half a sample of the prior's level and two of its spread, so that one odd start moves little."""
    if not seen:
        return prior
    if len(seen) >= ENOUGH:
        return min(quantiles(seen, n=10)[-1], max(seen))
    logs = [log(value) for value in seen]
    weight = LEVEL_WEIGHT if prior > 0 else 0.0
    level = (weight * log(prior if prior > 0 else 1.0) + sum(logs)) / (weight + len(logs))
    squares = SPREAD_WEIGHT * PRIOR_SPREAD_LOG**2 + sum((value - level) ** 2 for value in logs)
    spread = sqrt(squares / (SPREAD_WEIGHT + len(logs)))
    # Nothing seen leaves the prior as it is; the margin grows with what is known of the spread.
    return exp(level + NORMAL_90 * spread * sqrt(len(logs) / (SPREAD_WEIGHT + len(logs))))


def _has_room(state: PoolState, replicas: Sequence[Replica], size: int) -> bool:
    open_nodes = {node.name for node in state.open_nodes}
    offered = sum(node.gpus for node in state.open_nodes)
    used = sum(replica.tensor_parallel for replica in replicas if replica.node in open_nodes)
    return offered - state.gpus_used_by_others - used >= size
