"""Dataclasses as JSON and back, by their type hints: a new field needs no code here.

Tuples and sets are lists, enumerations their values, infinities strings, arrays lists of numbers. A mapping with plain
keys is an object, any other a list of `{key, value}`. Where one of several dataclasses may stand, `$type` names it.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from inferencefleet.catalog.errors import closest

Coder = Callable[[Any], Any]
TYPE = "$type"
_SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
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


def encode(value: Any, hint: Any) -> Any:
    """What `json.dumps` takes. `BadValue` where the value is not what its hint says."""
    return _encoder(hint)(value)


def decode(value: Any, hint: Any) -> Any:
    """The object again. `BadValue` says what is wrong and where."""
    return _decoder(hint)(value)


@cache
def _encoder(hint: Any) -> Coder:
    if _is_dataclass(hint):
        return _encoded_dataclass(hint)
    members = _members(hint)
    if members is not None:
        return _encoded_union(members)
    if get_origin(hint) is not None:
        return _encoded_generic(get_origin(hint), get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value: value.value
    return _plain_number if hint is float else _thawed if hint is Any else lambda value: value


def _encoded_generic(origin: Any, inner: tuple[Any, ...]) -> Coder:
    if origin is tuple:
        return _each(_encoder, inner, list)
    if origin is frozenset:
        one = _encoder(inner[0])
        return lambda value: sorted(one(each) for each in value)
    if origin is np.ndarray:
        return lambda value: [_plain_number(each) for each in value.tolist()]
    return _encoded_mapping(*inner)


def _encoded_dataclass(kind: Any) -> Coder:
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind) if each.init]
    coders: dict[str, Coder] = {}

    def encoded(value: Any) -> dict[str, Any]:
        if type(value) is not kind:
            raise BadValue(value, f"must be a {kind.__name__}")
        for name in names if not coders else ():  # at the first use: a dataclass may hold itself
            coders[name] = _encoder(hints[name])
        return {name: coders[name](getattr(value, name)) for name in names}

    return encoded


def _encoded_union(members: tuple[Any, ...]) -> Coder:
    tagged = sum(_is_dataclass(member) for member in members) > 1

    def encoded(value: Any) -> Any:
        if value is None:
            return None
        for member in members:
            if _is_dataclass(member) and isinstance(value, member):
                return ({TYPE: member.__name__} if tagged else {}) | _encoder(member)(value)
        return _encoder(next(member for member in members if not _is_dataclass(member)))(value)

    return encoded


def _encoded_mapping(key_hint: Any, value_hint: Any) -> Coder:
    key, one = _encoder(key_hint), _encoder(value_hint)
    if _is_plain(key_hint):
        return lambda value: {str(key(k)): one(v) for k, v in value.items()}
    return lambda value: [{"key": key(k), "value": one(v)} for k, v in value.items()]


@cache
def _decoder(hint: Any) -> Coder:
    if _is_dataclass(hint):
        return _decoded_dataclass(hint)
    members = _members(hint)
    if members is not None:
        return _decoded_union(members)
    if get_origin(hint) is not None:
        return _decoded_generic(get_origin(hint), get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decoded_enum(hint)
    return _SCALARS[hint]


def _decoded_generic(origin: Any, inner: tuple[Any, ...]) -> Coder:
    if origin is tuple:
        return _listed(_each(_decoder, inner, tuple))
    if origin is frozenset:
        return _listed(_each(_decoder, (inner[0], ...), frozenset))
    if origin is np.ndarray:
        numbers = _each(_decoder, (float, ...), list)
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
    kinds = {member.__name__: member for member in members if _is_dataclass(member)}
    others = [member for member in members if not _is_dataclass(member) and member is not type(None)]
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
        return types.MappingProxyType(
            dict(entry(int(k) if key_hint is int and _is_whole(k) else k, v, f"[{k}]") for k, v in value.items())
        )

    def of_list(value: Any) -> Any:
        if not isinstance(value, list) or any(not isinstance(e, dict) or set(e) != {"key", "value"} for e in value):
            raise BadValue(value, "must be a list of objects with `key` and `value`")
        return types.MappingProxyType(
            dict(entry(each["key"], each["value"], f"[{index}]") for index, each in enumerate(value))
        )

    return of_object if _is_plain(key_hint) else of_list


def _decoded_enum(kind: type[Enum]) -> Coder:
    known = {member.value: member for member in kind}

    def decoded(value: Any) -> Enum:
        if not isinstance(value, str | int) or value not in known:
            raise BadValue(value, f"must be one of {', '.join(map(str, known))}")
        return known[value]

    return decoded


def _each(coder: Callable[[Any], Coder], inner: tuple[Any, ...], make: Callable[[list[Any]], Any]) -> Coder:
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


def _listed(inner: Coder) -> Coder:
    def decoded(value: Any) -> Any:
        if not isinstance(value, list):
            raise BadValue(value, "must be a list")
        return inner(value)

    return decoded


def _is_dataclass(hint: Any) -> bool:
    return is_dataclass(hint)


def _members(hint: Any) -> tuple[Any, ...] | None:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else None


def _is_plain(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, str | int)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _plain_number(value: Any) -> Any:
    """A number of Python, as JSON has it; what JSON has no digits for is a word."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _thawed(value: Any) -> Any:
    """What users wrote in free fields: objects, lists and scalars of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _thawed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_thawed(each) for each in value]
    return _plain_number(value)


def _number(value: Any) -> Any:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(value, f"must be a number, or one of {', '.join(_SPECIAL)}")
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
