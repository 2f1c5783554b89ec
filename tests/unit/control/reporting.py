"""What tests of status documents share."""

from __future__ import annotations

from typing import Any

from inferencefleet.domain.fleet import Problem

PROBLEM = Problem(code="UnknownModel", field="spec.model.id", value="x", sentence="is not in the catalogue")


def condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in status["conditions"] if c["type"] == type_)
    return found
