"""Everything wired together: the scenario's clock, its timeline, and the status of it all."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from sandbox.scenario import EngineFault, Scenario, TimelineEntry
from sandbox.twin.books import Books
from sandbox.twin.clock import Clock
from sandbox.twin.cloud import Cloud
from sandbox.twin.kube import Kube
from sandbox.twin.kubelet import Kubelet, PodRun
from sandbox.twin.ledger import Ledger
from sandbox.twin.pods import PodStore
from sandbox.twin.replica import Drive
from sandbox.twin.router import Router
from sandbox.twin.traffic import Player
from sandbox.twin.voice import Voice

_log = logging.getLogger(__name__)


class World:
    """Phases: `waiting` for the first replicas, `running` the scenario, `done` (traffic has ended, nodes go on)."""

    def __init__(self, kube: Kube, scenario: Scenario, seed: int, out: Path) -> None:
        self.scenario, self.seed, self.out = scenario, seed, out
        self.phase = "waiting"
        self.clock = Clock()
        self.ledger = Ledger(scenario.slo)
        self.drive = Drive(self.clock)
        self.router = Router(self.clock, self.drive, self.ledger)
        self.drive.observers.append(self.ledger)
        voice = Voice(kube)
        self.cloud = Cloud(kube, scenario, voice, seed)
        self.kubelet = Kubelet(kube, self.cloud, self.router, voice, scenario, seed)
        self.store = PodStore(kube, self.kubelet.on_change, self.kubelet.on_gone)
        self.cloud.store = self.store
        self.books = Books(scenario, self.cloud, self.kubelet)
        self.players = [Player(each, self.clock, self.router, seed + n) for n, each in enumerate(scenario.traffic)]
        self.started = asyncio.Event()
        self._ended_s: float | None = None
        self._arrived_before = 0
        self._born_s = time.time()

    async def run(self) -> None:
        """Until cancelled. An error in any part ends all of it."""
        await self.cloud.start()
        parts: list[Coroutine[Any, Any, None]] = [
            self.store.run(), self.cloud.run(), self.cloud.heartbeat(), self.clock.run(), self._play(), self._sample(),
        ]  # fmt: skip
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)

    async def close(self) -> None:
        for player in self.players:
            player.stop()
        self.write()
        await self.kubelet.close()
        await self.cloud.stop()

    # -- the scenario ------------------------------------------------------------------------------------------------

    def elapsed_s(self) -> float:
        return 0.0 if self.phase == "waiting" else self.clock.now() - self.ledger.origin_s

    def ready_replicas(self) -> int:
        return sum(replica.routable() for replica in self.router.replicas.values())

    async def _play(self) -> None:
        deadline_s = time.time() + self.scenario.start.timeout
        while not self.started.is_set():
            if self.ready_replicas() >= self.scenario.start.ready_replicas or time.time() > deadline_s:
                self.start()
            await asyncio.sleep(0.1)
        for entry in sorted(self.scenario.timeline, key=lambda each: each.at):
            await asyncio.sleep(max(0.0, entry.at - self.elapsed_s()))
            await self.perform(entry)
        await asyncio.sleep(max(0.0, self.scenario.duration - self.elapsed_s()))
        self.finish()

    def start(self) -> None:
        if self.started.is_set():
            return
        now_s = self.clock.catch_up()
        self.ledger.origin_s = now_s
        self.phase = "running"
        self.started.set()
        for player in self.players:
            player.start(now_s)
        _log.info("traffic starts with %d replicas ready", self.ready_replicas())

    def finish(self) -> None:
        """Traffic ends; what is under way may end."""
        if self.phase != "running":
            return
        self._ended_s = self.clock.catch_up()
        self.phase = "done"
        for player in self.players:
            player.stop()
        self.write()
        _log.info("the scenario has ended; results are in %s", self.out)

    async def perform(self, entry: TimelineEntry) -> list[str]:
        """One entry of the timeline, also when it comes over HTTP; returns the names of what it hit."""
        if entry.interrupt is not None:
            return await self.cloud.interrupt(entry.interrupt.pool, entry.interrupt.nodes, entry.interrupt.notice)
        if entry.stockout is not None:
            self.cloud.stock_out(entry.stockout.pool, time.time() + entry.stockout.lasts)
            return [entry.stockout.pool]
        if entry.demand is not None:
            now_s = self.clock.catch_up()
            for player in self.players:
                player.override(entry.demand.rps, now_s)
            return [player.traffic.model for player in self.players]
        assert entry.fault is not None
        return self._fault(entry.fault)

    def _fault(self, fault: EngineFault) -> list[str]:
        runs = [
            run
            for run in self.kubelet.runs.values()
            if run.phase == "Ready" and run.replica is not None and fault.pool in {None, run.node.pool.name}
        ]
        runs.sort(key=_busiest)
        for run in runs[: fault.replicas]:
            assert run.replica is not None
            if fault.kind == "crash":
                self.kubelet.crash(run.pod["metadata"]["uid"])
            elif fault.kind == "hang":
                self.drive.hang(run.replica, self.clock.catch_up() + fault.lasts)
            else:
                run.replica.frozen_until_s = time.time() + fault.lasts
        return [run.pod["metadata"]["name"] for run in runs[: fault.replicas]]

    # -- what is known -----------------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        last_s = time.time()
        while True:
            await asyncio.sleep(max(0.0, 1.0 - time.time() % 1.0))
            now_s, last_s, before_s = time.time(), time.time(), last_s
            if self.phase != "running":
                continue
            self.books.charge(now_s - before_s)
            live = self.ledger.live(now_s, 10.0)
            self.books.add_row(
                {
                    "t_s": now_s - self.ledger.origin_s,
                    "offered_rps": sum(player.offered_rps(now_s) for player in self.players),
                    "arrived": self.ledger.arrived_count - self._arrived_before,
                    "router_waiting": len(self.router.waiting),
                    "ttft_p95_s": live["ttftP95Seconds"],
                    "itl_p95_s": live["itlP95Seconds"],
                }
            )
            self._arrived_before = self.ledger.arrived_count

    def status(self) -> dict[str, Any]:
        now_s = self.clock.catch_up()
        recent = self.books.rows[-5:]
        until_s = self._ended_s or now_s
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "scenario": self.scenario.name,
            "seed": self.seed,
            "phase": self.phase,
            "nowSeconds": now_s,
            "elapsedSeconds": self.elapsed_s(),
            "durationSeconds": self.scenario.duration,
            "demand": {
                "offeredRps": sum(player.offered_rps(now_s) for player in self.players),
                "arrivedRps": sum(row["arrived"] for row in recent) / len(recent) if recent else 0.0,
                "routerWaiting": len(self.router.waiting),
            },
            "pools": self.books.pools(),
            "replicas": self.books.replicas(),
            "latency": self.ledger.live(now_s),
            "requests": self.ledger.counts(),
            "slo": self.ledger.truth(until_s, self.scenario.duration),
            "cost": {
                "dollars": sum(self.books.dollars.values()),
                "hourly": sum(self.books.hourly().values()),
                "byPool": dict(self.books.dollars),
            },
            "twin": {
                "pid": os.getpid(),
                "worstLagSeconds": self.clock.worst_lag_s,
                "recentLagSeconds": self.clock.recent_lag_s,
                "engineSteps": self.drive.steps,
                "eventsPlayed": self.clock.played,
                "cpuSeconds": usage.ru_utime + usage.ru_stime,
                "upSeconds": time.time() - self._born_s,
                "maxResidentMegabytes": usage.ru_maxrss / 1024,
            },
        }

    def write(self) -> None:
        """`requests.csv`, `timeline.csv`, `summary.json`: at the end of traffic and again when the twin ends."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.ledger.write(self.out / "requests.csv")
        self.books.write(self.out / "timeline.csv")
        summary = {key: value for key, value in self.status().items() if key != "replicas"}
        (self.out / "summary.json").write_text(json.dumps(summary, indent=1))


def _busiest(run: PodRun) -> tuple[int, str]:
    return (-(run.replica.load if run.replica is not None else 0), run.pod["metadata"]["name"])
