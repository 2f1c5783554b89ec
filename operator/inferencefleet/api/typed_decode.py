"""The way back: what `json.loads` gives becomes dataclasses again, or is refused with its place; see `typed_json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from inferencefleet.api.typed_json import SPECIAL, TYPE, BadValue, Coder, each_of, holds_fields, is_plain, members_of
from inferencefleet.catalog.errors import closest

LARGEST = 1e308
"""Of whole numbers: a float could not hold more."""


def decode(value: Any, hint: Any) -> Any:
    """The object again. `BadValue` says what is wrong and where."""
    return _decoder(hint)(value)


@cache
def _decoder(hint: Any) -> Coder:
    if holds_fields(hint):
        return _decoded_dataclass(hint)
    members = members_of(hint)
    if members is not None:
        return _decoded_union(members)
    if get_origin(hint) is not None:
        return _decoded_generic(get_origin(hint), get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decoded_enum(hint)
    return _SCALARS[hint]


def _decoded_generic(origin: Any, inner: tuple[Any, ...]) -> Coder:
    if origin is tuple:
        return _listed(each_of(_decoder, inner, tuple))
    if origin is frozenset:
        return _listed(each_of(_decoder, (inner[0], ...), frozenset))
    if origin is np.ndarray:
        numbers = each_of(_decoder, (float, ...), list)
        return _listed(lambda value: np.array(numbers(value), dtype=np.float64))
    return _decoded_mapping(*inner)


def _decoded_dataclass(kind: Any) -> Coder:
    hints = get_type_hints(kind)
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind) if each.init}
    needed = [name for name, each in known.items() if each.default is MISSING and each.default_factory is MISSING]
    coders: dict[str, Coder] = {}

    def decoded(value: Any) -> Any:
        if not isinstance(value, dict):
            raise BadValue(value, f"must be an object with the fields of {kind.__name__}")
        for name in known if not coders else ():
            coders[name] = _decoder(hints[name])
        found: dict[str, Any] = {}
        for name, each in value.items():
            if name == TYPE:
                continue
            if name not in known:
                near = closest(name, known, count=1)[0]
                raise BadValue(each, f"unknown field of {kind.__name__}, closest: {near}").within(f".{name}")
            try:
                found[name] = coders[name](each)
            except BadValue as bad:
                raise bad.within(f".{name}") from None
        for name in needed:
            if name not in found:
                raise BadValue(None, f"is missing, and {kind.__name__} has no default for it").within(f".{name}")
        try:
            return kind(**found)
        except ValueError as error:
            raise BadValue(value, str(error)) from None

    return decoded


def _decoded_union(members: tuple[Any, ...]) -> Coder:
    kinds = {member.__name__: member for member in members if holds_fields(member)}
    others = [member for member in members if not holds_fields(member) and member is not type(None)]
    optional = type(None) in members

    def decoded(value: Any) -> Any:
        if value is None and optional:
            return None
        if len(kinds) == 1 and not others:
            return _decoder(next(iter(kinds.values())))(value)
        if kinds and isinstance(value, dict):
            if value.get(TYPE) not in kinds:
                raise BadValue(value.get(TYPE), f"must be one of {', '.join(kinds)}").within(f".{TYPE}")
            return _decoder(kinds[value[TYPE]])(value)
        if not others:
            raise BadValue(value, f"must be one of {', '.join(kinds)}")
        return _decoder(others[0])(value)

    return decoded


def _decoded_mapping(key_hint: Any, value_hint: Any) -> Coder:
    key, one = _decoder(key_hint), _decoder(value_hint)

    def entry(word: Any, value: Any, step: str) -> tuple[Any, Any]:
        try:
            return key(word), one(value)
        except BadValue as bad:
            raise bad.within(step) from None

    def of_object(value: Any) -> Any:
        if not isinstance(value, dict):
            raise BadValue(value, "must be an object")
        # JSON has no keys but words: those of numbers are read back.
        return MappingProxyType(
            dict(entry(int(k) if key_hint is int and _is_whole(k) else k, v, f"[{k}]") for k, v in value.items())
        )

    def of_list(value: Any) -> Any:
        if not isinstance(value, list) or any(not isinstance(e, dict) or set(e) != {"key", "value"} for e in value):
            raise BadValue(value, "must be a list of objects with `key` and `value`")
        return MappingProxyType(
            dict(entry(each["key"], each["value"], f"[{index}]") for index, each in enumerate(value))
        )

    return of_object if is_plain(key_hint) else of_list


def _decoded_enum(kind: type[Enum]) -> Coder:
    known = {member.value: member for member in kind}

    def decoded(value: Any) -> Enum:
        if not isinstance(value, str | int) or value not in known:
            raise BadValue(value, f"must be one of {', '.join(map(str, known))}")
        return known[value]

    return decoded


def _listed(inner: Coder) -> Coder:
    def decoded(value: Any) -> Any:
        if not isinstance(value, list):
            raise BadValue(value, "must be a list")
        return inner(value)

    return decoded


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _number(value: Any) -> Any:
    if isinstance(value, str) and value in SPECIAL:
        return SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(value, f"must be a number, or one of {', '.join(SPECIAL)}")
    if abs(value) > LARGEST and isinstance(value, int):
        raise BadValue(value, "must be a number that fits a float")
    return value  # a whole number stays one: it equals the other, and is written as it was


def _scalar(kind: type, words: str) -> Coder:
    def decoded(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadValue(value, f"must be {words}")
        return value

    return decoded


_SCALARS: Mapping[Any, Coder] = {
    Any: lambda value: value,
    float: _number,
    int: _scalar(int, "a whole number"),
    str: _scalar(str, "a text"),
    bool: _scalar(bool, "true or false"),
}
