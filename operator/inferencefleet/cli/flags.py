"""What a flag accepts, in the units that people write: durations, memory, formats, lists. Refusals name the way out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar

import click

from inferencefleet.api.quantity import BadQuantity, parse_duration
from inferencefleet.catalog.errors import closest
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import Slo, SloMetric

PERCENTILES = (50, 90, 95, 99)
"""As in spec.slo: what the operator can check against Prometheus."""
Word = TypeVar("Word", bound=StrEnum)


class Duration(click.ParamType[float]):
    """`2s`, `60ms` -> seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            seconds = parse_duration(str(value).strip())
        except BadQuantity as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        if seconds <= 0:
            self.fail(f"{value!r}: no answer takes no time; write for example 60ms or 2s", param, ctx)
        return seconds


class Above(click.ParamType[float]):
    """A number that is at least (or more than) a bound."""

    name = "number"

    def __init__(self, least: float, most: float = math.inf, *, unit: str) -> None:
        self._least, self._most, self._unit = least, most, unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(str(value).replace(",", "").replace("_", ""))
        except ValueError:
            number = math.nan
        if not self._least <= number <= self._most or math.isinf(number):
            upper = f" and {self._most:g}" if math.isfinite(self._most) else " and up"
            self.fail(f"{value!r}: give {self._unit} between {self._least:g}{upper}", param, ctx)
        return number


class OneOf(click.ParamType[Word]):
    """A word of an enumeration; case does not matter."""

    def __init__(self, words: Iterable[Word], name: str) -> None:
        self._words, self.name = tuple(words), name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Word:
        known = {word.value.lower(): word for word in self._words}
        found = known.get(str(value).strip().lower())
        if found is None:
            near = closest(str(value), known, count=1)[0]
            every = ", ".join(word.value for word in self._words)
            self.fail(f"{value!r} is no {self.name}; closest: {known[near].value} (known: {every})", param, ctx)
        return found

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(word.value for word in self._words)


class Listed(click.ParamType[tuple[Any, ...]]):
    """Values with commas between; the flag may also be repeated."""

    def __init__(self, of: click.ParamType[Any]) -> None:
        self._of, self.name = of, of.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        if not words:
            self.fail("is empty: give at least one value, or leave the flag out", param, ctx)
        return tuple(self._of.convert(word, param, ctx) for word in words)


class TensorParallel(click.ParamType["int | str"]):
    """`auto`, or a number of GPUs."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value).strip().lower()
        if text == "auto":
            return text
        if not text.isdigit() or int(text) not in (1, 2, 4, 8):
            self.fail(f"{value!r}: a replica spans 1, 2, 4 or 8 GPUs of one node; or write auto", param, ctx)
        return int(text)


class SloText(click.ParamType[Slo]):
    """`ttft:p95:2s`."""

    name = "metric:pNN:target"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Slo:
        if isinstance(value, Slo):
            return value
        parts = str(value).strip().lower().replace("=", ":").split(":")
        if len(parts) != 3:
            self.fail(f"{value!r}: write metric:percentile:target, for example ttft:p95:2s or itl:p99:80ms", param, ctx)
        metric = OneOf(SloMetric, "metric").convert(parts[0], param, ctx)
        level = parts[1].removeprefix("p")
        if not level.isdigit() or int(level) not in PERCENTILES:
            self.fail(f"{value!r}: the percentile is one of p50, p90, p95, p99", param, ctx)
        return Slo(metric=metric, percentile=int(level), target_s=Duration().convert(parts[2], param, ctx))


FORMATS = OneOf(NumberFormat, "number format")
KV_FORMATS = OneOf((NumberFormat.BF16, NumberFormat.FP8), "format of a KV cache")
