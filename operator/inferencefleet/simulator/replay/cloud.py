"""One pool's cloud: brings nodes, bills them, runs out of stock, takes spot nodes back."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol

from inferencefleet.domain.pool import CapacityType, NodeState
from inferencefleet.simulator.replay.agenda import Agenda
from inferencefleet.simulator.replay.stage import StagePool

if TYPE_CHECKING:
    from inferencefleet.simulator.replay.pods import Pod


@dataclass(slots=True, eq=False)
class Node:
    """One machine."""

    name: str
    pool: str
    gpus: int
    launched_s: float
    up_s: float | None = None
    """None while it is coming."""
    notice_s: float | None = None
    """When its end was announced."""
    gone_s: float | None = None
    empty_since_s: float | None = None
    pods: list[Pod] = field(default_factory=list)
    free: int = 0

    @property
    def open(self) -> bool:
        """A pod may be bound to it."""
        return self.up_s is not None and self.notice_s is None and self.gone_s is None

    @property
    def coming(self) -> bool:
        return self.up_s is None and self.gone_s is None


class Tenants(Protocol):
    """Who must hear of nodes."""

    def on_capacity(self, now_s: float) -> None:
        """There may be room, or a launch may succeed again."""
        ...

    def on_notice(self, node: Node, now_s: float) -> None: ...

    def on_death(self, node: Node, now_s: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One node's stay, or the reservation."""

    pool: str
    from_s: float
    to_s: float
    dollars_per_hour: float

    def dollars(self, from_s: float, to_s: float) -> float:
        """Share of the bill between two moments."""
        return max(0.0, min(self.to_s, to_s) - max(self.from_s, from_s)) / 3600 * self.dollars_per_hour


