"""Events: what changed between the status that was reported and the one that is about to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencefleet.control.report.conditions import message_of, reason_of, status_of
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.ports import Event
from inferencefleet.telemetry import events

Status = Mapping[str, Any]


def fleet_events(key: FleetKey, uid: str, old: Status, new: Status, *, scaled: tuple[int, int] | None) -> list[Event]:
    """Each transition once. `scaled` is (before, after) when the number of replicas is changed now."""
    found: list[Event] = []
    if scaled is not None:
        summary = new.get("summary", {})
        found.append(
            events.scaled(key, uid, before=scaled[0], after=scaled[1], reason=summary["reason"], why=summary["message"])
        )
    found += _refusals(key, uid, old, new)
    if _became(old, new, "MetricsAvailable", "False"):
        found.append(
            events.metrics_lost(
                key, uid, code=_reason(new, "MetricsAvailable"), why=message_of(new, "MetricsAvailable")
            )
        )
    if status_of(old, "MetricsAvailable") == "False" and status_of(new, "MetricsAvailable") == "True":
        found.append(events.metrics_back(key, uid))
    if _became(old, new, "SLOAttained", "False"):
        found.append(events.slo_missed(key, uid, why=message_of(new, "SLOAttained")))
    if status_of(old, "SLOAttained") == "False" and status_of(new, "SLOAttained") == "True":
        found.append(events.slo_attained(key, uid, why=message_of(new, "SLOAttained")))
    if _became(old, new, "CapacityAvailable", "False"):
        found.append(
            events.capacity_short(
                key, uid, code=_reason(new, "CapacityAvailable"), why=message_of(new, "CapacityAvailable")
            )
        )
    if status_of(old, "CapacityAvailable") == "False" and status_of(new, "CapacityAvailable") == "True":
        found.append(events.capacity_back(key, uid))
    if _became(old, new, "WithinBudget", "False"):
        found.append(
            events.budget_short(key, uid, code=_reason(new, "WithinBudget"), why=message_of(new, "WithinBudget"))
        )
    if status_of(old, "WithinBudget") == "False" and status_of(new, "WithinBudget") == "True":
        found.append(events.budget_enough(key, uid, why=message_of(new, "WithinBudget")))
    if _doomed(new) > _doomed(old) and (scaled is None or new["summary"]["reason"] != "ReplacingDoomed"):
        found.append(events.replacing_doomed(key, uid, why=f"{_doomed(new)} replicas are on nodes that go away"))
    if reason_of(new, "ScalingActive") == "ApplyRefused" != reason_of(old, "ScalingActive"):
        found.append(events.apply_refused(key, uid, why=message_of(new, "ScalingActive")))
    return found


def pool_events(name: str, uid: str, old: Status, new: Status) -> list[Event]:
    found: list[Event] = []
    if _became(old, new, "Exhausted", "True"):
        found.append(events.pool_exhausted(name, uid, why=message_of(new, "Exhausted")))
    if status_of(old, "Exhausted") == "True" and status_of(new, "Exhausted") == "False":
        found.append(events.pool_delivers(name, uid))
    if _became(old, new, "Stalled", "True") or _other_reason(old, new):
        found.append(events.pool_refused(name, uid, code=_reason(new, "Stalled"), why=message_of(new, "Stalled")))
    return found


def _refusals(key: FleetKey, uid: str, old: Status, new: Status) -> list[Event]:
    if _became(old, new, "Stalled", "True") or _other_reason(old, new):
        return [events.refused(key, uid, code=_reason(new, "Stalled"), why=message_of(new, "Stalled"))]
    if status_of(old, "Stalled") == "True" and status_of(new, "Stalled") == "False":
        return [events.accepted(key, uid)]
    planned, before = reason_of(new, "RecommendationProvided"), reason_of(old, "RecommendationProvided")
    if status_of(new, "RecommendationProvided") == "True" and planned not in {"Planned", before}:
        return [events.capacity_short(key, uid, code=str(planned), why=message_of(new, "RecommendationProvided"))]
    return []


def _other_reason(old: Status, new: Status) -> bool:
    """Still refused, but for something else: the user corrected one thing and should hear of the next."""
    both = status_of(old, "Stalled") == status_of(new, "Stalled") == "True"
    edited = old.get("observedGeneration") != new.get("observedGeneration")
    return both and edited and message_of(old, "Stalled") != message_of(new, "Stalled")


def _became(old: Status, new: Status, type_: str, status: str) -> bool:
    return status_of(new, type_) == status != status_of(old, type_)


def _reason(status: Status, type_: str) -> str:
    return reason_of(status, type_) or "Unknown"


def _doomed(status: Status) -> int:
    return sum(int(pool.get("doomed", 0)) for pool in status.get("pools", []))
