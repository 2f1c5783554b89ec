"""Where GPUs come from: the GPUPool, resolved, and what is observed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from inferencefleet.domain.hardware import GpuSpec


class CapacityType(StrEnum):
    """Reserved is paid whether used or not; spot can be taken back on a short notice."""

    RESERVED = "Reserved"
    ON_DEMAND = "OnDemand"
    SPOT = "Spot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One GPUPool, resolved."""

    name: str
    uid: str
    generation: int
    gpu: GpuSpec
    resource_name: str
    """Extended resource that pods ask for, `nvidia.com/gpu`."""
    gpus_per_node: int
    capacity_type: CapacityType
    price_per_gpu_hour: float
    """In `currency`; of a reserved pool what the reservation costs."""
    currency: str
    max_gpus: int | None
    """None = no limit of ours."""
    node_selector: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tolerations: tuple[Mapping[str, Any], ...] = ()
    provision_p50_s: float = 180.0
    provision_p95_s: float = 600.0
    """Prior: a pod that is unschedulable for longer marks the pool exhausted."""
    spot_notice_s: float = 120.0
    interruptions_per_node_hour: float = 0.05
    """Prior: how often a spot node is taken back."""

    @property
    def marginal_price_per_gpu_hour(self) -> float:
        """What one more GPU costs: a reserved GPU is paid already."""
        return 0.0 if self.capacity_type is CapacityType.RESERVED else self.price_per_gpu_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """One node of a pool."""

    name: str
    pool: str
    gpus: int
    """Allocatable GPUs of the pool's resource."""
    ready: bool
    doomed: bool
    """An interruption notice or a drain is known: what runs there dies soon."""
    schedulable: bool = True
    """Not cordoned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhaustion:
    """A pool that did not deliver: no new replicas before `until_s`, then one probe."""

    since_s: float
    until_s: float
    strikes: int
    """Consecutive failures; the back-off doubles with each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptionRecord:
    """What was seen of a pool's interruptions. Exponentially forgotten sums, so that it stays bounded."""

    node_hours: float = 0.0
    """Node hours that were watched."""
    events: float = 0.0
    """Times at which nodes were taken back; several at once count as one."""
    nodes: float = 0.0
    """Nodes that were taken back."""
    largest_batch: int = 0
    """Most nodes in one event."""
    last_s: float | None = None
    """Time of the last event (epoch seconds)."""
    notices_s: float | None = None
    """Mean notice, seconds, of nodes that died after one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMemory:
    """What the planner must remember of one pool between ticks; rebuilt safely when lost."""

    nodes: tuple[str, ...] = ()
    """Names of nodes that were up and not doomed at the last tick, sorted."""
    at_s: float = 0.0
    """Time of that tick (epoch seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A pool as observed."""

    pool: Pool
    nodes: tuple[NodeState, ...] = ()
    gpus_used_by_others: int = 0
    """GPUs on the pool's nodes requested by pods that belong to no fleet."""
    exhaustion: Exhaustion | None = None
    """As last reported in its status; survives a restart."""
    interruptions: InterruptionRecord = InterruptionRecord()
    """Likewise."""

    @property
    def gpus_total(self) -> int:
        return sum(node.gpus for node in self.nodes if node.ready)

    @property
    def open_nodes(self) -> tuple[NodeState, ...]:
        """Where a new replica may still be put: not on a node that is cordoned, goes away or is not up."""
        return tuple(node for node in self.nodes if node.ready and node.schedulable and not node.doomed)
