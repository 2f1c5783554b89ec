"""The cloud: brings nodes to pods that find none, takes empty ones away, runs out of stock, takes spot nodes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from random import Random

import aiohttp

from sandbox.scenario import PoolScenario, Scenario
from sandbox.twin.kube import ApiError, Kube, Manifest
from sandbox.twin.nodes import LEAVING_TAINT, SPOT_TAINT, TWIN_LABEL, NodePhase, SimNode, lease_manifest, micro_stamp
from sandbox.twin.nodes import node_manifest as manifest_of
from sandbox.twin.pods import PodStore, gpus_of, is_over, unschedulable_since, wanted_pool
from sandbox.twin.voice import Voice

_log = logging.getLogger(__name__)
_TICK_S = 0.5
_HEARTBEAT_S = 4.0
"""The sandbox declares a node dead after 20 s without one."""
_REPEAT_S = 30.0
"""The same refusal is told again after this."""


class Cloud:
    def __init__(self, kube: Kube, scenario: Scenario, voice: Voice, seed: int) -> None:
        self._kube = kube
        self._voice = voice
        self._random = Random(seed)
        self.pools = {pool.name: pool for pool in scenario.pools}
        self.nodes: dict[str, SimNode] = {}
        self.stocked_out_until_s: dict[str, float] = {}
        self.store: PodStore | None = None
        self.on_doomed: Callable[[SimNode], None] = lambda node: None
        self.on_death: Callable[[SimNode], Awaitable[None]] | None = None
        self._numbers = dict.fromkeys(self.pools, 0)
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Sweep out what an earlier twin left, then bring up the nodes that exist from the start."""
        left = await self._kube.get("/api/v1/nodes", labelSelector=f"{TWIN_LABEL}=true")
        for node in left["items"]:
            await self._delete_node(node["metadata"]["name"])
        for pool in self.pools.values():
            for _ in range(pool.nodes):
                await self._register(self._new_node(pool))

    async def run(self) -> None:
        while True:
            try:
                self._provision()
                await self._remove_idle()
            except (TimeoutError, aiohttp.ClientError, ApiError) as error:
                _log.info("the cloud's control loop met %s; trying again", error)
            await asyncio.sleep(_TICK_S)

    async def heartbeat(self) -> None:
        while True:
            beating = [node for node in self.nodes.values() if node.phase is not NodePhase.COMING]
            await asyncio.gather(*(self._renew(node) for node in beating))
            await self._notice_missing(beating)
            await asyncio.sleep(_HEARTBEAT_S)

    async def _notice_missing(self, expected: list[SimNode]) -> None:
        """Somebody deleted a Node object: the cloud takes the machine away with it."""
        try:
            listed = await self._kube.get("/api/v1/nodes", labelSelector=f"{TWIN_LABEL}=true")
        except (TimeoutError, aiohttp.ClientError, ApiError) as error:
            _log.info("nodes cannot be listed: %s", error)
            return
        present = {each["metadata"]["name"] for each in listed["items"]}
        for node in expected:
            if node.name not in present and self.nodes.get(node.name) is node:
                _log.info("node %s was deleted", node.name)
                if self.on_death is not None:
                    await self.on_death(node)
                await self._forget(node)
                if node.pool.capacity_type == "reserved":
                    self._later(self._arrive(self._new_node(node.pool), node.pool.provisioning.sample(self._random)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for name in list(self.nodes):
            await self._delete_node(name)

    # -- bringing nodes ----------------------------------------------------------------------------------------------

    def nodes_of(self, pool: str) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.pool.name == pool]

    def _provision(self) -> None:
        """First fit, largest pod first, onto nodes that are there or coming; a new node for what is left."""
        assert self.store is not None
        pending = [pod for pod in self.store.pods.values() if unschedulable_since(pod) is not None]
        for pool in self.pools.values():
            wanting = [pod for pod in pending if wanted_pool(pod) == pool.name and gpus_of(pod) > 0]
            if not wanting:
                continue
            free = self._free_gpus(pool)
            for pod in sorted(wanting, key=lambda each: (-gpus_of(each), each["metadata"]["uid"])):
                need = gpus_of(pod)
                slot = next((index for index, gpus in enumerate(free) if gpus >= need), None)
                if slot is not None:
                    free[slot] -= need
                elif need <= pool.gpus_per_node and self._may_launch(pool, pod):
                    self._launch(pool, pod)
                    free.append(pool.gpus_per_node - need)

    def _free_gpus(self, pool: PoolScenario) -> list[int]:
        assert self.store is not None
        used: dict[str, int] = {}
        for pod in self.store.pods.values():
            name = pod["spec"].get("nodeName")
            if name in self.nodes and not is_over(pod):
                used[name] = used.get(name, 0) + gpus_of(pod)
        usable = {NodePhase.COMING, NodePhase.UP}
        return [node.gpus - used.get(node.name, 0) for node in self.nodes_of(pool.name) if node.phase in usable]

    def _may_launch(self, pool: PoolScenario, pod: Manifest) -> bool:
        if self.stocked_out_until_s.get(pool.name, 0.0) > time.time():
            reason = (
                f"nodepool {pool.name!r}: no instance type has the required offering (InsufficientInstanceCapacity)"
            )
        elif len(self.nodes_of(pool.name)) >= pool.max_nodes:
            reason = f"all available instance types exceed limits for nodepool: {pool.name!r}"
        else:
            return True
        message = f"Failed to schedule pod, {reason}"
        self._voice.about_pod(pod, "Warning", "FailedScheduling", message, repeat_after_s=_REPEAT_S)
        return False

    def _launch(self, pool: PoolScenario, pod: Manifest) -> None:
        node = self._new_node(pool)
        self._voice.about_pod(pod, "Normal", "Nominated", f"Pod should schedule on: nodeclaim/{node.name}")
        self._later(self._arrive(node, pool.provisioning.sample(self._random)))

    async def _arrive(self, node: SimNode, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self.nodes.get(node.name) is node:
            await self._register(node)

    def _new_node(self, pool: PoolScenario) -> SimNode:
        number = self._numbers[pool.name] = self._numbers[pool.name] + 1
        index = list(self.pools).index(pool.name)
        address = f"10.87.{index}.{number % 250 + 1}"
        node = SimNode(name=f"{pool.name}-{number}", pool=pool, address=address, launched_s=time.time())
        self.nodes[node.name] = node
        return node

    async def _register(self, node: SimNode) -> None:
        await self._renew(node)
        manifest = manifest_of(node)
        try:
            await self._kube.create("/api/v1/nodes", manifest)
        except ApiError as error:
            if error.status != 409:
                raise
        # Admission taints every new node not-ready; the controller lifts it when it sees the condition renewed.
        await self._kube.patch(f"/api/v1/nodes/{node.name}/status", {"status": manifest["status"]})
        node.phase = NodePhase.UP
        node.empty_since_s = time.time()
        _log.info("node %s is up after %.1f s", node.name, time.time() - node.launched_s)

    async def _renew(self, node: SimNode) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        try:
            renewal = {"spec": {"renewTime": micro_stamp()}}
            try:
                await self._kube.patch(f"{path}/{node.name}", renewal, patience_s=2.0)
            except ApiError as error:
                if error.status != 404:
                    raise
                await self._kube.create(path, lease_manifest(node))
        except (TimeoutError, aiohttp.ClientError, ApiError) as error:
            _log.info("no heartbeat for %s: %s", node.name, error)

    # -- taking nodes away -------------------------------------------------------------------------------------------

    async def _remove_idle(self) -> None:
        assert self.store is not None
        busy = {pod["spec"].get("nodeName") for pod in self.store.pods.values() if not is_over(pod)}
        now_s = time.time()
        for node in list(self.nodes.values()):
            if node.phase is NodePhase.LEAVING and node.name not in busy:
                await self._forget(node)
            elif node.name in busy:
                node.empty_since_s = None
            elif node.phase is NodePhase.UP and node.pool.capacity_type != "reserved":
                node.empty_since_s = node.empty_since_s or now_s
                if now_s - node.empty_since_s > node.pool.idle_removal:
                    # Tainted first, gone one tick later: the scheduler may just have chosen it.
                    await self._taint(node, LEAVING_TAINT)
                    node.phase = NodePhase.LEAVING

    async def interrupt(self, pool: str, nodes: int, notice_s: float | None) -> list[str]:
        """Take nodes back: those that hold the most pods, because nothing is learnt from losing an idle one."""
        assert self.store is not None
        held = [pod["spec"].get("nodeName") for pod in self.store.pods.values() if not is_over(pod)]
        up = [node for node in self.nodes_of(pool) if node.phase is NodePhase.UP]
        chosen = sorted(up, key=lambda node: (-held.count(node.name), node.name))[:nodes]
        for node in chosen:
            notice = node.pool.spot_notice if notice_s is None else notice_s
            node.phase, node.dies_at_s = NodePhase.DOOMED, time.time() + notice
            self.on_doomed(node)
            await self._taint(node, SPOT_TAINT)
            message = f"Spot interruption notice: node {node.name} will be reclaimed in {notice:g} s"
            self._voice.about_node(node.name, "Warning", "SpotInterrupted", message)
            self._later(self._die(node, notice))
        return [node.name for node in chosen]

    async def _die(self, node: SimNode, notice_s: float) -> None:
        await asyncio.sleep(notice_s)
        if self.on_death is not None:
            await self.on_death(node)
        await self._forget(node)
        _log.info("node %s is gone after its notice", node.name)

    def stock_out(self, pool: str, until_s: float) -> None:
        self.stocked_out_until_s[pool] = until_s

    async def _forget(self, node: SimNode) -> None:
        await self._delete_node(node.name)
        self.nodes.pop(node.name, None)

    async def _delete_node(self, name: str) -> None:
        await self._kube.delete(f"/api/v1/nodes/{name}")
        await self._kube.delete(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")

    async def _taint(self, node: SimNode, taint: dict[str, str]) -> None:
        """Taints are one atomic list that controllers write too: read, add, write if nobody came between."""
        path = f"/api/v1/nodes/{node.name}"
        while True:
            try:
                current = await self._kube.get(path)
                taints = [*current["spec"].get("taints", ()), taint]
                version = current["metadata"]["resourceVersion"]
                patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": taints}}
                await self._kube.patch(path, patch, "application/merge-patch+json")
                return
            except ApiError as error:
                if error.status == 404:
                    return
                if error.status != 409:
                    raise

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the cloud failed to do something", exc_info=task.exception())
