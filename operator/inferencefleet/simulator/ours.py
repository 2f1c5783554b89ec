"""Our own planner as a policy of a replay: the same `plan()` as in the cluster, fed and obeyed as the operator does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.plan import FleetPlan, Plan
from inferencefleet.domain.pool import PoolMemory, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot
from inferencefleet.planning.plan import plan
from inferencefleet.simulator.policy import Hints, Sight, Targets


class Ours:
    """Keeps between ticks what the operator keeps in memory and in statuses."""

    def __init__(
        self,
        name: str = "ours",
        *,
        amend: Callable[[Snapshot], Snapshot] | None = None,
        on_tick: Callable[[Snapshot, Plan], None] | None = None,
    ) -> None:
        """`amend` changes what the planner is given (ablations); `on_tick` is shown every snapshot with its plan."""
        self._name = name
        self._amend = amend
        self._on_tick = on_tick
        self._memory: Mapping[FleetKey, FleetMemory] = {}
        self._pool_memory: Mapping[str, PoolMemory] = {}
        self._last: Plan | None = None
        self._plans: dict[FleetKey, FleetPlan] = {}

    @property
    def name(self) -> str:
        return self._name

    def decide(self, sight: Sight) -> Mapping[FleetKey, Targets]:
        snapshot = replace(
            sight.snapshot,
            pools=tuple(self._reminded(state) for state in sight.snapshot.pools),
            memory=self._memory,
            pool_memory=self._pool_memory,
        )
        if self._amend is not None:
            snapshot = self._amend(snapshot)
        decided = plan(snapshot)
        self._memory, self._pool_memory, self._last = decided.memory, decided.pool_memory, decided
        self._plans = {fleet.key: fleet for fleet in decided.fleets}
        if self._on_tick is not None:
            self._on_tick(snapshot, decided)
        states = {state.fleet.key: state for state in snapshot.fleets}
        return {key: _targets(fleet, states[key]) for key, fleet in self._plans.items() if fleet.act}

    def hints(self, key: FleetKey) -> Hints:
        decided = self._plans[key]
        return Hints(
            reason=str(decided.reason),
            sentence=decided.sentence,
            victims={pool.pool: pool.victims for pool in decided.pools},
            shapes={pool.pool: pool.shape for pool in decided.pools if pool.replicas},
        )

    def _reminded(self, state: PoolState) -> PoolState:
        """What the status of the pool told at the last tick."""
        if self._last is None:
            return state
        told = next((outlook for outlook in self._last.pools if outlook.pool == state.pool.name), None)
        if told is None:
            return state
        return replace(state, exhaustion=told.exhaustion, interruptions=told.interruptions)


def _targets(decided: FleetPlan, state: FleetState) -> Targets:
    """What the plan says, and what it says nothing about as it is; pools to retire go to 0."""
    kept = {
        workload.pool: workload.replicas for workload in state.workloads if workload.pool not in set(decided.retire)
    }
    return kept | {pool.pool: pool.replicas for pool in decided.pools}
