"""Pods and the Deployments that own them: who is created, and who goes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.snapshot import ScheduledFloor
from inferencefleet.simulator.policy import ANY
from inferencefleet.simulator.replay.cloud import Node
from inferencefleet.simulator.replay.stage import StageFleet
from inferencefleet.simulator.servers import EngineKind, Servers


@dataclass(slots=True, eq=False)
class Pod:
    """One replica. Times are seconds since the replay began."""

    name: str
    number: int
    tenant: Tenant
    target: str
    """The Deployment it belongs to: a pool, or `ANY`."""
    created_s: float
    phase: Phase = Phase.UNSCHEDULED
    since_s: float = 0.0
    scheduled_s: float | None = None
    ready_s: float | None = None
    node: Node | None = None
    kind: EngineKind | None = None
    """Known once it is known where it runs."""
    slot: int | None = None
    """Of its engine, once loaded."""
    closed_s: float | None = None
    message: str = ""
    gone: bool = False
    _shown: Replica | None = None

    @property
    def pool(self) -> str:
        return self.target if self.node is None else self.node.pool

    @property
    def gpus(self) -> int:
        return 0 if self.kind is None else self.kind.shape.tensor_parallel

    @property
    def doomed(self) -> bool:
        return self.node is not None and self.node.notice_s is not None

    def enter(self, phase: Phase, now_s: float) -> None:
        self.phase, self.since_s, self._shown = phase, now_s, None

    def changed(self) -> None:
        self._shown = None

    def shown(self, epoch_s: float) -> Replica:
        """As the API server shows it; the same object until something changes."""
        if self._shown is None:
            self._shown = Replica(
                name=self.name,
                pool=self.pool,
                phase=self.phase,
                node=None if self.node is None else self.node.name,
                since_s=epoch_s + self.since_s,
                created_s=epoch_s + self.created_s,
                scheduled_s=None if self.scheduled_s is None else epoch_s + self.scheduled_s,
                doomed=self.doomed,
                message=self.message,
                tensor_parallel=self.gpus or self.tenant.gpus_in(self.target),
            )
        return self._shown


class Tenant:
    """One fleet in the replay: its Deployments, pods and engines."""

    def __init__(self, stage_fleet: StageFleet, servers: Servers, seed: int) -> None:
        self.stage = stage_fleet
        self.fleet = stage_fleet.fleet
        self.key = stage_fleet.fleet.key
        self.servers = servers
        self.wanted: dict[str, int] = {}
        """By Deployment: a pool, or `ANY`."""
        self.pods: list[Pod] = []
        """In the order of creation, those that are gone left out."""
        self.kinds = dict(stage_fleet.kinds)
        """What a new pod is, by pool; a policy may choose another shape on the way."""
        self.killed = 0
        """Replicas that died with their node while they served."""
        self._numbers = 0
        self._seed = seed

    def gpus_in(self, target: str) -> int:
        kind = self.kinds.get(target)
        if kind is not None:
            return kind.shape.tensor_parallel
        return max((kind.shape.tensor_parallel for kind in self.kinds.values()), default=1)

    def new_pod(self, target: str, now_s: float) -> Pod:
        self._numbers += 1
        where = "any" if target == ANY else target
        pod = Pod(f"{self.key.name}-{where}-{self._numbers}", self._numbers, self, target, created_s=now_s)
        pod.since_s = now_s
        self.pods.append(pod)
        return pod

    def load_s(self, pod: Pod) -> float:
        """Time from its node to readiness. Drawn by number, so that two policies' n-th pods load alike."""
        return self.stage.start_up.sample(Random(f"{self._seed}:{self.key}:load:{pod.number}"))

    def engine_seed(self, pod: Pod) -> int:
        return Random(f"{self._seed}:{self.key}:engine:{pod.number}").getrandbits(31)

    def standing(self, target: str) -> list[Pod]:
        """Pods of one Deployment that were not told to go."""
        return [pod for pod in self.pods if pod.target == target and pod.phase is not Phase.TERMINATING]

    def floors(self, at_s: float) -> tuple[ScheduledFloor, ...]:
        """Announced windows that are open or open within a day; `at_s` in epoch seconds."""
        return tuple(floor for floor in self.stage.schedule if floor.end_s > at_s and floor.start_s < at_s + 86400)

    def adopt_all(self) -> None:
        """A law that knows no pools has come: what runs becomes one Deployment."""
        for pod in self.pods:
            pod.target = ANY
            pod.changed()
        self.wanted = {ANY: sum(self.wanted.values())}


_UNREADY = {Phase.UNSCHEDULED: 0, Phase.FAILED: 1, Phase.STARTING: 1, Phase.READY: 2}


def victims_first(pods: Sequence[Pod], named: Sequence[str]) -> list[Pod]:
    """Who goes first when a Deployment shrinks, as its ReplicaSet chooses.

    Pods without a node, then those that are not ready, then by deletion cost: those `named`, in their order. Without
    a name, those on a doomed node, then on the node that holds most of the fleet's pods, then the youngest.
    """
    rank = {name: index for index, name in enumerate(named)}
    on_node = Counter(pod.node.name for pod in pods if pod.node is not None)

    def order(pod: Pod) -> tuple[float, ...]:
        crowd = 0 if pod.node is None else on_node[pod.node.name]
        return (_UNREADY[pod.phase], rank.get(pod.name, len(rank)), not pod.doomed, -crowd, -pod.created_s, -pod.number)

    return sorted(pods, key=order)
