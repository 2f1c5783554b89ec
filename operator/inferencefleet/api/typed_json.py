"""Dataclasses as JSON and back, by their type hints: a new field needs no code here.

Tuples and sets are lists, enumerations their values, infinities strings, arrays lists of numbers. A mapping with plain
keys is an object, any other a list of `{key, value}`. Where one of several dataclasses may stand, `$type` names it.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin

Coder = Callable[[Any], Any]
TYPE = "$type"
SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
SHOWN = 60
"""Characters of a wrong value that an error repeats."""


class BadValue(ValueError):
    """A value that the type hints do not allow: where it stands, what it is, and the rule."""

    def __init__(self, value: object, rule: str) -> None:
        super().__init__(rule)
        self.value, self.rule = value, rule
        self.path: list[str] = []

    def within(self, step: str) -> BadValue:
        """The same, seen from one level further up."""
        self.path.insert(0, step)
        return self

    def __str__(self) -> str:
        shown = repr(self.value)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        return f"{''.join(self.path).lstrip('.')}={shown}: {self.rule}"


def each_of(coder: Callable[[Any], Coder], inner: tuple[Any, ...], make: Callable[[list[Any]], Any]) -> Coder:
    """Of `tuple[X, ...]` or of `tuple[X, Y]`."""
    endless = len(inner) == 2 and inner[1] is Ellipsis
    coders = [coder(hint) for hint in (inner[:1] if endless else inner)]

    def coded(value: Any) -> Any:
        if not endless and len(value) != len(coders):
            raise BadValue(value, f"must have {len(coders)} entries, and has {len(value)}")
        found = []
        for index, each in enumerate(value):
            try:
                found.append(coders[0 if endless else index](each))
            except BadValue as bad:
                raise bad.within(f"[{index}]") from None
        return make(found)

    return coded


def holds_fields(hint: Any) -> bool:
    """Whether it is a dataclass."""
    return is_dataclass(hint)


def members_of(hint: Any) -> tuple[Any, ...] | None:
    """Of a union; None of anything else."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else None


def is_plain(hint: Any) -> bool:
    """Whether it can be a key of an object of JSON."""
    return isinstance(hint, type) and issubclass(hint, str | int)
