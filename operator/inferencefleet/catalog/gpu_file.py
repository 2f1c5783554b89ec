"""Reads GPU entries of a catalogue file: borrowing, provenance of every value, and refusals by name.

A file has two tables, `sources` (named, each with title and date) and `gpus`; `data/gpus.yaml` explains the fields. A
value is named by its path: `bandwidthGBps`, `peakTflops.fp8`, `efficiency.bf16.compute`, `links.2.latencyUs`.
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
        "overheads": ("layerOverheadUs", "moeLayerOverheadUs", "eagerLayerOverheadUs"),
    }
)
"""Values that come from one source together, and are borrowed together."""
_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
_TEXTS = ("aliases", "confidence", "sources", "borrow", "note", "resource", "mig")
_NUMBERS = frozenset(_GROUP_OF) - {"peakTflops", "nvlink", "efficiency", "links"}
_EFFICIENCY = ("bandwidth", "compute", "moeBandwidth", "moeCompute")
_LINK = ("latencyUs", "bandwidthGBps")
_FRACTIONS = ("efficiency", "kvBandwidthEfficiency", "attentionComputeEfficiency")

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


def merged(base: Raw, given: Raw, sources: Raw, origin: str) -> Raw:
    """A file with a user's GPUs on top: single values over known types (by name or alias), and new entries.

    `sources` are the user's own; a value for which none is named is from `origin`.
    """
    titles = {**base["sources"], origin: {"title": origin, "date": "as loaded"}}
    for key, source in sources.items():
        if not isinstance(source, Mapping) or not {"title", "date"} <= set(source):
            raise InvalidCatalogue(f"source {key!r} needs a title and a date")
        titles[key] = source
    known = names(base)
    entries = dict(base["gpus"])
    for name, values in given.items():
        if not isinstance(values, Mapping):
            raise InvalidCatalogue(f"GPU {name!r} is {values!r}; it must be a block of values")
        entry = known.get(normal(name), name)
        old = entries.get(entry, {})
        told = dict.fromkeys((path for path, _ in _leaves(_values(values))), origin)
        told |= _texts(name, values, "sources")
        entries[entry] = {
            **_nested(old, values),
            "sources": {**old.get("sources", {}), **told},
            "borrow": {**old.get("borrow", {}), **_texts(name, values, "borrow")},
        }
    return {"sources": titles, "gpus": entries}


def _texts(name: str, values: Raw, field: str) -> dict[str, str]:
    found = values.get(field, {})
    if not isinstance(found, Mapping):
        raise InvalidCatalogue(f"GPU {name!r}: {field} is {found!r}; it must be a block of names")
    return {str(key): str(value) for key, value in found.items()}


def _nested(old: Raw, new: Raw) -> dict[str, Any]:
    found = dict(old)
    for key, value in new.items():
        known = found.get(key)
        both = isinstance(value, Mapping) and isinstance(known, Mapping)
        found[key] = _nested(known, value) if both and known is not None else value
    return found


def _spec(name: str, entries: Raw, titles: Mapping[str, str]) -> GpuSpec:
    own: Raw = entries[name]
    if unknown := sorted(set(own) - set(_GROUP_OF) - set(_TEXTS)):
        raise InvalidCatalogue(
            f"GPU {name!r}: unknown field {unknown[0]!r}; known fields: {', '.join([*_TEXTS, *_GROUP_OF])}"
        )
    values = dict(_leaves(_values(own)))
    sources = {path: _source(name, path, own, titles) for path in values}
    for key, lender in own.get("borrow", {}).items():
        for path, value in _lent(name, key, lender, entries):
            if path not in values:
                values[path] = value
                sources[path] = f"borrowed from {lender}: {_source(lender, path, entries[lender], titles)}"
    for path, value in values.items():
        _check(name, path, value)
    return GpuSpec(
        name=name,
        memory_bytes=_need(name, values, "memoryGiB") * GIB,
        bandwidth_bytes_per_s=_need(name, values, "bandwidthGBps") * 1e9,
        peak_flops=MappingProxyType(_peaks(name, values)),
        efficiency=MappingProxyType(_efficiencies(name, values)),
        kv_bandwidth_efficiency=_need(name, values, "kvBandwidthEfficiency"),
        attention_compute_efficiency=_need(name, values, "attentionComputeEfficiency"),
        links=MappingProxyType(_links(name, values)),
        nvlink=values.get("nvlink", True),
        layer_overhead_s=_need(name, values, "layerOverheadUs") * 1e-6,
        moe_layer_overhead_s=_need(name, values, "moeLayerOverheadUs") * 1e-6,
        eager_layer_overhead_s=_need(name, values, "eagerLayerOverheadUs") * 1e-6,
        source="; ".join(dict.fromkeys(sources.values())),
        sources=MappingProxyType(sources),
        confidence=_confidence(name, own.get("confidence", DataConfidence.DATASHEET)),
        note=" ".join(own.get("note", "").split()),
        resource_name=own.get("resource", "nvidia.com/gpu"),
    )


def _values(raw: Raw) -> Raw:
    return {key: value for key, value in raw.items() if key in _GROUP_OF}


def _leaves(values: Raw, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _lent(name: str, key: str, lender: str, entries: Raw) -> list[tuple[str, Any]]:
    """What the lender has of a group or path, by path. It lends only what is its own, so that chains are short."""
    if lender not in entries:
        raise InvalidCatalogue(f"GPU {name!r}: borrow.{key} names {lender!r}, which is not in the catalogue")
    found = [leaf for leaf in _leaves(_values(entries[lender])) if key in _keys(leaf[0])]
    if not found:
        raise InvalidCatalogue(
            f"GPU {name!r}: {lender!r} has no {key!r} of its own to lend; groups: {', '.join(GROUPS)}, "
            "or the path of a value"
        )
    return found


def _keys(path: str) -> list[str]:
    """The names a value goes by, most exact first: its path, each parent, its group."""
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)] + [_GROUP_OF[parts[0]]]


def _source(name: str, path: str, raw: Raw, titles: Mapping[str, str]) -> str:
    given: Mapping[str, str] = raw.get("sources", {})
    found = next((given[key] for key in _keys(path) if key in given), None)
    if found is None:
        raise InvalidCatalogue(f"GPU {name!r}: {path} has no source; name one in sources.{_keys(path)[-1]}")
    if found not in titles:
        raise InvalidCatalogue(f"GPU {name!r}: source {found!r} of {path} is not in the table `sources`")
    return titles[found]


def _need(name: str, values: Raw, path: str) -> Any:
    if path not in values:
        raise InvalidCatalogue(f"GPU {name!r}: {path} is missing; give it, or borrow the group {_keys(path)[-1]!r}")
    return values[path]


def _check(name: str, path: str, value: Any) -> None:
    top, _, rest = path.partition(".")
    if top == "nvlink":
        if not isinstance(value, bool):
            raise InvalidCatalogue(f"GPU {name!r}: nvlink is {value!r}; write true or false")
        return
    if (top in _NUMBERS) == bool(rest):
        raise InvalidCatalogue(f"GPU {name!r}: {path} is {value!r}; data/gpus.yaml shows the form of {top}")
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= 0:
        raise InvalidCatalogue(f"GPU {name!r}: {path} is {value!r}; give a number above 0")
    if top in _FRACTIONS and value > 1:
        raise InvalidCatalogue(f"GPU {name!r}: {path} is {value!r}; it is a fraction of the peak: give at most 1")


def _children(values: Raw, top: str) -> list[str]:
    """The second parts of all paths below `top`, in order."""
    return list(dict.fromkeys(path.split(".")[1] for path in values if path.startswith(f"{top}.")))


def _confidence(name: str, word: str) -> DataConfidence:
    if word not in set(DataConfidence):
        raise InvalidCatalogue(f"GPU {name!r}: confidence is {word!r}; use one of: {', '.join(DataConfidence)}")
    return DataConfidence(word)


def _format(name: str, key: str) -> NumberFormat:
    try:
        return NumberFormat(key)
    except ValueError:
        known = ", ".join(NumberFormat)
        raise InvalidCatalogue(f"GPU {name!r}: unknown weight format {key!r}; formats: {known}") from None


def _peaks(name: str, values: Raw) -> dict[NumberFormat, float]:
    _need(name, values, "peakTflops.bf16")
    return {_format(name, key): values[f"peakTflops.{key}"] * 1e12 for key in _children(values, "peakTflops")}


def _efficiencies(name: str, values: Raw) -> dict[NumberFormat, Efficiency]:
    formats = _children(values, "efficiency") or ["bf16"]
    return {
        _format(name, key): Efficiency(
            **{_snake(field): _need(name, values, f"efficiency.{key}.{field}") for field in _EFFICIENCY}
        )
        for key in formats
    }


def _links(name: str, values: Raw) -> dict[int, Link]:
    found = {}
    for size in _children(values, "links"):
        if size not in {"2", "4", "8"}:
            raise InvalidCatalogue(f"GPU {name!r}: links.{size} is no group size; give links for 2, 4 or 8 GPUs")
        latency_us, bandwidth_gb = (_need(name, values, f"links.{size}.{field}") for field in _LINK)
        found[int(size)] = Link(latency_s=latency_us * 1e-6, bandwidth_bytes_per_s=bandwidth_gb * 1e9)
    return found


def _snake(camel: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel)
