"""`plan(snapshot) -> Plan`: the whole decision, pure and deterministic, the same code in the cluster and in replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from inferencefleet.domain.fleet import FleetKey, Mode, Problem
from inferencefleet.domain.observation import Phase, Replica, WorkloadState
from inferencefleet.domain.plan import FleetPlan, Plan, PoolOutlook, Reason
from inferencefleet.domain.pool import PoolMemory, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot
from inferencefleet.planning.ask import Asked, Surroundings, ask
from inferencefleet.planning.conclude import conclude
from inferencefleet.planning.interruptions import observe
from inferencefleet.planning.placement import Joint
from inferencefleet.planning.pools import judge_exhaustion, patience_s, remember_deliveries
from inferencefleet.planning.refuse import refuse
from inferencefleet.planning.rooms import Ledger
from inferencefleet.planning.together import alone, together


def plan(snapshot: Snapshot) -> Plan:
    """What every fleet should be, in the order of their keys.

    The same snapshot always gives the same plan. Fleets with a broken spec keep their replicas and their GPUs.
    """
    # 1. Which pools deliver, and which take their nodes back? Pods of every fleet are the witnesses.
    pools = {state.pool.name: state for state in snapshot.pools}
    witnesses = _by_pool(snapshot)
    exhaustion, records, pool_memory, patience = {}, {}, {}, {}
    for name, state in pools.items():
        before, mine = snapshot.pool_memory.get(name, PoolMemory()), witnesses.get(name, ())
        exhaustion[name] = judge_exhaustion(state, mine, at_s=snapshot.at_s, settings=snapshot.settings, memory=before)
        patience[name] = patience_s(state, before, state.exhaustion)
        after = remember_deliveries(before, state.exhaustion, exhaustion[name], mine, at_s=snapshot.at_s)
        records[name], pool_memory[name] = observe(state, after, replicas=mine, at_s=snapshot.at_s)

    # 2. What does everyone hold now? Nobody's running replicas are given away to somebody else before they are gone.
    around = Surroundings(
        at_s=snapshot.at_s, pools=pools, exhaustion=exhaustion, records=records, ledger=_ledger(snapshot, pools),
        settings=snapshot.settings, patience_s=patience,
    )  # fmt: skip

    # 3. What does each fleet ask for, alone in the world?
    answers = [_alone(state, snapshot, lambda state, memory: ask(state, memory, around)) for state in snapshot.fleets]

    # 4. Where do all of them go together at the lowest price?
    acting = [asked for asked in answers if isinstance(asked, Asked) and asked.state.fleet.scaling.mode is Mode.AUTO]
    joint = together(acting, around)

    # 5. What is the next step of each? Who ranks higher takes what is free first.
    decided: dict[FleetKey, FleetPlan] = {}
    for answer, fleet_state in sorted(zip(answers, snapshot.fleets, strict=True), key=_rank):
        one = answer if isinstance(answer, FleetPlan) else _concluded(answer, joint, around, snapshot)
        _hold_planned(around.ledger, one, fleet_state.replicas)
        decided[one.key] = one

    # 6. What is left of every pool?
    fleets = tuple(decided[state.fleet.key] for state in snapshot.fleets)
    outlooks = tuple(
        _outlook(snapshot, around, name, witnesses.get(name, ()), joint.worth_per_gpu_hour.get(name, 0.0))
        for name in sorted(pools)
    )
    return Plan(
        at_s=snapshot.at_s,
        fleets=fleets,
        pools=outlooks,
        memory={fleet.key: fleet.memory for fleet in fleets},
        pool_memory=pool_memory,
        placement_gap=joint.gap,
    )


def _rank(pair: tuple[Asked | FleetPlan, FleetState]) -> tuple[int, FleetKey]:
    return -pair[1].fleet.priority, pair[1].fleet.key


def _concluded(asked: Asked, joint: Joint, around: Surroundings, snapshot: Snapshot) -> FleetPlan:
    """A fleet that only watches is shown where it would go; it takes no part in the joint placement."""
    placement = joint.placements.get(asked.state.fleet.key)

    def finish(state: FleetState, memory: FleetMemory) -> FleetPlan:
        return conclude(asked, placement or alone(asked, around), around)

    found = _alone(asked.state, snapshot, finish)
    assert isinstance(found, FleetPlan)
    return found


def _ledger(snapshot: Snapshot, pools: Mapping[str, PoolState]) -> Ledger:
    ledger = Ledger(
        limits={
            name: None if state.pool.max_gpus is None else max(0, state.pool.max_gpus - state.gpus_used_by_others)
            for name, state in pools.items()
        }
    )
    for key, pool, gpus in _held(snapshot):
        if pool in pools:
            ledger.hold(key, pool, gpus)
    return ledger


Step = Callable[[FleetState, FleetMemory], Asked | FleetPlan]


def _alone(state: FleetState, snapshot: Snapshot, step: Step) -> Asked | FleetPlan:
    """A defect that one fleet's numbers bring to light must not stop the others: it becomes that fleet's problem."""
    memory = snapshot.memory.get(state.fleet.key, FleetMemory())
    try:
        return step(state, memory)
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


def _outlook(
    snapshot: Snapshot, around: Surroundings, name: str, mine: Iterable[Replica], worth_per_gpu_hour: float
) -> PoolOutlook:
    """`mine`: replicas of all fleets there."""
    state = around.pools[name]
    bound = sum(replica.tensor_parallel for replica in mine if replica.node is not None)
    planned = around.ledger.total(name)
    used = bound + state.gpus_used_by_others
    limit = "no limit" if state.pool.max_gpus is None else f"limit {state.pool.max_gpus}"
    sentence = f"{used} of {state.gpus_total} GPUs in use, {planned} planned by fleets, {limit}"
    exhaustion = around.exhaustion[name]
    if exhaustion is not None:
        wait_s = max(0.0, exhaustion.until_s - snapshot.at_s)
        sentence = f"{exhaustion.sentence}; next probe in {wait_s:.0f} s; {sentence}"
    return PoolOutlook(
        pool=name,
        gpus_total=state.gpus_total,
        gpus_used=used,
        gpus_planned=planned,
        exhaustion=exhaustion,
        sentence=sentence,
        worth_per_gpu_hour=worth_per_gpu_hour,
        interruptions=around.records[name],
    )
