"""Quantities with units, as people write them in YAML: durations (`800ms`) and memory (`80Gi`)."""

from __future__ import annotations

import re

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
MEMORY_PATTERN = r"^[0-9]+(\.[0-9]+)?(M|G|T|Mi|Gi|Ti)$"

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


class BadQuantity(ValueError):
    """The text does not follow the pattern; the message is a full sentence with examples."""


def parse_duration(text: str) -> float:
    """Seconds: `800ms` -> 0.8."""
    found = re.fullmatch(DURATION_PATTERN[1:-1], text)
    if found is None:
        raise BadQuantity("a duration is a number with a unit, ms, s, m or h; write for example 800ms, 2s or 5m")
    return _split(text, _SECONDS)


def parse_memory(text: str) -> float:
    """Bytes: `80Gi` -> 85899345920."""
    found = re.fullmatch(MEMORY_PATTERN[1:-1], text)
    if found is None:
        raise BadQuantity("memory is a number with a unit, M, G, T, Mi, Gi or Ti; write for example 80Gi")
    return _split(text, _BYTES)


def _split(text: str, units: dict[str, float]) -> float:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzGMT")
    return float(digits) * units[text[len(digits) :]]
