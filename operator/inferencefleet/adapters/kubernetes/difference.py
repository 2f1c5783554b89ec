"""Does the live object already say what we want? Servers add defaults and others add fields; those are not ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferencefleet.adapters.kubernetes.quantity import parse_quantity

_MERGE_KEYS = ("name", "mountPath", "uid", "type")
"""What names an item of a list, in the order in which they are tried."""
_QUANTITIES = frozenset({"limits", "requests"})


def first_difference(live: Any, desired: Any, path: str = "") -> str | None:
    """Path of the first field where they differ; None when everything that is desired is in `live` with the same value.

    Quantities are compared as numbers.
    """
    if isinstance(desired, Mapping):
        return _in_mapping(live, desired, path)
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return _in_sequence(live, desired, path)
    if live == desired and isinstance(live, bool) == isinstance(desired, bool):
        return None
    if live is None and (desired is None or desired is False or desired == ""):
        return None  # servers drop zero values
    if _is_quantity(path) and live is not None:
        known = parse_quantity(live)
        if known is not None and known == parse_quantity(desired):
            return None
    return path


def _in_mapping(live: Any, desired: Mapping[str, Any], path: str) -> str | None:
    if not desired:
        return None  # servers drop empty objects
    if not isinstance(live, Mapping):
        return path
    for key, value in desired.items():
        found = first_difference(live.get(key), value, f"{path}.{key}" if path else str(key))
        if found is not None:
            return found
    return None


def _in_sequence(live: Any, desired: Sequence[Any], path: str) -> str | None:
    if not desired:
        return None
    if not isinstance(live, Sequence) or isinstance(live, str):
        return path
    key = _merge_key(desired)
    if key is None:
        if len(live) != len(desired):
            return path
        pairs = list(zip(live, desired, strict=True))
    else:
        by_key = {item.get(key): item for item in live if isinstance(item, Mapping)}
        pairs = [(by_key.get(item[key]), item) for item in desired]
    for position, (have, want) in enumerate(pairs):
        found = first_difference(have, want, f"{path}[{position}]")
        if found is not None:
            return found
    return None


def _merge_key(items: Sequence[Any]) -> str | None:
    if not all(isinstance(item, Mapping) for item in items):
        return None
    for key in _MERGE_KEYS:
        names = [item.get(key) for item in items]
        if None not in names and len(set(names)) == len(names):
            return key
    return None


def _is_quantity(path: str) -> bool:
    parts = path.replace("[", ".").split(".")
    return parts[-1] == "sizeLimit" or any(part in _QUANTITIES for part in parts[:-1])
