"""Reads numbers out of a `config.json`: names in order of preference, and refusals that name field, value and rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from inferencefleet.catalog.errors import UnsupportedArchitecture

Config = Mapping[str, Any]
_MOST = 10**9
"""No shape of a model is larger; a longer number is a slip."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The language model's part of a config."""

    id: str
    config: Config

    def refuse(self, name: str, rule: str) -> NoReturn:
        """`UnsupportedArchitecture` for a field that is there and cannot be so."""
        value = repr(self.config.get(name))
        shown = value if len(value) <= 60 else f"{value[:57]}..."
        raise UnsupportedArchitecture(f"model {self.id!r}: `{name}` is {shown}; {rule}")

    def need(self, *names: str) -> int:
        """The first of these that is there, a whole number above 0."""
        found = self.count(*names)
        if found:
            return found
        for name in names:
            if self.config.get(name) is not None:
                self.refuse(name, "it must be a whole number above 0; copy it from the model's config.json")
        raise UnsupportedArchitecture(
            f"model {self.id!r}: the config has no `{names[0]}`; add it from the model's config.json, "
            "or give the architecture explicitly"
        )

    def count(self, *names: str) -> int:
        """The first of these that is neither absent, null nor 0, a whole number; 0 when there is none."""
        for name in names:
            value = self.config.get(name)
            if value is None or value is False:
                continue
            whole = isinstance(value, int | float) and not isinstance(value, bool)
            if not whole or not math.isfinite(value) or value != int(value) or not 0 <= value <= _MOST:
                self.refuse(name, "it must be a whole number of at least 0; copy it from the model's config.json")
            if value:
                return int(value)
        return 0

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false; `default` when absent or null."""
        value = self.config.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(name, "write true or false")
        return value

    def each(self, name: str, layers: int | None = None) -> Sequence[Any] | None:
        """A list with an entry for each layer; None when absent, null or empty. Entries beyond the layers (drafting
        layers that the engine does not run) are cut off."""
        value = self.config.get(name)
        if not value:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.refuse(name, "it must be a list with an entry for each layer")
        if layers is not None and len(value) < layers:
            self.refuse(name, f"it has {len(value)} entries, and there are {layers} layers (num_hidden_layers)")
        return value[:layers]

    def inner(self, name: str) -> Fields | None:
        """A nested block; None when absent or null."""
        value = self.config.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.refuse(name, "it must be a block of fields")
        return Fields(self.id, value)
