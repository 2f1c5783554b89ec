"""What the flags of `what-if` accept beside those that all commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from inferencefleet.cli.flags import Above

LARGEST = 1e6


@dataclass(frozen=True, slots=True)
class Rate:
    """A factor on what arrives, or requests per second."""

    value: float
    is_factor: bool

    def __str__(self) -> str:
        return f"x{self.value:g}" if self.is_factor else f"{self.value:g} requests/s"


class Times(click.ParamType[float]):
    """`x4` -> 4.0."""

    name = "xN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        if not text.startswith("x"):
            self.fail(f"{value!r}: write a factor, for example x2 or x0.5", param, ctx)
        return Above(1e-3, 1e3, unit="a factor").convert(text[1:], param, ctx)


class Factor(click.ParamType[Rate]):
    """`x2`, or `20` requests per second."""

    name = "xN|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Rate:
        if isinstance(value, Rate):
            return value
        text = str(value).strip().lower()
        if text.startswith("x"):
            return Rate(Times().convert(text, param, ctx), is_factor=True)
        return Rate(Above(1e-6, LARGEST, unit="requests/s (or a factor, as x2)").convert(text, param, ctx), False)


class Named(click.ParamType[tuple[str, float]]):
    """`spot=2.5`."""

    name = "POOL=N"

    def __init__(self, of: click.ParamType[float]) -> None:
        self._of = of

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        pool, equals, number = str(value).partition("=")
        if not equals or not pool.strip():
            self.fail(f"{value!r}: write POOL=NUMBER, for example spot=2.5", param, ctx)
        return pool.strip(), self._of.convert(number, param, ctx)
