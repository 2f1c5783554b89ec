"""When is a status worth a write? Numbers that breathe are not news; structure, reasons and large moves are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTABLE_MOVE = 0.10
"""Relative move of a number that is worth a refresh."""
REFRESH_S = 60.0
"""Numbers alone are refreshed at most this often."""
FIRST_LOOK_S = 15.0
"""A number that was unknown before is shown sooner."""

VOLATILE = frozenset({"message", "demandMessage", "forecastMessage", "asOf", "lastTransitionTime", "hourly", "slo"})
NUMERIC_BLOCKS = frozenset({"observed", "sizing", "plan", "cost"})


def structure_differs(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Anything but sentences and measured numbers: conditions, replicas, pools, reasons, history."""
    return bool(_skeleton(new) != _skeleton(old))


def numbers_moved(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Some measured number appeared, vanished or moved by more than 10 %."""
    before, after = dict(_numbers(old)), dict(_numbers(new))
    if before.keys() != after.keys():
        return True
    return any(abs(after[path] - before[path]) > NOTABLE_MOVE * max(abs(before[path]), 0.1) for path in after)


def numbers_appeared(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Something is known now that was not."""
    return bool(dict(_numbers(new)).keys() - dict(_numbers(old)).keys())


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
