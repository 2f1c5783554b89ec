"""Kubernetes quantities (`500m`, `16Gi`) as exact numbers, to compare what we write with what the server keeps."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_SUFFIX = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_PATTERN = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")


def parse_quantity(value: Any) -> Decimal | None:
    """None when it is not a quantity."""
    found = _PATTERN.fullmatch(str(value).strip())
    if found is None:
        return None
    digits, exponent, suffix = found.groups()
    return Decimal(digits + (exponent or "")) * _SUFFIX[suffix or ""]
