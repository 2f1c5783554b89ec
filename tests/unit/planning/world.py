"""A hand-made cluster that does what plans say: nodes come, models load, pods go. No engine, no cloud, no time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count

from inferencefleet.control.validate import violations
from inferencefleet.domain.fleet import EngineTerms, Fleet, FleetKey, ScalingTerms
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Phase, Replica, WorkloadState
from inferencefleet.domain.plan import FleetPlan, Plan
from inferencefleet.domain.pool import NodeState, Pool, PoolMemory, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Part, PlannerSettings, Snapshot
from inferencefleet.planning.plan import plan
from tests.builders import GAP, NOW_S, a_fleet, metrics

PERIOD_S = 15.0
NODE_S = 45.0
LOAD_S = 60.0

Slot = tuple[FleetKey, str]


def a_tp2_fleet(name: str = "chat", *, rps: float = 10.0, **overrides: object) -> Fleet:
    """Two GPUs a replica and a short horizon, so without a trend: numbers are easy to follow."""
    engine = EngineTerms(image="vllm/vllm-openai:v0.18.1", tensor_parallel=2)
    scaling = ScalingTerms(max_replicas=40, horizon_s=60.0)
    return a_fleet(name, rps=rps, **{"engine": engine, "scaling": scaling, **overrides})


@dataclass
class World:
    """Fleets and pools may be changed between ticks; `offered` is the arrival rate of every fleet."""

    fleets: list[Fleet]
    pools: list[Pool]
    offered: dict[str, float]
    at_s: float = NOW_S
    dark: bool = False
    """Prometheus does not answer."""
    without: frozenset[Part] = frozenset({Part.FEEDBACK})
    """Sizes stay what models make of them, however long nothing misses."""
    dry: set[str] = field(default_factory=set)
    """Pools whose nodes do not come."""
    memory: dict[FleetKey, FleetMemory] = field(default_factory=dict)
    pool_memory: dict[str, PoolMemory] = field(default_factory=dict)
    pods: dict[Slot, list[Replica]] = field(default_factory=dict)
    asked: dict[Slot, int] = field(default_factory=dict)
    exhaustion: dict[str, object] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)

    def tick(self, ticks: int = 1) -> FleetPlan:
        """Let time pass, plan, carry it out; the plan of the first fleet at the last tick."""
        for _ in range(ticks):
            self.at_s += PERIOD_S
            self._live()
            decided = self.plan()
            assert violations(decided, self.snapshot()) == {}
            self._obey(decided)
        return decided.fleets[0]

    def plan(self) -> Plan:
        return plan(self.snapshot())

    def settle(self, minutes: float = 15) -> FleetPlan:
        return self.tick(int(minutes * 60 / PERIOD_S))

    def snapshot(self) -> Snapshot:
        return Snapshot(
            at_s=self.at_s,
            fleets=tuple(self._state(fleet) for fleet in sorted(self.fleets, key=lambda fleet: fleet.key)),
            pools=tuple(self._pool(pool) for pool in sorted(self.pools, key=lambda pool: pool.name)),
            memory=self.memory,
            pool_memory=self.pool_memory,
            settings=PlannerSettings(period_s=PERIOD_S, starting_s=LOAD_S, without=self.without),
        )

    def wanted(self, fleet: str = "chat") -> dict[str, int]:
        """Deployment replicas by pool, empty pools left out."""
        return {pool: n for (key, pool), n in self.asked.items() if key.name == fleet and n}

    def ready(self, fleet: str = "chat") -> dict[str, int]:
        counted: dict[str, int] = {}
        for pod in self._of(fleet):
            if pod.phase is Phase.READY:
                counted[pod.pool] = counted.get(pod.pool, 0) + 1
        return counted

    def serving(self, fleet: str = "chat") -> int:
        return sum(self.ready(fleet).values())

    def doom(self, pool: str, pods: int) -> tuple[str, ...]:
        """An interruption notice for the node under the first `pods` ready pods of the pool."""
        marked: list[str] = []
        for slot, mine in self.pods.items():
            for index, pod in enumerate(mine):
                if slot[1] == pool and pod.phase is Phase.READY and not pod.doomed and len(marked) < pods:
                    mine[index] = replace(pod, doomed=True, node=f"{pool}-doomed")
                    marked.append(pod.name)
        return tuple(marked)

    def lose_doomed(self) -> None:
        """The notice is over: the node is gone with everything on it."""
        for slot in self.pods:
            self.pods[slot] = [pod for pod in self.pods[slot] if not pod.doomed]
        self._replace_lost()

    def forget(self) -> None:
        """The operator restarts with nothing but the cluster."""
        self.memory, self.pool_memory = {}, {}

    def _of(self, fleet: str) -> list[Replica]:
        return [pod for (key, _), mine in self.pods.items() for pod in mine if key.name == fleet]

    def _state(self, fleet: Fleet) -> FleetState:
        mine = {slot: pods for slot, pods in sorted(self.pods.items()) if slot[0] == fleet.key}
        serving = self.serving(fleet.key.name)
        seen: FleetMetrics | MetricsGap = GAP
        if not self.dark and serving:
            seen = metrics(rps=self.offered[fleet.key.name], engines=serving, at_s=self.at_s - 2)
        elif not self.dark:
            seen = MetricsGap(code="NoSamples", sentence="no engine reports")
        return FleetState(
            fleet=fleet,
            metrics=seen,
            replicas=tuple(pod for pods in mine.values() for pod in pods),
            workloads=tuple(
                WorkloadState(pool=pool, replicas=n, tensor_parallel=2)
                for (key, pool), n in sorted(self.asked.items())
                if key == fleet.key
            ),
        )

    def _pool(self, pool: Pool) -> PoolState:
        bound = sum(
            pod.tensor_parallel
            for (_, name), mine in self.pods.items()
            if name == pool.name
            for pod in mine
            if pod.node
        )
        nodes = tuple(
            NodeState(name=f"{pool.name}-{i}", pool=pool.name, gpus=pool.gpus_per_node, ready=True, doomed=False)
            for i in range(-(-bound // pool.gpus_per_node))
        )
        return PoolState(pool=pool, nodes=nodes, exhaustion=self.exhaustion.get(pool.name))  # type: ignore[arg-type]

    def _live(self) -> None:
        for mine in self.pods.values():
            for index, pod in enumerate(mine):
                age_s = self.at_s - pod.since_s
                if pod.phase is Phase.UNSCHEDULED and age_s >= NODE_S and pod.pool not in self.dry:
                    node = f"{pod.pool}-0"
                    mine[index] = replace(
                        pod, phase=Phase.STARTING, node=node, since_s=self.at_s, scheduled_s=self.at_s
                    )
                elif pod.phase is Phase.STARTING and age_s >= LOAD_S:
                    mine[index] = replace(pod, phase=Phase.READY, since_s=self.at_s)
                elif pod.phase is Phase.TERMINATING:
                    mine[index] = replace(pod, pool="")
            mine[:] = [pod for pod in mine if pod.pool]

    def _obey(self, decided: Plan) -> None:
        self.memory, self.pool_memory = dict(decided.memory), dict(decided.pool_memory)
        self.exhaustion = {outlook.pool: outlook.exhaustion for outlook in decided.pools}
        for fleet in decided.fleets:
            if not fleet.act:
                continue
            for pool in fleet.pools:
                self.asked[fleet.key, pool.pool] = pool.replicas
                self._shrink((fleet.key, pool.pool), pool.victims)
            for name in fleet.retire:
                self.asked[fleet.key, name] = 0
                self._shrink((fleet.key, name), ())
        self._replace_lost()

    def _shrink(self, slot: Slot, victims: tuple[str, ...]) -> None:
        """As a ReplicaSet does: pods that do not serve first, then by deletion cost."""
        mine = self.pods.setdefault(slot, [])
        alive = [pod for pod in mine if pod.phase is not Phase.TERMINATING]
        rank = {name: index for index, name in enumerate(victims)}
        phases = {Phase.UNSCHEDULED: 0, Phase.STARTING: 1, Phase.FAILED: 1, Phase.READY: 2}
        alive.sort(key=lambda pod: (phases[pod.phase], rank.get(pod.name, len(rank))))
        gone = {pod.name for pod in alive[: max(0, len(alive) - self.asked[slot])]}
        for index, pod in enumerate(mine):
            if pod.name in gone:
                mine[index] = replace(pod, phase=Phase.TERMINATING, since_s=self.at_s)

    def _replace_lost(self) -> None:
        for slot, n in self.asked.items():
            mine = self.pods.setdefault(slot, [])
            alive = sum(pod.phase is not Phase.TERMINATING for pod in mine)
            mine += [
                Replica(
                    name=f"{slot[0].name}-{slot[1]}-{next(self._numbers)}",
                    pool=slot[1],
                    phase=Phase.UNSCHEDULED,
                    node=None,
                    since_s=self.at_s,
                    created_s=self.at_s,
                    tensor_parallel=2,
                )
                for _ in range(n - alive)
            ]
