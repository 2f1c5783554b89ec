"""Conditions: built from statements, with the time of the last change carried over from the reported ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inferencefleet.api.status_common import Condition
from inferencefleet.api.times import to_timestamp

LONGEST_MESSAGE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one condition says now. `holds` None = unknown."""

    type: str
    holds: bool | None
    reason: str
    message: str


def conditions(
    statements: Iterable[Statement], reported: Mapping[str, Any], *, generation: int, at_s: float
) -> list[Condition]:
    """`metav1.Condition`s in the order of the statements; `reported` is the status as the API server holds it."""
    before = {old["type"]: old for old in reported.get("conditions", [])}
    found = []
    for statement in statements:
        status = {True: "True", False: "False", None: "Unknown"}[statement.holds]
        old = before.get(statement.type)
        same = old is not None and old["status"] == status
        found.append(
            Condition.model_validate(
                {
                    "type": statement.type,
                    "status": status,
                    "reason": statement.reason,
                    "message": statement.message[:LONGEST_MESSAGE],
                    "observedGeneration": generation,
                    "lastTransitionTime": old["lastTransitionTime"] if same and old else to_timestamp(at_s),
                }
            )
        )
    return found


def status_of(status: Mapping[str, Any], type_: str) -> str | None:
    """True, False, Unknown, or None when the condition was never reported."""
    for condition in status.get("conditions", []):
        if condition["type"] == type_:
            return str(condition["status"])
    return None


def reason_of(status: Mapping[str, Any], type_: str) -> str | None:
    for condition in status.get("conditions", []):
        if condition["type"] == type_:
            return str(condition["reason"])
    return None


def message_of(status: Mapping[str, Any], type_: str) -> str:
    for condition in status.get("conditions", []):
        if condition["type"] == type_:
            return str(condition["message"])
    return ""
