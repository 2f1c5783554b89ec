"""The last changes of the number of replicas: each told once, whatever came between deciding, doing and saying."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from inferencefleet.api.status_fleet import HISTORY_KEPT
from inferencefleet.api.times import to_timestamp
from inferencefleet.domain.plan import FleetPlan
from inferencefleet.domain.snapshot import FleetState

JsonObject = dict[str, Any]


def history(
    reported: Mapping[str, Any],
    state: FleetState,
    plan: FleetPlan,
    *,
    refused: bool,
    unreadable: Collection[str],
    at_s: float,
) -> list[JsonObject]:
    """Newest first; one entry more when the number of replicas changes now.

    What the API server refuses is asked for again on every tick: that is a condition, not a change.
    """
    old = list(reported.get("history", []))
    change = resized(reported, state, plan, unreadable) if plan.act and not refused else None
    if change is None:
        return old
    before, after = change
    entry = {
        "at": to_timestamp(at_s),
        "from": before,
        "to": after,
        "reason": str(plan.reason),
        "message": plan.sentence,
    }
    return [entry, *old][:HISTORY_KEPT]


def newest_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[int, int] | None:
    """(before, after) of the entry that `new` has and `old` has not."""
    entry = next(iter(new.get("history", [])), None)
    if entry is None or entry == next(iter(old.get("history", [])), None):
        return None
    return int(entry["from"]), int(entry["to"])


def resized(
    reported: Mapping[str, Any], state: FleetState, plan: FleetPlan, unreadable: Collection[str]
) -> tuple[int, int] | None:
    """(before, after) of the change that the plan makes now, None when it makes none.

    An operator that died between two writes, or before it told of them, finds its own work half done or done: the
    change then began at what was told last.
    """
    told = _told_last(reported)
    before = sum(workload.replicas for workload in state.workloads)
    planned = {pool.pool for pool in plan.pools}
    going = set(plan.retire) - set(unreadable)
    # Replicas in a pool that the plan does not know stay until they are retired.
    staying = sum(workload.replicas for workload in state.workloads if workload.pool not in planned | going)
    after = plan.replicas + staying
    if told is not None and (told < before <= after or after <= before < told):
        before = told
    return None if before == after else (before, after)


def _told_last(reported: Mapping[str, Any]) -> int | None:
    for entry in reported.get("history", []):
        return int(entry["to"])
    return None if "replicas" in reported else 0
