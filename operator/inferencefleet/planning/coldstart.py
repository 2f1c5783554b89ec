"""How long a replica takes from being asked for to serving: measured where it can be, else the declared prior."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import PoolState
from inferencefleet.physics.cold_start import cold_start_s

LONGEST_START_S = 1800.0
"""A replica that became ready later than this after its node came had been ready before, and lost it for a while."""


def expected_cold_start_s(
    state: PoolState, replicas: Sequence[Replica], shape: ReplicaShape, *, starting_s: float | None
) -> float:
    """Seconds from a new replica's creation to its readiness in this pool, at the 90th percentile of those seen.

    The prior is the pool's p50 to a node (0 when nodes have the free GPUs) plus `starting_s` for image pull and model
    load, or what physics expects of a model of this size.
    """
    longest_s = state.pool.provision_p95_s + LONGEST_START_S
    seen = [
        replica.since_s - replica.created_s
        for replica in replicas
        if replica.pool == state.pool.name
        and replica.phase is Phase.READY
        and 0 < replica.since_s - replica.created_s <= longest_s
    ]
    if len(seen) >= 2:
        return min(quantiles(seen, n=10)[-1], max(seen))
    if seen:
        return seen[0]
    provision_s = 0.0 if _has_room(state, replicas, shape.tensor_parallel) else state.pool.provision_p50_s
    return cold_start_s(shape, provision_s=provision_s) if starting_s is None else provision_s + starting_s


def _has_room(state: PoolState, replicas: Sequence[Replica], size: int) -> bool:
    used = sum(
        replica.tensor_parallel for replica in replicas if replica.pool == state.pool.name and replica.node is not None
    )
    return state.gpus_total - state.gpus_used_by_others - used >= size
