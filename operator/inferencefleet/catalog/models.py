"""Models by id: the built-in ones of `data/models.json`, which `build_models.py` writes, and their aliases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from inferencefleet.catalog.errors import InvalidCatalogue, UnknownModel, UnsupportedArchitecture, closest
from inferencefleet.catalog.hf_config import model_from_hf_config
from inferencefleet.catalog.likeness import likeness
from inferencefleet.catalog.model_record import from_record
from inferencefleet.catalog.yaml_text import parse
from inferencefleet.domain.hardware import NumberFormat, weight_format
from inferencefleet.domain.model import ModelSpec

_LIKE = frozenset({"like", "nativeWeights", "maxContextTokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another id of a catalogue entry."""

    id: str
    entry: str
    weights: NumberFormat | None = None
    """Format of this checkpoint; None = that of the entry."""
    max_context_tokens: int | None = None
    """None = that of the entry."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelTable:
    """The models of one catalogue."""

    entries: Mapping[str, ModelSpec]
    aliases: Mapping[str, Alias]
    """By the alias as published."""
    ids: Mapping[str, str]
    """Lower-case id -> the id as published, of entries and aliases."""

    @classmethod
    def of(cls, entries: Mapping[str, ModelSpec], aliases: Mapping[str, Alias]) -> ModelTable:
        ids = {id.lower(): id for id in (*aliases, *entries)}
        return cls(MappingProxyType(dict(entries)), MappingProxyType(dict(aliases)), MappingProxyType(ids))

    def find(self, id: str) -> ModelSpec:
        """The model with this id (case does not matter) or alias; an alias keeps its own id."""
        known = self.ids.get(id.strip().lower())
        if known is None:
            raise UnknownModel(self._unknown(id))
        if known in self.entries:
            return self.entries[known]
        alias = self.aliases[known]
        entry = self.entries[alias.entry]
        return replace(
            entry,
            id=alias.id,
            native_weights=alias.weights or entry.native_weights,
            max_context_tokens=alias.max_context_tokens or entry.max_context_tokens,
        )

    def describe(self, id: str, architecture: Mapping[str, Any], source: str) -> ModelSpec:
        """The model that a user describes: by a `config.json`, by our own names, or as `{like: ID}` of this catalogue,
        with `nativeWeights` and `maxContextTokens` where they differ."""
        if not isinstance(architecture, Mapping) or "like" not in architecture:
            return model_from_hf_config(id, architecture, source)
        if unknown := sorted(set(architecture) - _LIKE):
            raise UnsupportedArchitecture(
                f"model {id!r}: `{unknown[0]}` cannot be given beside `like`; give only {', '.join(sorted(_LIKE))}, "
                "or a whole config.json"
            )
        entry = self.find(str(architecture["like"]))
        weights, context = architecture.get("nativeWeights"), architecture.get("maxContextTokens")
        if context is not None and (not isinstance(context, int) or isinstance(context, bool) or context < 1):
            raise UnsupportedArchitecture(
                f"model {id!r}: `maxContextTokens` is {context!r}; it must be a whole number above 0"
            )
        return replace(
            entry,
            id=id,
            native_weights=entry.native_weights if weights is None else weight_format(str(weights)),
            max_context_tokens=context or entry.max_context_tokens,
            source=f"{source}: like {entry.id}",
        )

    def _unknown(self, id: str) -> str:
        way_out = "Use one of these, or describe the architecture (the fields of its config.json) explicitly."
        base, weights = likeness(id, [*self.entries, *self.aliases])
        if base is not None:
            told = f", in {weights}" if weights else ""
            return (
                f"unknown model {id!r}; by its name it has the shapes of {base}{told}. If so, say it: architecture "
                f"{{like: {base}{f', nativeWeights: {weights}' if weights else ''}}}. Else describe the architecture "
                "(the fields of its config.json) explicitly."
            )
        return f"unknown model {id!r}; closest: {', '.join(closest(id, self.ids.values()))}. {way_out}"


@cache
def built_in() -> ModelTable:
    """The models of `data/models.json` with the aliases of `data/aliases.yaml`."""
    entries = {raw["id"]: from_record(raw) for raw in json.loads(_read("models.json"))["models"]}
    return ModelTable.of(entries, _aliases(parse(_read("aliases.yaml")), entries))


def _read(name: str) -> str:
    return resources.files("inferencefleet.catalog").joinpath(f"data/{name}").read_text(encoding="utf-8")


def _aliases(data: Mapping[str, Any], entries: Mapping[str, ModelSpec]) -> dict[str, Alias]:
    contexts = data["contexts"]
    found: dict[str, Alias] = {}
    for entry, by_format in data["aliases"].items():
        if entry not in entries:
            raise InvalidCatalogue(f"aliases of {entry!r}: there is no such model")
        for weights, ids in by_format.items():
            for id in ids:
                found[id] = Alias(
                    id=id,
                    entry=entry,
                    weights=None if weights == "same" else NumberFormat(weights),
                    max_context_tokens=contexts.get(id),
                )
    return found
