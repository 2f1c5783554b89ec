"""When is a live object what we want: servers add defaults, order lists anew and normalise quantities."""

from __future__ import annotations

from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.difference import first_difference
from inferencefleet.adapters.kubernetes.quantity import parse_quantity


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1, "defaulted": True}, {"a": 1}),
        ({"args": ["x", "y"]}, {"args": ["x", "y"]}),
        ({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "1"}]}),
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "1000m"}}}),
        ({"emptyDir": {"sizeLimit": "2Gi"}}, {"emptyDir": {"sizeLimit": "2048Mi"}}),
        ({}, {"nodeSelector": {}, "tolerations": [], "value": "", "hostIPC": False}),
        ({"tolerations": [{"key": "a", "effect": "x"}]}, {"tolerations": [{"key": "a"}]}),
    ],
    ids=["defaults", "scalars", "named lists", "quantities", "size limits", "zero values", "unnamed lists"],
)
def test_a_live_object_that_says_the_same_in_its_own_way_needs_no_write(live: Any, desired: Any) -> None:
    assert first_difference(live, desired) is None


@pytest.mark.parametrize(
    ("live", "desired", "path"),
    [
        ({"spec": {"replicas": 7}}, {"spec": {"replicas": 2}}, "spec.replicas"),
        ({"spec": {}}, {"spec": {"replicas": 0}}, "spec.replicas"),
        ({"args": ["x", "y", "z"]}, {"args": ["x", "y"]}, "args"),
        ({"args": ["1000m"]}, {"args": ["1"]}, "args[0]"),
        ({"env": [{"name": "A", "value": "2"}]}, {"env": [{"name": "A", "value": "1"}]}, "env[0].value"),
        ({"env": []}, {"env": [{"name": "A", "value": "1"}]}, "env[0]"),
        ({"enabled": 1}, {"enabled": True}, "enabled"),
    ],
)
def test_a_real_difference_is_found_and_named(live: Any, desired: Any, path: str) -> None:
    assert first_difference(live, desired) == path


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("500m", 0.5), ("2Gi", 2**31), ("1e3", 1000), ("1E", 10**18), ("1.5Ki", 1536), (8, 8), ("x", None)],
)
def test_quantities_are_exact_numbers(text: Any, number: float | None) -> None:
    assert parse_quantity(text) == number
