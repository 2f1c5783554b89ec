"""How many replicas a stage truly needs, minute by minute: what only the clairvoyant knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from benchmarks.policies import arrivals as making
from benchmarks.policies.capacity import targets_of, true_requests_per_s
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.simulator.replay.stage import Stage, StageFleet
from inferencefleet.simulator.servers import Arrivals, EngineKind, Floats, Integers, ServersFactory

STRETCHES = 28
"""Capacity is measured anew in each such part of the stage (six hours of a week), where its lengths differ."""
SHORTEST_STRETCH_S = 300.0
ALIKE = 0.08
"""Stretches whose mean lengths differ by less share one measurement."""


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """One fleet's traffic against what its replicas truly take."""

    step_s: float
    load: Floats
    """Replicas that the arrivals of each step would fill to the brim."""
    requests_per_s: float
    """What one replica takes of the stage's whole mix."""

    def replicas(self, utilisation: float, smoothed_steps: int = 1) -> Integers:
        """Whole replicas of each step at this utilisation; a queue of that many steps levels out the peaks."""
        level = self.load
        if smoothed_steps > 1:
            padded = np.concatenate([np.full(smoothed_steps - 1, level[0]), level])
            level = np.convolve(padded, np.full(smoothed_steps, 1 / smoothed_steps), mode="valid")
        return np.ceil(level / utilisation - 1e-9).astype(np.int64)


def needs(stage: Stage, engines: ServersFactory, seed: int) -> Mapping[FleetKey, Need]:
    """Of every fleet; steps of one tick or a minute, whatever is longer."""
    return {each.fleet.key: _need(stage, each, engines, seed) for each in stage.fleets}


def profiled(stage: Stage, found: Mapping[FleetKey, Need]) -> Stage:
    """The same stage on which policies that need a profile are given the true one."""
    fleets = []
    for each in stage.fleets:
        rate = found[each.fleet.key].requests_per_s
        fleets.append(replace(each, profiled_requests_per_s=dict.fromkeys(each.kinds, rate)))
    return replace(stage, fleets=tuple(fleets))


def _need(stage: Stage, each: StageFleet, engines: ServersFactory, seed: int) -> Need:
    kinds = set(each.kinds.values())
    if len(kinds) != 1:
        raise ValueError(
            f"stage {stage.name!r}: fleet {each.fleet.key} runs on {len(kinds)} kinds of replicas; the clairvoyant "
            "optimum counts replicas of one kind only, so give its pools one GPU type"
        )
    kind = next(iter(kinds))
    step_s = max(60.0, stage.period_s)
    steps = int(np.ceil(stage.duration_s / step_s))
    arrivals = np.bincount((each.arrivals.arrival_s / step_s).astype(np.int64), minlength=steps)[:steps]
    many = int(np.clip(stage.duration_s // SHORTEST_STRETCH_S, 1, STRETCHES))
    edges = np.linspace(0, stage.duration_s, many + 1)
    measured: list[tuple[float, float, float]] = []
    load = np.zeros(steps)
    at_s = (np.arange(steps) + 0.5) * step_s
    for from_s, to_s in pairwise(edges):
        here = making.window(each.arrivals, from_s, to_s)
        if len(here) > 0:
            rate = _measured(each, kind, here, measured, engines, seed)
            inside = (at_s >= from_s) & (at_s < to_s)
            load[inside] = arrivals[inside] / step_s / rate
    overall = true_rate(each, kind, each.arrivals, engines, seed)
    return Need(step_s, load, overall)


def _measured(
    each: StageFleet,
    kind: EngineKind,
    here: Arrivals,
    known: list[tuple[float, float, float]],
    engines: ServersFactory,
    seed: int,
) -> float:
    prompt, output = float(here.prompt_tokens.mean()), float(here.output_tokens.mean())
    for its_prompt, its_output, rate in known:
        if abs(prompt / its_prompt - 1) < ALIKE and abs(output / its_output - 1) < ALIKE:
            return rate
    rate = true_rate(each, kind, here, engines, seed)
    known.append((prompt, output, rate))
    return rate


def true_rate(each: StageFleet, kind: EngineKind, mix: Arrivals, engines: ServersFactory, seed: int) -> float:
    """Requests/s of one replica at this mix; one whose long requests miss at any load is held to less."""
    fleet = each.fleet
    lengths = lognormal_mix(
        prompt_mean=float(mix.prompt_tokens.mean()),
        prompt_p95=max(float(np.percentile(mix.prompt_tokens, 95)), 1.05 * float(mix.prompt_tokens.mean())),
        output_mean=float(mix.output_tokens.mean()),
        output_p95=max(float(np.percentile(mix.output_tokens, 95)), 1.05 * float(mix.output_tokens.mean())),
    )
    guess = replica_capacity(kind.shape, lengths, fleet.slos).requests_per_s or 0.2
    for attainment in (fleet.attainment, fleet.attainment - 0.02, fleet.attainment - 0.09):
        rate = true_requests_per_s(
            kind, mix, targets_of(fleet), attainment, engines=engines, seed=seed, guess=guess
        )  # fmt: skip
        if rate > 0:
            return rate
    raise ValueError(
        f"fleet {fleet.key}: no steady rate down to {guess / 10:.3g} requests/s of one replica meets its targets; "
        "the scene's targets are out of reach of its engines, so give it weaker ones"
    )
