"""How far the simulated engines are off the operator's prior: given, or drawn as it was measured."""

from __future__ import annotations

from dataclasses import fields
from random import Random
from typing import Any

import click

from inferencefleet.catalog.errors import closest
from inferencefleet.cli.flags import Above
from inferencefleet.simulator.truth import Truth

SPREADS = {"memory": (0.97, 0.07), "compute": (1.05, 0.06), "overhead": (0.89, 0.18)}
"""Mean and standard deviation of the factors over 47 measured deployments; see `simulator.truth`."""
MOST_DEVIATIONS = 2.0
PRIOR = "prior"


class TruthFactors(click.ParamType[dict[str, float]]):
    """`memory=1.1,compute=0.95`, or `prior`."""

    name = "NAME=FACTOR,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        known = [field.name for field in fields(Truth)]
        found: dict[str, float] = {}
        for part in str(value).split(",") if str(value).strip() != PRIOR else ():
            name, equals, number = part.strip().partition("=")
            if not equals or name not in known:
                near = closest(name, known, count=1)[0]
                self.fail(f"{part!r}: write NAME=FACTOR, closest: {near} (known: {', '.join(known)})", param, ctx)
            found[name] = Above(0.0, 10.0, unit="a factor").convert(number, param, ctx)
        return found


def truth(given: dict[str, float] | None, seed: int) -> Truth:
    """Drawn where nothing is given; what is given leaves the rest at the prior."""
    if given is not None:
        return Truth(**given)
    chance = Random(f"{seed}:truth")
    drawn = {}
    for name, (mean, deviation) in SPREADS.items():
        off = min(MOST_DEVIATIONS, max(-MOST_DEVIATIONS, chance.gauss(0.0, 1.0)))
        drawn[name] = mean + off * deviation
    return Truth(**drawn)


def described(found: Truth) -> str:
    """`times of memory x0.97, compute x1.05, overhead x0.89 of what the operator believes at first`"""
    said = ", ".join(f"{name} x{getattr(found, name):.2f}" for name in SPREADS)
    cache = f", KV cache x{found.kv_cache:.2f}" if found.kv_cache != 1 else ""
    return f"times of {said}{cache} of what the operator believes at first"
