"""Quantities as people write them."""

from __future__ import annotations

import pytest

from inferencefleet.api.quantity import BadQuantity, parse_duration, parse_memory


@pytest.mark.parametrize(
    ("text", "seconds"), [("800ms", 0.8), ("2s", 2), ("1.5m", 90), ("1h", 3600), ("0s", 0), ("60ms", 0.06)]
)
def test_durations_are_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "800", "2 s", "-1s", "s", "1d", "1s\n", "1.s", "1e3s", "2S"])
def test_a_duration_without_a_plain_number_and_unit_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity, match="number with a unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("80Gi", 80 * 2**30), ("1.5G", 1.5e9), ("1T", 1e12), ("141Gi", 141 * 2**30)]
)
def test_memory_is_read_in_bytes(text: str, size: float) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["80", "80GB", "80gi", "Gi", "-1Gi"])
def test_memory_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity, match="for example 80Gi"):
        parse_memory(text)
