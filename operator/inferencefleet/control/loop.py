"""The loop: gather -> plan -> validate -> apply -> report, on every change and on every period."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from inferencefleet.control.apply import Applied, Applier
from inferencefleet.control.gather import Gatherer
from inferencefleet.control.report import Reporter
from inferencefleet.control.validate import violations
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.plan import Plan, Reason
from inferencefleet.domain.pool import PoolMemory
from inferencefleet.domain.snapshot import FleetMemory, Snapshot
from inferencefleet.planning.plan import plan
from inferencefleet.ports import Clock, ClusterUnavailable
from inferencefleet.telemetry.metrics import Telemetry

log = logging.getLogger(__name__)


def log_defects(decided: Plan) -> None:
    """The planner cannot log: what failed inside it becomes a problem of its fleet, and an error here."""
    for fleet in decided.fleets:
        if fleet.reason is Reason.PLANNING_FAILED:
            log.error("%s: %s", fleet.key, fleet.sentence)


@dataclass(slots=True)
class ControlLoop:
    """Level-triggered: a tick looks at the whole world and needs no event to be right, only to be quick."""

    clock: Clock
    gatherer: Gatherer
    applier: Applier
    reporter: Reporter
    telemetry: Telemetry
    period_s: float
    settle_s: float = 0.25
    """After a change, wait this long for the changes that come with it."""
    last: Snapshot | None = None
    """What the latest plan was made from, to be served and planned again elsewhere; None before the first."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _memory: Mapping[FleetKey, FleetMemory] = field(default_factory=dict)
    _pool_memory: Mapping[str, PoolMemory] = field(default_factory=dict)

    def wake(self) -> None:
        """Something changed; the next tick comes at once. Cheap, idempotent, never blocks."""
        self._changed.set()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self.tick()
            await self._next_reason_to_look()

    async def tick(self) -> None:
        """One turn. An API server that cannot be read is reported and waited for; anything else is a defect."""
        with self.telemetry.tick():
            # 1. Look at the world once.
            at_s = self.clock.now()
            try:
                gathered = await self.gatherer.gather(at_s, self._memory, self._pool_memory)
            except ClusterUnavailable as unavailable:
                log.warning("tick skipped: %s", unavailable)
                self.telemetry.tick_skipped()
                return
            snapshot = gathered.snapshot

            # 2. Decide, without looking again.
            self.last = snapshot
            decided = plan(snapshot)
            self._memory, self._pool_memory = decided.memory, decided.pool_memory
            log_defects(decided)

            # 3. Prove it once more before anything is touched.
            broken = violations(decided, snapshot)

            # 4. Make it so.
            applied: Applied = await self.applier.apply(decided, snapshot, broken)

            # 5. Say what was done and why.
            await self.reporter.report(decided, gathered, applied)
            self.telemetry.observe(decided, applied.writes, applied.refusals)

    async def _next_reason_to_look(self) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), timeout=self.period_s)
            await asyncio.sleep(self.settle_s)
        except TimeoutError:
            pass
        self._changed.clear()
