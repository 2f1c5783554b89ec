"""`plan(snapshot) -> Plan`: the whole decision, pure and deterministic, the same code in the cluster and in replay."""

from __future__ import annotations

from collections.abc import Iterable

from inferencefleet.domain.fleet import FleetKey, Problem
from inferencefleet.domain.observation import Phase, Replica, WorkloadState
from inferencefleet.domain.plan import FleetPlan, Plan, PoolOutlook, Reason
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot
from inferencefleet.planning.decide import Surroundings, decide
from inferencefleet.planning.pools import judge_exhaustion
from inferencefleet.planning.refuse import refuse
from inferencefleet.planning.rooms import Ledger


def plan(snapshot: Snapshot) -> Plan:
    """What every fleet should be, in the order of their keys.

    The same snapshot always gives the same plan. Fleets with a broken spec keep their replicas and their GPUs.
    """
    pools = {state.pool.name: state for state in snapshot.pools}

    # 1. Which pools deliver? Pods of every fleet are the witnesses.
    witnesses = _by_pool(snapshot)
    exhaustion = {
        name: judge_exhaustion(state, witnesses.get(name, ()), at_s=snapshot.at_s, settings=snapshot.settings)
        for name, state in pools.items()
    }

    # 2. What does everyone hold now? Nobody's running replicas are given away to somebody else.
    ledger = Ledger(
        limits={
            name: None if state.pool.max_gpus is None else max(0, state.pool.max_gpus - state.gpus_used_by_others)
            for name, state in pools.items()
        }
    )
    for key, pool, gpus in _held(snapshot):
        if pool in pools:
            ledger.hold(key, pool, gpus)

    # 3. One fleet after the other; each sees what those before it took.
    around = Surroundings(
        at_s=snapshot.at_s, pools=pools, exhaustion=exhaustion, ledger=ledger, settings=snapshot.settings
    )
    fleets = []
    for state in snapshot.fleets:
        decided = _decide_alone(state, snapshot.memory.get(state.fleet.key, FleetMemory()), around)
        _hold_planned(ledger, decided, state.replicas)
        fleets.append(decided)

    # 4. What is left of every pool?
    outlooks = tuple(_outlook(snapshot, ledger, name, around) for name in sorted(pools))
    return Plan(
        at_s=snapshot.at_s,
        fleets=tuple(fleets),
        pools=outlooks,
        memory={decided.key: decided.memory for decided in fleets},
    )


def _decide_alone(state: FleetState, memory: FleetMemory, around: Surroundings) -> FleetPlan:
    """A defect that one fleet's numbers bring to light must not stop the others: it becomes that fleet's problem."""
    try:
        return decide(state, memory, around)
    except Exception as defect:
        problem = Problem(
            code=Reason.PLANNING_FAILED,
            field="(planner)",
            value=f"{type(defect).__name__}: {defect}",
            sentence="the planner failed on this fleet; its replicas stay as they are. Please report this as a defect",
        )
        return refuse(state, memory, (problem,))


def _all_replicas(snapshot: Snapshot) -> Iterable[tuple[FleetKey, Replica]]:
    for state in snapshot.fleets:
        yield from ((state.fleet.key, replica) for replica in state.replicas)
    for broken in snapshot.broken_fleets:
        yield from ((broken.key, replica) for replica in broken.replicas)


def _by_pool(snapshot: Snapshot) -> dict[str, list[Replica]]:
    grouped: dict[str, list[Replica]] = {}
    for _, replica in _all_replicas(snapshot):
        grouped.setdefault(replica.pool, []).append(replica)
    return grouped


def _held(snapshot: Snapshot) -> list[tuple[FleetKey, str, int]]:
    """(fleet, pool, GPUs): the larger of what its pods occupy and what its Deployment asks for."""
    occupied: dict[tuple[FleetKey, str], int] = {}
    for key, replica in _all_replicas(snapshot):
        occupied[key, replica.pool] = occupied.get((key, replica.pool), 0) + replica.tensor_parallel
    asked: dict[tuple[FleetKey, str], int] = {}
    workloads: list[tuple[FleetKey, tuple[WorkloadState, ...]]] = [
        *((state.fleet.key, state.workloads) for state in snapshot.fleets),
        *((broken.key, broken.workloads) for broken in snapshot.broken_fleets),
    ]
    for key, mine in workloads:
        for workload in mine:
            asked[key, workload.pool] = workload.replicas * workload.tensor_parallel
    return [
        (key, pool, max(occupied.get((key, pool), 0), asked.get((key, pool), 0)))
        for key, pool in sorted({*occupied, *asked})
    ]


def _hold_planned(ledger: Ledger, decided: FleetPlan, replicas: Iterable[Replica]) -> None:
    """A plan that is only shown takes nothing from others, and gives nothing of what still runs to them."""
    if not decided.act:
        return
    occupied: dict[str, int] = {}
    for replica in replicas:
        if replica.phase is not Phase.UNSCHEDULED:
            occupied[replica.pool] = occupied.get(replica.pool, 0) + replica.tensor_parallel
    for pool in decided.pools:
        gpus = pool.replicas * pool.shape.tensor_parallel
        ledger.hold(decided.key, pool.pool, max(gpus, occupied.get(pool.pool, 0)))


def _outlook(snapshot: Snapshot, ledger: Ledger, name: str, around: Surroundings) -> PoolOutlook:
    state = around.pools[name]
    bound = sum(
        replica.tensor_parallel
        for _, replica in _all_replicas(snapshot)
        if replica.pool == name and replica.node is not None
    )
    planned = ledger.total(name)
    used = bound + state.gpus_used_by_others
    limit = "no limit" if state.pool.max_gpus is None else f"limit {state.pool.max_gpus}"
    sentence = f"{used} of {state.gpus_total} GPUs in use, {planned} planned by fleets, {limit}"
    exhaustion = around.exhaustion[name]
    if exhaustion is not None:
        wait_s = max(0.0, exhaustion.until_s - snapshot.at_s)
        sentence = f"did not deliver nodes {exhaustion.strikes} time(s), next probe in {wait_s:.0f} s; {sentence}"
    return PoolOutlook(
        pool=name,
        gpus_total=state.gpus_total,
        gpus_used=used,
        gpus_planned=planned,
        exhaustion=exhaustion,
        sentence=sentence,
    )
