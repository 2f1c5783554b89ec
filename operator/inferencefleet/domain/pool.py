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

    @property
    def sentence(self) -> str:
        return f"did not deliver nodes, or took them back, {self.strikes} time(s)"

    @property
    def untried(self) -> bool:
        """Nodes were taken back, and nobody has waited for one in vain since."""
        return self.until_s <= self.since_s


GROUP_SHARES = (0.25, 0.5, 0.75, 1.0)
"""Upper bounds of the share of a pool's nodes that were lost together: how big a common loss was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Nodes of a pool that were taken back within one replacement time: one event."""

    began_s: float
    """Time of its first loss (epoch seconds)."""
    nodes: int
    """Taken in it."""
    of: int
    """Nodes that were held when it began."""
    restless: bool
    """It came soon after another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Events and the time in which they could have come. Exponentially forgotten sums.

    Markets take nodes one by one and, more often, many at once: the first kind counts by node hours, the second by the
    hours in which there was more than one node to lose.
    """

    node_hours: float = 0.0
    """Node hours that were watched."""
    group_hours: float = 0.0
    """Hours in which two or more nodes were watched."""
    lone: float = 0.0
    """Events that took one node."""
    groups: tuple[float, ...] = (0.0,) * len(GROUP_SHARES)
    """Events that took several, by share of the nodes that were held; see `GROUP_SHARES`."""

    @property
    def events(self) -> float:
        """Times at which nodes were taken back; several at once count as one."""
        return self.lone + sum(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptionRecord:
    """What was seen of a pool's interruptions. Bounded, and old markets fade."""

    as_of_s: float | None = None
    """Time to which the sums are forgotten (epoch seconds); None = nothing was ever seen."""
    calm: Tally = Tally()
    """While the pool had been quiet for a while."""
    restless: Tally = Tally()
    """Soon after an interruption, or after nodes were first held there: markets that moved mostly move again."""
    quiet_since_s: float | None = None
    """Latest interruption, or first node after none (epoch seconds)."""
    nodes: float = 0.0
    """Nodes that were taken back; forgotten as the tallies are."""
    noticed: float = 0.0
    """Nodes that died after a notice."""
    notice_sum_s: float = 0.0
    """Seconds from notice to death, summed over `noticed`."""
    silent: float = 0.0
    """Nodes that died without a notice."""
    last: Batch | None = None
    """The latest event."""

    @property
    def events(self) -> float:
        """Times at which nodes were taken back; several at once count as one."""
        return self.calm.events + self.restless.events

    @property
    def node_hours(self) -> float:
        """Node hours that were watched."""
        return self.calm.node_hours + self.restless.node_hours

    @property
    def last_s(self) -> float | None:
        """When the latest event began (epoch seconds)."""
        return None if self.last is None else self.last.began_s

    @property
    def notice_s(self) -> float | None:
        """Mean notice of nodes that died after one; None while none has."""
        return self.notice_sum_s / self.noticed if self.noticed > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMemory:
    """What the planner must remember of one pool between ticks. Bounded; rebuilt safely when lost."""

    at_s: float | None = None
    """Time of the last tick (epoch seconds); None = there was none."""
    generation: int = 0
    """Of the pool's spec at that tick: another spec may have other nodes."""
    nodes: tuple[str, ...] = ()
    """Names of nodes that were up, not doomed, and had a replica on them at the last tick; sorted."""
    doomed: tuple[tuple[str, float], ...] = ()
    """(name, when it was first seen doomed) of nodes that were in `nodes` before; sorted."""
    record: InterruptionRecord | None = None
    """As of the last tick: the pool's status carries a rounded copy, which is used when this is lost."""
    waits: tuple[tuple[str, float], ...] = ()
    """(replica, seconds it waited for a node), the latest last."""
    strikes: int = 0
    """Of the last exhaustion that is over."""
    recovered_s: float | None = None
    """When that was over: the pool delivered again (epoch seconds)."""


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
