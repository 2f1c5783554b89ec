"""A fleet manifest with changes, converted."""

from __future__ import annotations

from typing import Any

from inferencefleet.api.convert import fleet_from_manifest
from inferencefleet.domain.fleet import (
    Fleet,
    Problem,
)
from tests.unit.api.manifests import fleet


def good(changes: dict[str, Any] | None = None) -> Fleet:
    found = fleet_from_manifest(fleet(changes))
    assert isinstance(found, Fleet), [str(problem) for problem in found]
    return found


def only_problem(changes: dict[str, Any]) -> Problem:
    found = fleet_from_manifest(fleet(changes))
    assert not isinstance(found, Fleet), "no problem was found"
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]
