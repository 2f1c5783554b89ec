"""The kubelets: take every pod that is bound to a simulated node through its life, and out of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import zlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from inferencefleet.simulator.truth import DoesNotStart, Truth, build_engine
from sandbox.scenario import Scenario
from sandbox.twin.cloud import Cloud
from sandbox.twin.kube import ApiError, Kube, Manifest
from sandbox.twin.nodes import SimNode
from sandbox.twin.pods import is_over
from sandbox.twin.podspec import ContainerCrash, is_vllm, main_container, pre_stop_seconds, read_order, seen_ready_after
from sandbox.twin.podstatus import StatusBook
from sandbox.twin.replica import Replica
from sandbox.twin.router import Router
from sandbox.twin.server import EngineServer, reserve_port
from sandbox.twin.voice import Voice

_log = logging.getLogger(__name__)
ADDRESS_ANNOTATION = "sandbox.inferencefleet.io/metrics-address"
_LONGEST_BACKOFF_S = 300.0
_ARGPARSE_S = 0.5
"""How long the container runs before it dies of bad arguments."""


@dataclass(slots=True, eq=False)
class PodRun:
    """What the kubelet knows of one pod."""

    pod: Manifest
    node: SimNode
    book: StatusBook
    number: int
    phase: str = "Pulling"
    """For the status endpoint: Pulling, Loading, Ready, BackOff, Terminating."""
    life: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None
    replica: Replica | None = None
    server: EngineServer | None = None
    reserved: socket.socket | None = None
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    crash_message: str = ""

    @property
    def path(self) -> str:
        meta = self.pod["metadata"]
        return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


class Kubelet:
    def __init__(self, kube: Kube, cloud: Cloud, router: Router, voice: Voice, scenario: Scenario, seed: int) -> None:
        self._kube = kube
        self._cloud = cloud
        self._router = router
        self._voice = voice
        self._scenario = scenario
        self._seed = seed
        self._random = Random(seed + 1)
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        truth = scenario.truth
        self._truth = Truth(
            memory=truth.memory,
            compute=truth.compute,
            overhead=truth.overhead,
            kv_cache=truth.kv_cache,
            replica_spread=truth.replica_spread,
            step_noise=truth.step_noise,
            watermark=truth.watermark,
            frontend_s=truth.frontend,
        )
        self.runs: dict[str, PodRun] = {}
        """By uid."""
        cloud.on_doomed = self._doomed
        cloud.on_death = self._node_died

    # -- what the watch says -----------------------------------------------------------------------------------------

    def on_change(self, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        run = self.runs.get(uid)
        if run is None:
            node = self._cloud.nodes.get(pod["spec"].get("nodeName", ""))
            if node is None or is_over(pod):
                return
            number = next(self._numbers)
            address = f"10.88.{number // 250 % 250}.{number % 250 + 1}"
            run = self.runs[uid] = PodRun(pod, node, StatusBook(pod, node, address), number)
            if not pod["metadata"].get("deletionTimestamp"):
                run.life = self._spawn(self._live(run))
        run.pod = pod
        if pod["metadata"].get("deletionTimestamp") and run.ending is None:
            run.ending = self._spawn(self._end(run))

    def on_gone(self, pod: Manifest) -> None:
        """The object has left the API server (perhaps by force): the process goes with it."""
        run = self.runs.pop(pod["metadata"]["uid"], None)
        if run is not None:
            self._stop_tasks(run)
            self._spawn(self._shut(run))

    # -- a pod's life ------------------------------------------------------------------------------------------------

    async def _live(self, run: PodRun) -> None:
        await self._pull(run)
        backoff_s = self._scenario.replica.crash_backoff
        while True:
            started_s = time.time()
            try:
                await self._serve(run)
            except (ContainerCrash, DoesNotStart) as error:
                code = error.code if isinstance(error, ContainerCrash) else 1
                await self._shut(run)
                run.phase = "BackOff"
                await self._write(run, run.book.crashed(code, str(error), "CrashLoopBackOff"))
                self._voice.about_pod(run.pod, "Warning", "BackOff", f"Back-off: {error}", source="kubelet")
                if time.time() - started_s > 600:
                    backoff_s = self._scenario.replica.crash_backoff
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    async def _pull(self, run: PodRun) -> None:
        replica = self._scenario.replica
        await self._write(run, run.book.waiting("ContainerCreating"))
        await asyncio.sleep(replica.image_pull.sample(self._random))
        image = main_container(run.pod)["image"]
        backoff_s = replica.crash_backoff
        while "does-not-exist" in image:
            run.phase = "BackOff"
            message = f"Back-off pulling image {image!r}: not found"
            await self._write(run, run.book.waiting("ImagePullBackOff", message))
            self._voice.about_pod(run.pod, "Warning", "Failed", message, source="kubelet", repeat_after_s=60)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    async def _serve(self, run: PodRun) -> None:
        """One life of the container; ends by raising."""
        run.crashed.clear()
        run.phase = "Loading"
        if not is_vllm(main_container(run.pod)):
            await self._write(run, run.book.running(ready=True))
            run.phase = "Ready"
            await asyncio.Event().wait()
        await self._write(run, run.book.running(ready=False))
        meta = run.pod["metadata"]
        try:
            order = read_order(run.pod, run.node.pool.gpu)
            engine = build_engine(order.shape, self._truth, self._engine_seed(run), self._scenario.slo.itl.target)
            engine.metrics.rebucket(order.histogram_bounds)
        except (ContainerCrash, DoesNotStart):
            await asyncio.sleep(_ARGPARSE_S)
            raise
        replica = Replica(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            pool=run.node.pool.name,
            node=run.node.name,
            order=order,
            engine=engine,
            started_s=time.time(),
            doomed=run.node.dies_at_s is not None,
        )
        run.reserved = reserve_port()
        replica.port = int(run.reserved.getsockname()[1])
        await self._annotate(run, f"127.0.0.1:{replica.port}")
        load_s = self._scenario.replica.load.sample(self._random)
        seen_after_s = seen_ready_after(main_container(run.pod), load_s)
        await asyncio.sleep(load_s)
        run.server = EngineServer(replica, self._router)
        await run.server.open(run.reserved)
        run.replica = replica
        self._router.add(replica)
        await asyncio.sleep(seen_after_s - load_s)
        await self._write(run, run.book.running(ready=True))
        run.phase = "Ready"
        self._router.became_ready(replica)
        await run.crashed.wait()
        raise ContainerCrash(run.crash_message, 1)

    def _engine_seed(self, run: PodRun) -> int:
        return zlib.crc32(f"{self._seed}/{run.number}/{run.book.restarts}".encode())

    def crash(self, uid: str, message: str = "EngineDeadError: EngineCore encountered an issue") -> None:
        run = self.runs[uid]
        run.crash_message = message
        run.crashed.set()

    # -- a pod's end -------------------------------------------------------------------------------------------------

    async def _end(self, run: PodRun) -> None:
        """preStop, then the engine finishes what it has, within the grace period; then the object goes."""
        if run.life is not None:
            run.life.cancel()
        has_process = run.phase in {"Loading", "Ready"}
        run.phase = "Terminating"
        grace_s = float(run.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        last_s = time.time() + grace_s
        if run.replica is not None:
            self._router.drain(run.replica)
        if has_process:
            await asyncio.sleep(max(0.0, min(pre_stop_seconds(main_container(run.pod)), grace_s)))
        replica = run.replica
        if replica is not None and not replica.dead:
            last_s = min(last_s, time.time() + replica.order.shutdown_timeout_s)
            while replica.engine.in_flight and time.time() < last_s:
                await asyncio.sleep(0.05)
        await self._shut(run)
        await self._delete(run)

    async def _node_died(self, node: SimNode) -> None:
        """The machine is off: no drain, no goodbye."""
        doomed = [run for run in self.runs.values() if run.node is node]
        for run in doomed:
            self._stop_tasks(run)
        await asyncio.gather(*(self._shut(run) for run in doomed))
        await asyncio.gather(*(self._delete(run) for run in doomed))

    def _doomed(self, node: SimNode) -> None:
        for run in self.runs.values():
            if run.node is node and run.replica is not None:
                run.replica.doomed = True

    async def _shut(self, run: PodRun) -> None:
        """The process ends: connections break, its port refuses."""
        replica, server, reserved = run.replica, run.server, run.reserved
        run.replica = run.server = run.reserved = None
        if replica is not None:
            self._router.remove(replica)
        if server is not None:
            await server.close()
        if reserved is not None:
            reserved.close()

    async def _delete(self, run: PodRun) -> None:
        uid = run.pod["metadata"]["uid"]
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self._kube.delete(run.path, body)

    async def close(self) -> None:
        """The twin ends: sockets close; the pods stay as objects."""
        for run in list(self.runs.values()):
            self._stop_tasks(run)
            await self._shut(run)
        for task in list(self._tasks):
            task.cancel()

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _write(self, run: PodRun, status: Manifest) -> None:
        await self._patch(f"{run.path}/status", status)

    async def _annotate(self, run: PodRun, address: str) -> None:
        await self._patch(run.path, {"metadata": {"annotations": {ADDRESS_ANNOTATION: address}}})

    async def _patch(self, path: str, body: Manifest) -> None:
        try:
            await self._kube.patch(path, body)
        except ApiError as error:
            if error.status != 404:  # the pod may be gone already
                raise

    def _stop_tasks(self, run: PodRun) -> None:
        for task in (run.life, run.ending):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a simulated kubelet failed", exc_info=task.exception())
