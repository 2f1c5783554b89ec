"""Bad input in words: field, value, rule and a way out. For what the API server cannot see, or did not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from inferencefleet.domain.fleet import Problem

INVALID = "InvalidSpec"
"""The general code; special ones are UnknownModel, UnsupportedArchitecture and UnknownGPU."""


def problem(field: str, value: object, sentence: str, code: str = INVALID) -> Problem:
    return Problem(code=code, field=field, value=_short(value), sentence=sentence)


def from_validation(error: ValidationError, resource: str) -> tuple[Problem, ...]:
    """What the schema says, one problem for each field; `resource` is the name for `kubectl explain`."""
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        field = path(detail["loc"])
        missing = detail["type"] == "missing"
        value = "" if missing else detail["input"]
        rule = "is required" if missing else _rule(detail["msg"])
        way_out = f"kubectl explain {resource}.{_without_indices(detail['loc'])} shows what belongs there."
        found.setdefault(field, problem(field, value, f"{rule}; {way_out}"))
    return tuple(found.values())


def path(loc: Iterable[int | str]) -> str:
    """`("spec", "slo", 0, "target")` -> `spec.slo[0].target`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _rule(message: str) -> str:
    """Pydantic's sentence without its jargon."""
    plain = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return plain[:1].lower() + plain[1:]


def _without_indices(loc: Iterable[int | str]) -> str:
    return ".".join(part for part in loc if isinstance(part, str))


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, str) else repr(value)  # an enumeration's word, not how Python writes it
    return text if len(text) <= 100 else f"{text[:97]}..."
