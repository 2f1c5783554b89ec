"""Validate: prove a plan against the snapshot it came from, right before it is carried out."""

from __future__ import annotations

from inferencefleet.domain.plan import FleetPlan, Plan
from inferencefleet.domain.snapshot import FleetState, Snapshot


def violations(plan: Plan, snapshot: Snapshot) -> dict[str, str]:
    """Broken promises by fleet key (as text): a plan of such a fleet is not carried out.

    These hold by construction; the check stands between a planning defect and somebody's GPUs.
    """
    states = {state.fleet.key: state for state in snapshot.fleets}
    limits = {state.pool.name: state.pool.max_gpus for state in snapshot.pools}
    held = {outlook.pool: outlook.gpus_planned for outlook in plan.pools}
    found = {}
    for decided in plan.fleets:
        broken = _broken_promise(decided, states[decided.key], limits, held) if decided.act else None
        if broken is not None:
            found[str(decided.key)] = broken
    return found


def _broken_promise(
    decided: FleetPlan, state: FleetState, limits: dict[str, int | None], held: dict[str, int]
) -> str | None:
    scaling = state.fleet.scaling
    current = {workload.pool: workload.replicas for workload in state.workloads}
    grows = any(pool.replicas > current.get(pool.pool, 0) for pool in decided.pools)
    placed = sum(pool.placed for pool in decided.pools)
    if placed > scaling.max_replicas and grows:
        return f"{placed} replicas are above spec.scaling.maxReplicas={scaling.max_replicas}"
    for pool in decided.pools:
        limit = limits.get(pool.pool)
        if limit is not None and held.get(pool.pool, 0) > limit and pool.replicas > current.get(pool.pool, 0):
            return f"pool {pool.pool} would hold {held[pool.pool]} GPUs of {limit}"
    return None
