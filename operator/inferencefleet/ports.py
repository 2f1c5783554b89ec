"""The edges of the product: what the loop needs from the world. Adapters, tests and simulator implement these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.history import History
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Replica, WorkloadState
from inferencefleet.domain.plan import FleetPlan
from inferencefleet.domain.pool import NodeState, Pool

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON-like data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """One consistent reading of the cluster from the watch cache. Raw specs are converted by `api.convert`."""

    fleets: tuple[Manifest, ...]
    pools: tuple[Manifest, ...]
    replicas: Mapping[FleetKey, tuple[Replica, ...]]
    workloads: Mapping[FleetKey, tuple[WorkloadState, ...]]
    nodes: tuple[NodeState, ...]
    """Nodes that match the selector of a pool, each with the name of that pool."""
    gpus_used_by_others: Mapping[str, int]
    """By pool name."""


class Clock(Protocol):
    def now(self) -> float:
        """Epoch seconds."""
        ...


class FleetReader(Protocol):
    async def read(self, pools: Sequence[Pool]) -> ClusterView:
        """The cluster now. `pools` (from the last tick) tell which nodes belong where.

        Raises `ClusterUnavailable` when the cache is not in sync with the API server.
        """
        ...


class MetricsSource(Protocol):
    async def read(self, fleets: Sequence[Fleet]) -> Mapping[FleetKey, FleetMetrics | MetricsGap]:
        """One round of queries for all fleets. Never raises for an unreachable server: every fleet gets a gap."""
        ...

    async def history(self, fleets: Sequence[Fleet], at_s: float) -> Mapping[FleetKey, History]:
        """Arrivals from before this process began, as far as they are known; an empty history where nothing is.

        Never raises. A fleet that could not be asked about is not in the answer: ask again later.
        """
        ...


class Actuator(Protocol):
    async def apply(self, fleet: Fleet, plan: FleetPlan, pools: Mapping[str, Pool]) -> int:
        """Make the cluster match the plan of one fleet; return the number of writes (0 when nothing differed).

        Raises `ApplyRefused` when the API server says no; what it said is in the message.
        """
        ...


class StatusWriter(Protocol):
    async def write_fleet(self, key: FleetKey, uid: str, status: Mapping[str, Any]) -> bool:
        """Write the status if it differs in substance from what the API server holds; say whether it wrote."""
        ...

    async def write_pool(self, name: str, uid: str, status: Mapping[str, Any]) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something an SRE wants to see in `kubectl describe`. Built by the functions of `telemetry.events` only."""

    kind: str
    """InferenceFleet or GPUPool."""
    namespace: str | None
    name: str
    uid: str
    type: str
    """Normal or Warning."""
    reason: str
    message: str


class EventSink(Protocol):
    async def publish(self, event: Event) -> None: ...


class ClusterUnavailable(Exception):
    """The API server cannot be read; the tick is skipped and nothing changes."""


class ApplyRefused(Exception):
    """The API server refused an object; the message says which, and why."""
