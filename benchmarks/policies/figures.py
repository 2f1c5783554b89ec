"""What is reported of one replay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from inferencefleet.simulator.replay.replayed import FleetReplayed, Replayed
from inferencefleet.simulator.replay.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of all fleets of a stage together; quantiles and worst minutes are those of the fleet that is worst off."""

    requests: float
    attainment: float
    """Share of requests within both targets, 0..1."""
    worst_five_minutes: float
    dollars: float
    dollars_beyond_reserved: float
    mean_replicas: float
    """Ready ones."""
    mean_wanted: float
    changes_per_hour: float
    reversals_per_hour: float
    ttft_p50_s: float
    ttft_p95_s: float
    ttft_p99_s: float
    tpot_p50_s: float
    tpot_p95_s: float
    tpot_p99_s: float
    failed: float
    retries: float
    preemptions: float
    replicas_killed: float
    wall_s: float
    """Time that the replay took."""
    attainment_by_fleet: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else the policy was played with."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Figures:
        return Figures(**values)


def figures(stage: Stage, replayed: Replayed, wall_s: float, notes: Mapping[str, Any] | None = None) -> Figures:
    fleets = replayed.fleets
    hours = (stage.duration_s - stage.warm_up_s) / 3600

    def worst(pick: str, index: int) -> float:
        return max((getattr(fleet, pick)[index] for fleet in fleets), default=math.nan)

    def total(pick: str) -> float:
        return float(sum(getattr(fleet, pick) for fleet in fleets))

    return Figures(
        requests=total("requests"),
        attainment=replayed.attainment,
        worst_five_minutes=min(fleet.worst_five_minutes for fleet in fleets),
        dollars=replayed.dollars,
        dollars_beyond_reserved=replayed.dollars_beyond_reserved,
        mean_replicas=total("mean_ready"),
        mean_wanted=total("mean_wanted"),
        changes_per_hour=total("changes_per_hour"),
        reversals_per_hour=total("reversals") / hours,
        ttft_p50_s=worst("ttft_s", 0),
        ttft_p95_s=worst("ttft_s", 1),
        ttft_p99_s=worst("ttft_s", 2),
        tpot_p50_s=worst("tpot_s", 0),
        tpot_p95_s=worst("tpot_s", 1),
        tpot_p99_s=worst("tpot_s", 2),
        failed=total("failed"),
        retries=total("retries"),
        preemptions=total("preemptions"),
        replicas_killed=total("replicas_killed"),
        wall_s=wall_s,
        attainment_by_fleet={_name(fleet): fleet.attainment for fleet in fleets} if len(fleets) > 1 else {},
        notes=dict(notes or {}),
    )


def _name(fleet: FleetReplayed) -> str:
    return fleet.key.name
