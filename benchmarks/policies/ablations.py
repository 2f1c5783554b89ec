"""Our planner with one part off: what each part is worth is what is lost without it.

A part is a switch of `PlannerSettings` of this name; the planner says which it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from inferencefleet.domain.snapshot import PlannerSettings, Snapshot

PREFIX = "ours-"
PARTS = {
    "no_forecast": "no look ahead: what arrives now is what is planned for",
    "no_distribution": "mean lengths instead of their distribution",
    "no_calibration": "capacity by the prior, whatever engines teach",
    "no_hedge": "no spare for spot nodes that are taken back",
    "no_routing_term": "every router is taken for a perfect one",
}
Amend = Callable[[Snapshot], Snapshot]


def offered() -> tuple[str, ...]:
    """The parts that this planner can switch off."""
    known = {field.name for field in fields(PlannerSettings)}
    return tuple(part for part in PARTS if part in known)


def policy_name(part: str) -> str:
    return PREFIX + part.replace("_", "-")


def amendment(policy: str) -> Amend:
    """What changes every snapshot before the planner sees it."""
    part = policy.removeprefix(PREFIX).replace("-", "_")
    if part not in offered():
        raise ValueError(
            f"--policy {policy}: the planner has no switch {part!r}; it offers "
            f"{', '.join(map(policy_name, offered())) or 'none'}"
        )

    def without(snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, settings=replace(snapshot.settings, **{part: True}))

    return without
