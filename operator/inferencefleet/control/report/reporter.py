"""Report: write each status that matters and publish what changed."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferencefleet.api.times import from_timestamp
from inferencefleet.control.apply import AT_ONCE, Applied
from inferencefleet.control.gather import Gathered
from inferencefleet.control.report.changes import fleet_events, pool_events
from inferencefleet.control.report.fleet_status import broken_status, fleet_status
from inferencefleet.control.report.history import newest_change
from inferencefleet.control.report.material import (
    FIRST_LOOK_S,
    REFRESH_S,
    calibration_changed,
    calibration_moved,
    is_stabilizing,
    numbers_appeared,
    numbers_moved,
    stabilization_flipped,
    structure_differs,
)
from inferencefleet.control.report.pool_status import broken_pool_status, pool_status
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.plan import FleetPlan, Plan
from inferencefleet.domain.snapshot import BrokenFleet, FleetState
from inferencefleet.ports import ApplyRefused, ClusterUnavailable, Event, EventSink, Manifest, StatusWriter
from inferencefleet.telemetry.metrics import Telemetry

log = logging.getLogger(__name__)

Status = Mapping[str, Any]


@dataclass(slots=True)
class Reporter:
    """Stateless: what was reported is read back from the objects."""

    writer: StatusWriter
    sink: EventSink
    telemetry: Telemetry

    async def report(self, plan: Plan, gathered: Gathered, applied: Applied) -> None:
        """All fleets and pools, a few at once. What fails is logged, comes again next tick, and stops nothing else."""
        gate = asyncio.Semaphore(AT_ONCE)
        plans = {decided.key: decided for decided in plan.fleets}
        outlooks = {outlook.pool: outlook for outlook in plan.pools}
        snapshot = gathered.snapshot

        async def guarded(work: Any) -> None:
            try:
                async with gate:
                    await work
            except (ApplyRefused, ClusterUnavailable) as refused:
                log.warning("not reported: %s", refused)
            except Exception:
                log.exception("reporting failed")

        await asyncio.gather(
            *(guarded(self._fleet(state, plans[state.fleet.key], gathered, applied)) for state in snapshot.fleets),
            *(guarded(self._broken(broken, gathered)) for broken in snapshot.broken_fleets),
            *(
                guarded(
                    self._pool(
                        state.pool.name,
                        pool_status(
                            state,
                            outlooks[state.pool.name],
                            _status(gathered.pool_manifests[state.pool.name]),
                            at_s=snapshot.at_s,
                        ),
                        gathered,
                    )
                )
                for state in snapshot.pools
            ),
            *(
                guarded(
                    self._pool(
                        broken.name,
                        broken_pool_status(
                            broken.problems,
                            broken.generation,
                            _status(gathered.pool_manifests[broken.name]),
                            at_s=snapshot.at_s,
                        ),
                        gathered,
                    )
                )
                for broken in snapshot.broken_pools
            ),
        )

    async def _fleet(self, state: FleetState, plan: FleetPlan, gathered: Gathered, applied: Applied) -> None:
        key = state.fleet.key
        old = _status(gathered.fleet_manifests[key])
        new = fleet_status(
            state,
            plan,
            {pool.pool.name: pool.pool for pool in gathered.snapshot.pools},
            old,
            refusal=applied.refusals.get(key),
            at_s=gathered.snapshot.at_s,
            unreadable={pool.name for pool in gathered.snapshot.broken_pools},
        )
        found = fleet_events(key, state.fleet.uid, old, new, scaled=newest_change(old, new))
        await self._write_fleet(key, state.fleet.uid, old, new, gathered, found)

    async def _broken(self, broken: BrokenFleet, gathered: Gathered) -> None:
        old = _status(gathered.fleet_manifests[broken.key])
        new = broken_status(broken, old, at_s=gathered.snapshot.at_s)
        found = fleet_events(broken.key, broken.uid, old, new, scaled=None)
        await self._write_fleet(broken.key, broken.uid, old, new, gathered, found)

    async def _write_fleet(
        self, key: FleetKey, uid: str, old: Status, new: Status, gathered: Gathered, found: Sequence[Event]
    ) -> None:
        if _worth_a_write(new, old, gathered.snapshot.at_s) and await self.writer.write_fleet(key, uid, new):
            self.telemetry.status_written("InferenceFleet")
        await self._publish(found)

    async def _pool(self, name: str, new: Status, gathered: Gathered) -> None:
        manifest = gathered.pool_manifests[name]
        old, uid = _status(manifest), str(manifest["metadata"]["uid"])
        if structure_differs(new, old) and await self.writer.write_pool(name, uid, new):
            self.telemetry.status_written("GPUPool")
        await self._publish(pool_events(name, uid, old, new))

    async def _publish(self, found: Sequence[Event]) -> None:
        for event in found:
            await self.sink.publish(event)
            self.telemetry.event_published(event.reason)


def _status(manifest: Manifest) -> Status:
    """Without the CRD's default of observedGeneration -1 there may be no status at all yet."""
    return manifest.get("status") or {}


def _worth_a_write(new: Status, old: Status, at_s: float) -> bool:
    reported_at = old.get("observed", {}).get("asOf")
    age_s = math.inf if reported_at is None else at_s - from_timestamp(reported_at)
    if stabilization_flipped(new, old):
        return age_s >= (FIRST_LOOK_S if is_stabilizing(new) else REFRESH_S)
    if structure_differs(new, old):
        return True
    if age_s >= FIRST_LOOK_S and calibration_changed(new, old):
        return True
    if age_s >= REFRESH_S and calibration_moved(new, old):
        return True
    return (age_s >= REFRESH_S and numbers_moved(new, old)) or (age_s >= FIRST_LOOK_S and numbers_appeared(new, old))
