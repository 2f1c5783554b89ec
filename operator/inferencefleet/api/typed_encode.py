"""The way out: dataclasses become what `json.dumps` takes; see `typed_json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from inferencefleet.api.typed_json import TYPE, BadValue, Coder, each_of, holds_fields, is_plain, members_of


def encode(value: Any, hint: Any) -> Any:
    """What `json.dumps` takes. `BadValue` where the value is not what its hint says."""
    return _encoder(hint)(value)


@cache
def _encoder(hint: Any) -> Coder:
    if holds_fields(hint):
        return _encoded_dataclass(hint)
    members = members_of(hint)
    if members is not None:
        return _encoded_union(members)
    if get_origin(hint) is not None:
        return _encoded_generic(get_origin(hint), get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value: value.value
    return _plain_number if hint is float else _thawed if hint is Any else lambda value: value


def _encoded_generic(origin: Any, inner: tuple[Any, ...]) -> Coder:
    if origin is tuple:
        return each_of(_encoder, inner, list)
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
    tagged = sum(holds_fields(member) for member in members) > 1

    def encoded(value: Any) -> Any:
        if value is None:
            return None
        for member in members:
            if holds_fields(member) and isinstance(value, member):
                return ({TYPE: member.__name__} if tagged else {}) | _encoder(member)(value)
        return _encoder(next(member for member in members if not holds_fields(member)))(value)

    return encoded


def _encoded_mapping(key_hint: Any, value_hint: Any) -> Coder:
    key, one = _encoder(key_hint), _encoder(value_hint)
    if is_plain(key_hint):
        return lambda value: {str(key(k)): one(v) for k, v in value.items()}
    return lambda value: [{"key": key(k), "value": one(v)} for k, v in value.items()]


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
