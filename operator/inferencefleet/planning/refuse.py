"""Refusals: a fleet that cannot be planned keeps what it has, and is told why."""

from __future__ import annotations

from collections.abc import Mapping

from inferencefleet.domain.fleet import Fleet, Problem
from inferencefleet.domain.plan import Demand, FleetPlan, Reason, Sizing
from inferencefleet.domain.pool import PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState


def usable_pools(fleet: Fleet, pools: Mapping[str, PoolState]) -> tuple[tuple[PoolState, ...], tuple[Problem, ...]]:
    """The pools the fleet names and that exist (all when it names none), by name, and a problem for each other one."""
    if fleet.pools is None:
        names, missing = sorted(pools), []
    else:
        names = sorted(set(fleet.pools) & set(pools))
        missing = sorted(set(fleet.pools) - set(pools))
    known = ", ".join(sorted(pools)) or "none"
    problems = [
        Problem(
            code=Reason.UNKNOWN_POOL,
            field="spec.placement.pools",
            value=name,
            sentence=f"no usable GPUPool has this name; those that exist: {known}. Create it or correct the name",
        )
        for name in missing
    ]
    if not names and not missing:
        problems.append(
            Problem(
                code=Reason.NO_POOLS,
                field="spec.placement.pools",
                value="(all)",
                sentence="there is no usable GPUPool in this cluster; create one that says where GPUs come from",
            )
        )
    found = tuple(pools[name] for name in names)
    empty = [state for state in found if state.pool.max_gpus == 0]
    problems += [
        Problem(
            code=Reason.POOL_LIMIT,
            field=f"gpupool/{state.pool.name} spec.limits.gpus",
            value="0",
            sentence="the pool is empty by its own limit; raise it or choose another pool",
        )
        for state in empty
        if fleet.pools is not None or len(empty) == len(found)
    ]
    usable = tuple(state for state in found if state.pool.max_gpus != 0)
    return usable, tuple(problems)


def refuse(
    state: FleetState,
    memory: FleetMemory,
    problems: tuple[Problem, ...],
    *,
    sizings: tuple[Sizing, ...] = (),
    demand: Demand | None = None,
) -> FleetPlan:
    """A plan that changes nothing: `act` is False, so the Deployments stay as they are."""
    last = problems[-1]
    return FleetPlan(
        key=state.fleet.key,
        pools=(),
        demand=demand,
        forecast=None,
        sizings=sizings,
        verdicts=(),
        reason=Reason(last.code),
        sentence=str(last),
        act=False,
        problems=problems,
        memory=memory,
    )
