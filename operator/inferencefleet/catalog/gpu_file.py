"""Reads GPU entries of a catalogue file: borrowing, provenance of every value, and refusals by name.

A file has two tables, `sources` (named, each with title and date) and `gpus`; `data/gpus.yaml` explains the fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from inferencefleet.catalog.errors import InvalidCatalogue
from inferencefleet.domain.hardware import DataConfidence, Efficiency, GpuSpec, Link, NumberFormat

GIB = float(2**30)
GROUPS = MappingProxyType(
    {
        "datasheet": ("memoryGiB", "bandwidthGBps", "peakTflops", "nvlink"),
        "kernels": ("efficiency", "kvBandwidthEfficiency", "attentionComputeEfficiency"),
        "links": ("links",),
        "overheads": ("layerOverheadUs", "moeLayerOverheadUs"),
    }
)
"""Values that come from one source together, and are borrowed together."""
_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
_TEXTS = ("aliases", "confidence", "sources", "borrow", "note", "resource")
_FRACTIONS = ("efficiency", "kvBandwidthEfficiency", "attentionComputeEfficiency")
_OPTIONAL = ("nvlink", "links")

Raw = Mapping[str, Any]


def specs(file: Raw) -> dict[str, GpuSpec]:
    """Every GPU of the file by name; `InvalidCatalogue` names the first wrong value."""
    titles = {name: f"{source['title']}, {source['date']}" for name, source in file["sources"].items()}
    return {name: _spec(name, file["gpus"], titles) for name in file["gpus"]}


def names(file: Raw) -> dict[str, str]:
    """Normal form of each name and alias -> the entry's name."""
    known: dict[str, str] = {}
    for name, raw in file["gpus"].items():
        for alias in (name, *raw.get("aliases", ())):
            other = known.setdefault(normal(alias), name)
            if other != name:
                raise InvalidCatalogue(f"GPU {name!r}: alias {alias!r} is taken by {other!r}; remove it from one")
    return known


def normal(name: str) -> str:
    """Labels, spec values and people disagree on case, blanks and underscores only."""
    return name.strip().lower().replace(" ", "-").replace("_", "-")


def _spec(name: str, entries: Raw, titles: Mapping[str, str]) -> GpuSpec:
    own: Raw = entries[name]
    if unknown := sorted(set(own) - set(_GROUP_OF) - set(_TEXTS)):
        raise InvalidCatalogue(
            f"GPU {name!r}: unknown field {unknown[0]!r}; known fields: {', '.join([*_TEXTS, *_GROUP_OF])}"
        )
    values = {key: value for key, value in own.items() if key in _GROUP_OF}
    sources = {path: _source(name, path, own, titles) for path in _paths(values)}
    for group, lender in own.get("borrow", {}).items():
        lent = {key: entries[lender][key] for key in _lendable(name, group, lender, entries) if key not in values}
        values |= lent
        sources |= {
            path: f"borrowed from {lender}: {_source(lender, path, entries[lender], titles)}" for path in _paths(lent)
        }
    for key, group in _GROUP_OF.items():
        if key not in values and key not in _OPTIONAL:
            raise InvalidCatalogue(f"GPU {name!r}: {key} is missing; give it, or borrow its group {group!r}")
    for path, value in _leaves(values):
        _check(name, path, value)
    return GpuSpec(
        name=name,
        memory_bytes=values["memoryGiB"] * GIB,
        bandwidth_bytes_per_s=values["bandwidthGBps"] * 1e9,
        peak_flops=MappingProxyType({_format(name, k): v * 1e12 for k, v in values["peakTflops"].items()}),
        efficiency=MappingProxyType({_format(name, k): _efficiency(v) for k, v in values["efficiency"].items()}),
        kv_bandwidth_efficiency=values["kvBandwidthEfficiency"],
        attention_compute_efficiency=values["attentionComputeEfficiency"],
        links=MappingProxyType({int(size): _link(link) for size, link in values.get("links", {}).items()}),
        nvlink=values.get("nvlink", True),
        layer_overhead_s=values["layerOverheadUs"] * 1e-6,
        moe_layer_overhead_s=values["moeLayerOverheadUs"] * 1e-6,
        source="; ".join(dict.fromkeys(sources.values())),
        sources=MappingProxyType(sources),
        confidence=DataConfidence(own.get("confidence", DataConfidence.DATASHEET)),
        note=own.get("note", ""),
    )


def _lendable(name: str, group: str, lender: str, entries: Raw) -> tuple[str, ...]:
    if group not in GROUPS:
        raise InvalidCatalogue(f"GPU {name!r}: borrow.{group} is no group; groups: {', '.join(GROUPS)}")
    if lender not in entries:
        raise InvalidCatalogue(f"GPU {name!r}: borrow.{group} names {lender!r}, which is not in the catalogue")
    if group in entries[lender].get("borrow", {}):
        owner = entries[lender]["borrow"][group]
        raise InvalidCatalogue(f"GPU {name!r}: {lender!r} itself borrows {group}; borrow from {owner!r}")
    return tuple(key for key in GROUPS[group] if key in entries[lender])


def _source(name: str, path: str, raw: Raw, titles: Mapping[str, str]) -> str:
    """The source of the longest named prefix of the path, else of its group."""
    given: Mapping[str, str] = raw.get("sources", {})
    parts = path.split(".")
    candidates = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    found = next((given[key] for key in [*candidates, _GROUP_OF[parts[0]]] if key in given), None)
    if found is None:
        raise InvalidCatalogue(f"GPU {name!r}: {path} has no source; name one in sources.{_GROUP_OF[parts[0]]}")
    if found not in titles:
        raise InvalidCatalogue(f"GPU {name!r}: source {found!r} of {path} is not in the table `sources`")
    return titles[found]


def _leaves(values: Raw, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _paths(values: Raw) -> list[str]:
    return [path for path, _ in _leaves(values)]


def _check(name: str, path: str, value: Any) -> None:
    top = path.partition(".")[0]
    if top == "nvlink":
        if not isinstance(value, bool):
            raise InvalidCatalogue(f"GPU {name!r}: nvlink is {value!r}; write true or false")
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= 0:
        raise InvalidCatalogue(f"GPU {name!r}: {path} is {value!r}; give a number above 0")
    if top in _FRACTIONS and value > 1:
        raise InvalidCatalogue(f"GPU {name!r}: {path} is {value!r}; it is a fraction of the peak: give at most 1")


def _format(name: str, key: str) -> NumberFormat:
    try:
        return NumberFormat(key)
    except ValueError:
        known = ", ".join(NumberFormat)
        raise InvalidCatalogue(f"GPU {name!r}: unknown weight format {key!r}; formats: {known}") from None


def _efficiency(raw: Mapping[str, float]) -> Efficiency:
    return Efficiency(
        bandwidth=raw["bandwidth"],
        compute=raw["compute"],
        moe_bandwidth=raw["moeBandwidth"],
        moe_compute=raw["moeCompute"],
    )


def _link(raw: Mapping[str, float]) -> Link:
    return Link(latency_s=raw["latencyUs"] * 1e-6, bandwidth_bytes_per_s=raw["bandwidthGBps"] * 1e9)
