"""List prices of GPUs from `data/prices.yaml`, which `build_prices.py` writes; a pool's own price always wins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from inferencefleet.catalog.errors import InvalidCatalogue, UnknownPrice
from inferencefleet.catalog.yaml_text import parse

CAPACITY_TYPES = ("OnDemand", "Spot", "Reserved")
"""As in a GPUPool's spec.capacityType."""
_SEVENTHS = re.compile(r"(.+)/(\d)g\.\d+gb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one GPU costs in one cloud, its share of the instance's processors and memory included."""

    usd_per_gpu_hour: float
    capacity_type: str
    """`OnDemand`, `Spot` or `Reserved`."""
    cloud: str
    source: str
    date: str
    """Day the price was read, as YYYY-MM-DD."""
    instance: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """The prices of one catalogue."""

    entries: Mapping[str, tuple[Price, ...]]
    """By catalogue name of the GPU, cheapest first."""

    def find(self, gpu: str, capacity_type: str) -> Price:
        """The cheapest listed price. A MIG slice costs its sevenths of the whole GPU.

        `ValueError` for another capacity type; `UnknownPrice` when nothing is listed.
        """
        if capacity_type not in CAPACITY_TYPES:
            raise ValueError(f"unknown capacity type {capacity_type!r}; use one of: {', '.join(CAPACITY_TYPES)}")
        if part := _SEVENTHS.fullmatch(gpu):
            whole, sevenths = self.find(part[1], capacity_type), int(part[2])
            return replace(
                whole,
                usd_per_gpu_hour=whole.usd_per_gpu_hour * sevenths / 7,
                source=f"{sevenths}/7 of {part[1]}: {whole.source}",
            )
        listed = [price for price in self.entries.get(gpu, ()) if price.capacity_type == capacity_type]
        if not listed:
            others = sorted({price.capacity_type for price in self.entries.get(gpu, ())})
            known = f"only {' and '.join(others)} prices of it are" if others else "no price of it is"
            raise UnknownPrice(
                f"no {capacity_type} price of GPU {gpu!r}: {known} in the catalogue; give your own "
                "(price.perGPUHour of a GPUPool, --price of the command line, or `prices` in a catalogue file)"
            )
        return min(listed, key=lambda price: price.usd_per_gpu_hour)


@cache
def built_in() -> PriceTable:
    """The prices of `data/prices.yaml`."""
    text = resources.files("inferencefleet.catalog").joinpath("data/prices.yaml").read_text(encoding="utf-8")
    return PriceTable(MappingProxyType(read_prices(parse(text)["prices"])))


def read_prices(raw: Mapping[str, Any]) -> dict[str, tuple[Price, ...]]:
    """Prices by GPU name; `InvalidCatalogue` names the first wrong value."""
    found = {}
    for gpu, rows in raw.items():
        prices = [_price(gpu, row) for row in rows]
        found[gpu] = tuple(sorted(prices, key=lambda price: (price.usd_per_gpu_hour, price.cloud)))
    return found


def _price(gpu: str, row: Mapping[str, Any]) -> Price:
    dollars, kind = row.get("usdPerGpuHour"), row.get("capacityType")
    if not isinstance(dollars, int | float) or isinstance(dollars, bool) or not 0 < dollars < 10_000:
        raise InvalidCatalogue(f"price of {gpu!r}: usdPerGpuHour is {dollars!r}; give dollars above 0")
    if kind not in CAPACITY_TYPES:
        raise InvalidCatalogue(f"price of {gpu!r}: capacityType is {kind!r}; use one of: {', '.join(CAPACITY_TYPES)}")
    texts = {name: str(row.get(name, "")) for name in ("cloud", "source", "date", "instance", "region")}
    return Price(usd_per_gpu_hour=float(dollars), capacity_type=str(kind), **texts)
