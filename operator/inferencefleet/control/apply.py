"""Apply: carry out the decisions, fleet by fleet; one that is refused does not stop the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.plan import FleetPlan, Plan
from inferencefleet.domain.snapshot import FleetState, Snapshot
from inferencefleet.ports import Actuator, ApplyRefused, ClusterUnavailable

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Fleets applied in parallel: enough to hide latency, few enough for the API server's fairness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of it."""

    writes: Mapping[FleetKey, int]
    refusals: Mapping[FleetKey, str]
    """In the API server's own words, with the object."""


@dataclass(slots=True)
class Applier:
    actuator: Actuator
    _told: dict[FleetKey, str] = field(default_factory=dict)
    """What was logged last: a refusal is asked for again on every tick and said once."""

    async def apply(self, plan: Plan, snapshot: Snapshot, broken: Mapping[str, str]) -> Applied:
        """Writes only what differs. `broken` are promises that a plan would break: those fleets are left alone."""
        states = {state.fleet.key: state for state in snapshot.fleets}
        pools = {state.pool.name: state.pool for state in snapshot.pools}
        refusals: dict[FleetKey, str] = {}
        writes: dict[FleetKey, int] = {}
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(decided: FleetPlan, state: FleetState) -> None:
            if str(decided.key) in broken:
                refusals[decided.key] = f"the plan was not carried out: {broken[str(decided.key)]}"
                log.error("%s: %s", decided.key, refusals[decided.key])
                return
            try:
                async with gate:
                    writes[decided.key] = await self.actuator.apply(state.fleet, decided, pools)
            except (ApplyRefused, ClusterUnavailable) as refused:
                refusals[decided.key] = str(refused)
                if self._told.get(decided.key) != str(refused):
                    log.warning("%s: %s", decided.key, refused)
            except Exception as defect:
                refusals[decided.key] = f"a defect of the operator: {type(defect).__name__}: {defect}"
                log.exception("%s: applying the plan failed", decided.key)

        await asyncio.gather(*(one(decided, states[decided.key]) for decided in plan.fleets if decided.act))
        self._told = refusals
        return Applied(writes=writes, refusals=refusals)
