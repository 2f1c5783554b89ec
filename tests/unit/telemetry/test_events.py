"""Events: a fixed list of reasons, messages that the API server takes."""

from __future__ import annotations

import inspect
import re

import pytest

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.ports import Event
from inferencefleet.telemetry import events

KEY = FleetKey("default", "chat")
LONG = "because " * 500


def everything() -> list[Event]:
    """Every constructor, called with what its signature asks for."""
    given = {"key": KEY, "name": "spot", "uid": "u", "code": "SomeCode", "reason": "SomeCode", "why": LONG}
    numbers = {"before": 2, "after": 5}
    found = []
    for name, build in inspect.getmembers(events, inspect.isfunction):
        if not name.startswith("_"):
            wanted = inspect.signature(build).parameters
            found.append(build(**{k: v for k, v in {**given, **numbers}.items() if k in wanted}))
    return found


@pytest.mark.parametrize("event", everything(), ids=lambda event: event.reason)
def test_every_event_fits_and_has_a_camel_case_reason(event: Event) -> None:
    assert len(event.message) <= 1024
    assert re.fullmatch(r"[A-Z][A-Za-z]+", event.reason)
    assert event.type in {"Normal", "Warning"}
    assert (event.kind, event.namespace) in {("InferenceFleet", "default"), ("GPUPool", None)}


def test_scaling_says_from_to_and_why() -> None:
    event = events.scaled(KEY, "u", before=2, after=5, reason="RampAhead", why="12 req/s in 90 s")
    assert (event.reason, event.message) == ("RampAhead", "Replicas 2 -> 5: 12 req/s in 90 s")
