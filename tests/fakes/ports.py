"""Doubles of every port: a cluster and a Prometheus in memory, that keep what is written and can be told to fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.history import History
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Replica, WorkloadState
from inferencefleet.domain.plan import FleetPlan
from inferencefleet.domain.pool import NodeState, Pool
from inferencefleet.ports import ApplyRefused, ClusterUnavailable, ClusterView, Event


@dataclass
class FakeClock:
    at_s: float = 1_800_000_000.0

    def now(self) -> float:
        return self.at_s


@dataclass
class FakeReader:
    """The API server's content; change it between ticks."""

    fleets: list[dict[str, Any]] = field(default_factory=list)
    pools: list[dict[str, Any]] = field(default_factory=list)
    replicas: dict[FleetKey, tuple[Replica, ...]] = field(default_factory=dict)
    workloads: dict[FleetKey, tuple[WorkloadState, ...]] = field(default_factory=dict)
    nodes: tuple[NodeState, ...] = ()
    used_by_others: dict[str, int] = field(default_factory=dict)
    unavailable: bool = False
    asked_with: list[tuple[str, ...]] = field(default_factory=list)
    """Names of the pools that each reading was told of."""

    async def read(self, pools: Sequence[Pool]) -> ClusterView:
        self.asked_with.append(tuple(pool.name for pool in pools))
        if self.unavailable:
            raise ClusterUnavailable("the watch of InferenceFleets is not in sync")
        known = {pool.name for pool in pools}
        return ClusterView(
            fleets=tuple(self.fleets),
            pools=tuple(self.pools),
            replicas=dict(self.replicas),
            workloads=dict(self.workloads),
            nodes=tuple(node for node in self.nodes if node.pool in known),
            gpus_used_by_others=dict(self.used_by_others),
        )


@dataclass
class FakeMetrics:
    answers: dict[str, FleetMetrics | MetricsGap] = field(default_factory=dict)
    """By fleet name; a fleet that is not here is not in the answer."""
    past: dict[str, History] = field(default_factory=dict)
    forgetful: bool = False
    """The store cannot be asked for the past."""
    asked_for_history: list[tuple[str, ...]] = field(default_factory=list)

    async def read(self, fleets: Sequence[Fleet]) -> Mapping[FleetKey, FleetMetrics | MetricsGap]:
        return {fleet.key: self.answers[fleet.key.name] for fleet in fleets if fleet.key.name in self.answers}

    async def history(self, fleets: Sequence[Fleet], at_s: float) -> Mapping[FleetKey, History]:
        self.asked_for_history.append(tuple(fleet.key.name for fleet in fleets))
        return {fleet.key: self.past.get(fleet.key.name, History()) for fleet in fleets if not self.forgetful}


@dataclass
class FakeActuator:
    """Deployments of the reader become what the plan says; writes are counted as differences."""

    reader: FakeReader
    fails: dict[str, Exception] = field(default_factory=dict)
    """By fleet name: what is raised instead."""
    applied: list[str] = field(default_factory=list)

    async def apply(self, fleet: Fleet, plan: FleetPlan, pools: Mapping[str, Pool]) -> int:
        if fleet.key.name in self.fails:
            raise self.fails[fleet.key.name]
        self.applied.append(fleet.key.name)
        before = self.reader.workloads.get(fleet.key, ())
        after = tuple(
            WorkloadState(pool=pool.pool, replicas=pool.replicas, tensor_parallel=pool.shape.tensor_parallel)
            for pool in plan.pools
            if pool.replicas or any(workload.pool == pool.pool for workload in before)
        )
        self.reader.workloads[fleet.key] = after
        return len(set(after) ^ set(before))


def refused(what: str = "Deployment chat-reserved: exceeded quota") -> ApplyRefused:
    return ApplyRefused(what)


@dataclass
class RecordingWriter:
    """Status goes into the reader's manifests, as the API server would keep it."""

    reader: FakeReader
    fails: dict[str, Exception] = field(default_factory=dict)
    fleet_writes: list[str] = field(default_factory=list)
    pool_writes: list[str] = field(default_factory=list)

    async def write_fleet(self, key: FleetKey, uid: str, status: Mapping[str, Any]) -> bool:
        self._keep(self.reader.fleets, key.name, status)
        self.fleet_writes.append(key.name)
        return True

    async def write_pool(self, name: str, uid: str, status: Mapping[str, Any]) -> bool:
        self._keep(self.reader.pools, name, status)
        self.pool_writes.append(name)
        return True

    def _keep(self, manifests: list[dict[str, Any]], name: str, status: Mapping[str, Any]) -> None:
        if name in self.fails:
            raise self.fails[name]
        for manifest in manifests:
            if manifest["metadata"]["name"] == name:
                manifest["status"] = dict(status)


@dataclass
class RecordingSink:
    events: list[Event] = field(default_factory=list)

    async def publish(self, event: Event) -> None:
        self.events.append(event)

    def take(self) -> list[str]:
        """Reasons since the last call."""
        found = [event.reason for event in self.events]
        self.events.clear()
        return found