class PoolCloud:
    """Nodes of one pool."""

    def __init__(
        self, stage_pool: StagePool, agenda: Agenda, tenants: Tenants, *, seed: int, duration_s: float
    ) -> None:
        self.pool = stage_pool.pool
        self.cloud = stage_pool.cloud
        self.nodes: list[Node] = []
        """In the order of launch, those that are gone left out."""
        self.refused_until_s = float("-inf")
        self.refusal = ""
        """Why the last launch was refused, in the node autoscaler's words."""
        self.bills: list[Bill] = []
        self._states: tuple[NodeState, ...] | None = None
        self._agenda = agenda
        self._tenants = tenants
        self._duration_s = duration_s
        self._number = 0
        self._delays = Random(f"{seed}:{self.pool.name}:provisioning")
        self._chance = Random(f"{seed}:{self.pool.name}:interruptions")
        self._reserved = self.pool.capacity_type is CapacityType.RESERVED
        self._announce()

    # -- what is there -------------------------------------------------------------------------------------------

    def states(self) -> tuple[NodeState, ...]:
        """Node objects as the API server shows them: only machines that are up."""
        if self._states is None:
            self._states = tuple(
                NodeState(name=node.name, pool=node.pool, gpus=node.gpus, ready=True, doomed=node.notice_s is not None)
                for node in self.nodes
                if node.up_s is not None
            )
        return self._states

    @property
    def dollars_per_node_hour(self) -> float:
        return self.pool.gpus_per_node * self.pool.price_per_gpu_hour

    def available(self, now_s: float) -> int:
        """Nodes that quota and the market let us hold now."""
        market = self.cloud.availability
        if market is None or self._reserved:
            return self.cloud.max_nodes
        return min(self.cloud.max_nodes, market.nodes[max(0, bisect_right(market.at_s, now_s) - 1)])

    # -- nodes come ----------------------------------------------------------------------------------------------

    def add_ready(self, now_s: float) -> Node:
        """A node that is there when the replay begins."""
        node = self._new(now_s)
        self._up(node, now_s)
        return node

    def launch(self, now_s: float) -> Node | None:
        """A node that will come; None when the cloud refuses or was asked in vain a moment ago (see `refusal`)."""
        if now_s < self.refused_until_s:
            return None
        self.refusal = self._limit() or self._out_of_stock(now_s)
        if self.refusal:
            if not self._limit():
                self.refused_until_s = now_s + self.cloud.refusal_backoff_s
                self._agenda.at(self.refused_until_s, self._tenants.on_capacity)
            return None
        node = self._new(now_s)
        self._agenda.at(now_s + self.cloud.provisioning.sample(self._delays), lambda at_s: self._arrive(node, at_s))
        return node

    def _limit(self) -> str:
        """What the node autoscaler knows without asking the cloud; empty = nothing."""
        if self._reserved:
            return f"nodepool {self.pool.name!r} is a reservation and has no more nodes"
        # A quota counts a node until it is gone, also one that has its notice.
        if len(self.nodes) >= self.cloud.max_nodes:
            return f"all available instance types exceed limits for nodepool: {self.pool.name!r}"
        return ""

    def _out_of_stock(self, now_s: float) -> str:
        out = any(span.holds(now_s) for span in self.cloud.stock_outs)
        if not out and self._held() < self.available(now_s):
            return ""
        return f"nodepool {self.pool.name!r}: no instance type has the required offering (InsufficientInstanceCapacity)"

    def _held(self) -> int:
        """Nodes that the market counts: those with a notice are taken back already."""
        return sum(node.notice_s is None for node in self.nodes)

    def _new(self, now_s: float) -> Node:
        self._number += 1
        gpus = self.pool.gpus_per_node
        node = Node(f"{self.pool.name}-{self._number}", self.pool.name, gpus, launched_s=now_s, free=gpus)
        self.nodes.append(node)
        self._states = None
        return node

    def _up(self, node: Node, now_s: float) -> None:
        node.up_s = now_s
        self._states = None
        self.note_empty(node, now_s)

    def _arrive(self, node: Node, now_s: float) -> None:
        if node.gone_s is None:
            self._up(node, now_s)
            self._tenants.on_capacity(now_s)

    # -- nodes go ------------------------------------------------------------------------------------------------

    def note_empty(self, node: Node, now_s: float) -> None:
        """The last pod left, or none came yet: the node is given back when nobody wants it for long enough."""
        if self._reserved or node.pods:
            return
        node.empty_since_s = now_s
        self._agenda.at(now_s + self.cloud.idle_removal_s, lambda at_s: self._remove_idle(node, now_s, at_s))

    def _remove_idle(self, node: Node, since_s: float, now_s: float) -> None:
        if node.gone_s is None and not node.pods and node.empty_since_s == since_s:
            self._forget(node, now_s)
            self._tenants.on_capacity(now_s)

    def give_notice(self, node: Node, now_s: float) -> None:
        """The cloud takes it back: announced now, gone after the notice. A node that is still coming just does not."""
        if node.coming:
            self.nodes.remove(node)
            node.gone_s = now_s
            self._states = None
            return
        node.notice_s = now_s
        self._states = None
        self._tenants.on_notice(node, now_s)
        self._agenda.at(now_s + self.pool.spot_notice_s, lambda at_s: self._die(node, at_s))

    def _die(self, node: Node, now_s: float) -> None:
        if node.gone_s is None:
            self._forget(node, now_s)
            self._tenants.on_death(node, now_s)

    def _forget(self, node: Node, now_s: float) -> None:
        node.gone_s = now_s
        self.nodes.remove(node)
        self._states = None
        if not self._reserved:
            self._bill(node.launched_s, now_s)

    # -- what the stage announces --------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self._reserved:
            for _ in range(self.cloud.nodes):
                self.add_ready(0.0)
        for loss in self.cloud.losses:
            self._agenda.at(loss.at_s, lambda at_s, nodes=loss.nodes: self._lose(nodes, at_s))  # type: ignore[misc]
            if loss.back_s is not None and self._reserved:
                self._agenda.at(loss.back_s, lambda at_s, nodes=loss.nodes: self._bring_back(nodes, at_s))  # type: ignore[misc]
        for span in self.cloud.stock_outs:
            self._agenda.at(span.to_s, self._tenants.on_capacity)
        if self.cloud.availability is not None:
            for at_s in self.cloud.availability.at_s:
                if 0 <= at_s <= self._duration_s:
                    self._agenda.at(at_s, self._follow_market)
        if self.cloud.interruptions_per_node_hour > 0:
            self._agenda.at(self._until_chance(), self._take_by_chance)

    def _lose(self, nodes: int, now_s: float) -> None:
        """Those that hold the most pods: nothing is learnt from losing an idle one."""
        up = [node for node in self.nodes if node.up_s is not None]
        for node in sorted(up, key=lambda each: (-len(each.pods), each.name))[:nodes]:
            self._die(node, now_s)

    def _bring_back(self, nodes: int, now_s: float) -> None:
        for _ in range(nodes):
            self.add_ready(now_s)
        self._tenants.on_capacity(now_s)

    def _follow_market(self, now_s: float) -> None:
        held = [node for node in self.nodes if node.notice_s is None]
        excess = len(held) - self.available(now_s)
        youngest = held[::-1]
        for node in youngest[: max(0, excess)]:
            self.give_notice(node, now_s)
        self._tenants.on_capacity(now_s)

    def _until_chance(self) -> float:
        """Time to the next interruption if the quota were held in full; fewer nodes are hit in proportion."""
        per_s = self.cloud.interruptions_per_node_hour * self.cloud.max_nodes / self.cloud.interruption_batch / 3600
        return self._chance.expovariate(per_s)

    def _take_by_chance(self, now_s: float) -> None:
        up = [node for node in self.nodes if node.open]
        if self._chance.random() < len(up) / self.cloud.max_nodes:
            for node in self._chance.sample(up, min(self.cloud.interruption_batch, len(up))):
                self.give_notice(node, now_s)
        self._agenda.at(now_s + self._until_chance(), self._take_by_chance)

    # -- money ---------------------------------------------------------------------------------------------------

    def _bill(self, from_s: float, to_s: float, nodes: int = 1) -> None:
        price = nodes * self.dollars_per_node_hour
        self.bills.append(Bill(pool=self.pool.name, from_s=from_s, to_s=to_s, dollars_per_hour=price))

    def close_books(self) -> None:
        """Nodes that are still held are paid to the end; a reservation is paid whether its nodes are there or not."""
        if self._reserved:
            self._bill(0.0, self._duration_s, self.cloud.nodes)
            return
        for node in self.nodes:
            self._bill(node.launched_s, self._duration_s)
