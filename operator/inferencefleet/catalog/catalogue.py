"""GPUs, models and prices in one place: the built-in ones, and a user's file on top of them.

A user's file is YAML with any of `sources`, `gpus`, `models` and `prices`:

    gpus:
      H100-SXM: {bandwidthGBps: 3200}                    # one value of a known type
      MyGPU: {memoryGiB: 64, bandwidthGBps: 2000, peakTflops: {bf16: 500}, borrow: {kernels: H100-SXM, ...}}
    models:
      acme/chat-70b: {like: meta-llama/Llama-3.3-70B-Instruct, nativeWeights: fp8}
      acme/own: {num_hidden_layers: 32, ...}             # the fields of its config.json
    prices:
      H100-SXM: [{usdPerGpuHour: 2.1, capacityType: Reserved, cloud: own, date: 2026-11-01}]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import yaml

from inferencefleet.catalog import gpu_file, gpus, models, prices
from inferencefleet.catalog.errors import InvalidCatalogue
from inferencefleet.catalog.gpus import GpuTable
from inferencefleet.catalog.models import ModelTable
from inferencefleet.catalog.prices import Price, PriceTable
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.model import ModelSpec

_TABLES = ("sources", "gpus", "models", "prices")


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """What is known by name."""

    gpus: GpuTable
    models: ModelTable
    prices: PriceTable

    def gpu(self, name: str) -> GpuSpec:
        """The GPU of this name, alias or `nvidia.com/gpu.product` label (case does not matter), or a slice of it
        (`H100-SXM/3g.40gb`). `UnknownGpu` names the closest."""
        return self.gpus.find(name)

    def model(self, hf_id: str) -> ModelSpec:
        """The model with this Hugging Face id (case does not matter) or alias; an alias keeps its own id.

        `UnknownModel` names the closest, or whose shapes the id seems to have."""
        return self.models.find(hf_id)

    def price(self, gpu_name: str, capacity_type: str = "OnDemand") -> Price:
        """The cheapest listed price of this GPU, alias or slice; `UnknownPrice` says how to give one."""
        return self.prices.find(self.gpu(gpu_name).name, capacity_type)

    def extended(self, text: str, name: str) -> Catalogue:
        """This catalogue with a user's YAML on top; `name` says where it is from. `InvalidCatalogue` names the first
        wrong value."""
        try:
            given = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise InvalidCatalogue(f"{name}: is no YAML: {error}") from None
        if not isinstance(given, Mapping):
            raise InvalidCatalogue(f"{name}: must be a block with any of: {', '.join(_TABLES)}")
        if unknown := sorted(str(key) for key in set(given) - set(_TABLES)):
            raise InvalidCatalogue(f"{name}: unknown table {unknown[0]!r}; known tables: {', '.join(_TABLES)}")
        tables = {table: _block(given.get(table), f"{name}: {table}") for table in _TABLES}
        try:
            raw = gpu_file.merged(self.gpus.raw, tables["gpus"], tables["sources"], name)
            found = replace(self, gpus=GpuTable.from_raw(raw))
            found = replace(found, models=_with_models(self.models, tables["models"], name))
            own = {found.gpu(gpu).name: rows for gpu, rows in _named(tables["prices"], name).items()}
        except ValueError as error:
            raise InvalidCatalogue(str(error) if str(error).startswith(name) else f"{name}: {error}") from None
        return replace(found, prices=PriceTable(MappingProxyType({**self.prices.entries, **own})))


@cache
def built_in() -> Catalogue:
    """The catalogue that ships with the operator."""
    return Catalogue(gpus=gpus.built_in(), models=models.built_in(), prices=prices.built_in())


def _block(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidCatalogue(f"{where} is {value!r}; it must be a block of entries by name")
    return {str(key): entry for key, entry in value.items()}


def _with_models(known: ModelTable, given: Mapping[str, Any], name: str) -> ModelTable:
    entries = dict(known.entries)
    aliases = {id: alias for id, alias in known.aliases.items() if id not in given}
    for id, architecture in given.items():
        entries[id] = known.describe(id, architecture, name)
    return ModelTable.of(entries, aliases)


def _named(given: Mapping[str, Any], name: str) -> dict[str, tuple[Price, ...]]:
    for gpu, rows in given.items():
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise InvalidCatalogue(
                f"{name}: prices of {gpu!r} must be a list of blocks with usdPerGpuHour and capacityType"
            )
    return {
        gpu: tuple(replace(price, source=price.source or name) for price in rows)
        for gpu, rows in prices.read_prices(given).items()
    }
