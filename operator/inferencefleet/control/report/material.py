"""When is a status worth a write? Numbers that breathe are not news; structure, reasons and large moves are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NOTABLE_MOVES: Mapping[str, tuple[float, float]] = {
    "requestsPerSecond": (0.25, 1.0),
    "plannedRequestsPerSecond": (0.25, 1.0),
    "waiting": (1.0, 10.0),
    "kvCacheUsage": (0.5, 0.2),
    "p95Seconds": (0.5, 0.02),
    "attainment": (0.01, 1.0),
    "hourly": (0.05, 1.0),
    **dict.fromkeys(("lower", "upper", "uncapped"), (0.25, 4.0)),
}
"""By field: a move by more than this share of its value (or of the floor, when it is smaller) is worth a refresh. Other
numbers only come along: tails and means of a minute of traffic always breathe."""
REFRESH_S = 60.0
"""Numbers alone are refreshed at most this often."""
FIRST_LOOK_S = 15.0
"""A number that was unknown before is shown sooner."""

WINDOWS_LOST = 10
"""Windows of calibration that a restart may cost: so many are learnt before the status is written for them alone."""

VOLATILE = frozenset(
    {"message", "demandMessage", "forecastMessage", "asOf", "lastTransitionTime", "hourly", "slo", "calibration"}
)
AT_REST = frozenset({"Stabilizing", "DemandMet", "WithinLimits", "WithinTolerance", "CoolingDown"})
NUMERIC_BLOCKS = frozenset({"observed", "sizing", "plan", "cost", "recommendation"})
"""What is wanted (`recommendation.target`) is in the pools, too; what surrounds it breathes with the traffic."""


def structure_differs(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Anything but sentences and measured numbers: conditions, replicas, pools, reasons, history."""
    return bool(_skeleton(new) != _skeleton(old))


def stabilization_flipped(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """The structure differs only in whether demand alone decides the size or a stabilization window does.

    At the edge between two sizes this changes with every breath of the demand, while the replicas stay.
    """
    return structure_differs(new, old) and bool(_skeleton(_at_rest(new)) == _skeleton(_at_rest(old)))


def is_stabilizing(status: Mapping[str, Any]) -> bool:
    """As the conditions say."""
    return any(condition.get("reason") == "Stabilizing" for condition in status.get("conditions", []))


def _at_rest(value: Any) -> Any:
    """Without the verdict of whatever is stabilizing, met or within limits."""
    if isinstance(value, Mapping):
        hidden = {"reason", "status"} if value.get("reason") in AT_REST else frozenset()
        return {key: _at_rest(item) for key, item in value.items() if key not in hidden}
    if isinstance(value, list):
        return [_at_rest(item) for item in value]
    return value


def numbers_moved(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Some measured number appeared, vanished or made a notable move."""
    before, after = dict(_numbers(old)), dict(_numbers(new))
    return before.keys() != after.keys() or any(_is_notable(path, before[path], after[path]) for path in after)


def _is_notable(path: str, before: float, after: float) -> bool:
    share, floor = NOTABLE_MOVES.get(path.rpartition(".")[2], (math.inf, 1.0))
    return abs(after - before) > share * max(abs(before), floor)


def numbers_appeared(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Something is known now that was not."""
    return bool(dict(_numbers(new)).keys() - dict(_numbers(old)).keys())


def calibration_changed(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """A shape came, went or changed its state."""
    before, after = _calibrations(old), _calibrations(new)
    return before.keys() != after.keys() or any(after[key].get("state") != before[key].get("state") for key in after)


def calibration_moved(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """What is applied changed, or more was learnt than a restart may cost."""
    before, after = _calibrations(old), _calibrations(new)
    return any(_taught(after[key], before[key]) for key in after.keys() & before.keys())


def _taught(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    more = new.get("windows", 0) - old.get("windows", 0)
    return any(new.get(name) != old.get(name) for name in ("applied", "sigma")) or abs(more) >= WINDOWS_LOST


def _calibrations(status: Mapping[str, Any]) -> dict[tuple[Any, Any], Mapping[str, Any]]:
    return {(block.get("pool"), block.get("shape")): block for block in status.get("calibration") or ()}


def _skeleton(value: Any, *, top: bool = True) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _skeleton(item, top=False)
            for key, item in value.items()
            if key not in VOLATILE and not (top and key in NUMERIC_BLOCKS)
        }
    if isinstance(value, list):
        return [_skeleton(item, top=False) for item in value]
    return value


def _numbers(status: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{path}.{key}", item)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(f"{path}[{index}]", item)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((path, float(value)))

    for block in sorted(NUMERIC_BLOCKS - {"plan"}):
        walk(block, status.get(block, {}))
    return found
