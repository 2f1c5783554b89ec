"""Answers of Prometheus as numbers by fleet and pool. Whatever is not a finite number is not there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from inferencefleet.adapters.prometheus.queries import SUM, Vocabulary
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.history import Points
from inferencefleet.domain.observation import Histogram

Key = TypeVar("Key")

Vector = Iterable[Mapping[str, Any]]
"""`data.result` of an instant query."""


def number(text: Any) -> float | None:
    """Prometheus writes numbers as strings; NaN and infinities are unknown, never zero."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def by_fleet(vector: Vector, words: Vocabulary) -> dict[FleetKey, float]:
    return _collect(vector, lambda labels: _fleet_of(labels, words))


def series_by_fleet(matrix: Vector, words: Vocabulary) -> dict[FleetKey, Points]:
    """`data.result` of a range query: (epoch seconds, value) of each fleet, without what is no number."""
    found: dict[FleetKey, Points] = {}
    for sample in matrix:
        fleet = _fleet_of(sample.get("metric") or {}, words)
        if fleet is None:
            continue
        pairs = [(number(pair[0]), number(pair[1])) for pair in sample.get("values") or [] if len(pair) == 2]
        found[fleet] = tuple((at, value) for at, value in pairs if at is not None and value is not None)
    return found


def by_pool(vector: Vector, words: Vocabulary) -> dict[tuple[FleetKey, str], float]:
    def key(labels: Mapping[str, str]) -> tuple[FleetKey, str] | None:
        fleet = _fleet_of(labels, words)
        return None if fleet is None else (fleet, labels.get(words.pool_label, ""))

    return _collect(vector, key)


def names_by_pool(vector: Vector, words: Vocabulary, label: str) -> dict[tuple[FleetKey, str], tuple[str, ...]]:
    """The values of one label that each pool's series carry, sorted."""
    found: dict[tuple[FleetKey, str], set[str]] = {}
    for sample in vector:
        labels = sample.get("metric") or {}
        fleet, name = _fleet_of(labels, words), labels.get(label)
        if fleet is not None and name:
            found.setdefault((fleet, labels.get(words.pool_label, "")), set()).add(name)
    return {key: tuple(sorted(names)) for key, names in found.items()}


def histograms(vector: Vector, words: Vocabulary) -> dict[FleetKey, Histogram]:
    """Buckets by `le`, the sum under the `le` of `queries.SUM`. A histogram without an infinite bucket is none."""
    cumulative: dict[FleetKey, dict[float, float]] = {}
    sums: dict[FleetKey, float] = {}
    for sample in vector:
        labels = sample.get("metric") or {}
        fleet, value = _fleet_of(labels, words), _value(sample)
        if fleet is None or value is None:
            continue
        if labels.get("le") == SUM:
            sums[fleet] = value
            continue
        bound = _bound(labels.get("le"))
        if bound is not None:
            buckets = cumulative.setdefault(fleet, {})
            buckets[bound] = buckets.get(bound, 0.0) + value
    return {
        fleet: _histogram(buckets, sums[fleet])
        for fleet, buckets in cumulative.items()
        if math.inf in buckets and fleet in sums
    }


def evaluated_at(vector: Iterable[Mapping[str, Any]]) -> float | None:
    """The server's own time of the answer: sample ages must not depend on our clock."""
    for sample in vector:
        pair = sample.get("value") or []
        at = number(pair[0]) if len(pair) == 2 else None
        if at is not None:
            return at
    return None


def _histogram(cumulative: Mapping[float, float], total_sum: float) -> Histogram:
    bounds = tuple(sorted(cumulative))
    counts, below = [], 0.0
    for bound in bounds:
        # Pods with other bounds, or a scrape between two of them, can make the sum step back a little.
        upto = max(below, cumulative[bound])
        counts.append(upto - below)
        below = upto
    return Histogram(bounds=bounds, counts=tuple(counts), total=below, sum=total_sum)


def _collect(vector: Vector, key_of: Callable[[Mapping[str, str]], Key | None]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for sample in vector:
        key, value = key_of(sample.get("metric") or {}), _value(sample)
        if key is not None and value is not None:
            found[key] = value
    return found


def _fleet_of(labels: Mapping[str, str], words: Vocabulary) -> FleetKey | None:
    name = labels.get(words.fleet_label)
    return FleetKey(labels.get(words.namespace_label, ""), name) if name else None


def _value(sample: Mapping[str, Any]) -> float | None:
    pair = sample.get("value") or []
    return number(pair[1]) if len(pair) == 2 else None


def _bound(text: str | None) -> float | None:
    try:
        bound = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
