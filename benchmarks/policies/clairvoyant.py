"""The cheapest dollars at which the declared attainment can be had by one who knows the future and the true constants.

Replicas of one kind are levels: the j-th one is needed in the minutes in which at least j are. Each level is a renting
problem of its own with a known future, and levels are nested, so that solving each alone is optimal for all: a level
keeps its replica through a gap that is not longer than what giving it back and buying it again would be billed for
(its idle time, and the cold start before it serves). Reserved nodes are paid already and come first; spot is taken
while its record has nodes; what must be bought during a stock-out is bought before it.

How much of a replica may be used is not known from a formula: the schedule is played, and the utilisation bisected
until the attainment is just the declared one. The dollars of that play are what is reported. They are attained, so they
are an upper estimate of the true lower bound; no cheaper schedule of this form was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.policies.need import Need
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.policy import Sight, Targets
from inferencefleet.simulator.replay.stage import Delay, Stage, StageFleet, StagePool
from inferencefleet.simulator.servers import Integers

LEAST_UTILISATION, MOST_UTILISATION = 0.45, 1.55
BISECTIONS = 6
Booleans = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """A policy that looks nothing up but the clock."""

    step_s: float
    asked: Mapping[FleetKey, Mapping[str, Integers]]
    """Replicas by fleet and pool in each step."""
    name: str = "clairvoyant"

    def decide(self, sight: Sight) -> Mapping[FleetKey, Targets]:
        return {
            key: {
                pool: int(counts[min(int(sight.at_s / self.step_s), counts.size - 1)]) for pool, counts in pools.items()
            }
            for key, pools in self.asked.items()
        }


@dataclass(frozen=True, slots=True)
class Style:
    """What else can be varied about a schedule."""

    smoothed_steps: int = 1
    spot: bool = True


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one schedule."""

    utilisation: float
    style: Style
    attainment: float
    dollars: float


def schedule(stage: Stage, needs: Mapping[FleetKey, Need], utilisation: float, style: Style) -> Schedule:
    """Fleets in the order of their priorities, each from what those before it left of every pool."""
    for each in stage.pools:
        for fleet in stage.fleets:
            kind = fleet.kinds.get(each.pool.name)
            if kind is not None and kind.shape.tensor_parallel != each.pool.gpus_per_node:
                raise ValueError(
                    f"pool {each.pool.name!r}: {each.pool.gpus_per_node} GPUs a node and replicas of "
                    f"{kind.shape.tensor_parallel}; the optimum counts nodes of one replica, so make them equal"
                )
    first = next(iter(needs.values()))
    left = {each.pool.name: _available(each, first.step_s, first.load.size) for each in stage.pools}
    asked: dict[FleetKey, dict[str, Integers]] = {}
    for fleet in sorted(stage.fleets, key=lambda each: (-each.fleet.priority, each.fleet.key)):
        alone = len(stage.fleets) == 1
        asked[fleet.fleet.key] = _one_fleet(stage, fleet, needs[fleet.fleet.key], utilisation, style, left, alone)
    return Schedule(first.step_s, asked)


def _one_fleet(
    stage: Stage,
    fleet: StageFleet,
    need: Need,
    utilisation: float,
    style: Style,
    left: dict[str, Integers],
    alone: bool,
) -> dict[str, Integers]:
    terms = fleet.fleet.scaling
    unmet = np.clip(need.replicas(utilisation, style.smoothed_steps), terms.min_replicas, terms.max_replicas)
    asked: dict[str, Integers] = {}
    for each in sorted(stage.pools, key=lambda each: (each.pool.marginal_price_per_gpu_hour, each.pool.name)):
        name, kind = each.pool.name, each.pool.capacity_type
        if name not in fleet.kinds or (kind is CapacityType.SPOT and not style.spot):
            asked[name] = np.zeros_like(unmet)
            continue
        there = left[name]
        reachable = there.copy()
        lead = math.ceil(_lead_s(each, fleet.start_up) / need.step_s)
        # Nothing that is bought at the beginning serves before it is up: until then there is what was there.
        reachable[:lead] = np.minimum(reachable[:lead], fleet.initial.get(name, 0))
        serving = np.minimum(unmet, reachable)
        if kind is CapacityType.RESERVED and alone:
            # It is paid; an idle replica costs nothing more.
            asked[name] = np.minimum(there, terms.max_replicas)
        else:
            asked[name] = np.minimum(kept(serving, each, fleet.start_up, need.step_s), there)
        left[name] = there - asked[name]
        asked[name] = _through_losses(asked[name], there)
        unmet = unmet - serving
    return asked


def _through_losses(asked: Integers, there: Integers) -> Integers:
    """Nothing is given back in the step in which nodes go, or replicas that would stay might be chosen for it."""
    goes = np.concatenate([[False], np.diff(there) < 0])
    before = np.concatenate([asked[:1], asked[:-1]])
    return np.where(goes, np.maximum(asked, before), asked)


def _lead_s(pool: StagePool, start_up: Delay) -> float:
    """From asking to serving, with nineteen chances in twenty."""
    reserved = pool.pool.capacity_type is CapacityType.RESERVED
    return start_up.p95_s + (0.0 if reserved else pool.cloud.provisioning.p95_s)


def kept(wanted: Integers, pool: StagePool, start_up: Delay, step_s: float) -> Integers:
    """Replicas to ask for in each step, so that `wanted` are ready in each and the bill is the least."""
    lead_s = _lead_s(pool, start_up)
    idle_s = 0.0 if pool.pool.capacity_type is CapacityType.RESERVED else pool.cloud.idle_removal_s
    lead = math.ceil(lead_s / step_s)
    worth_keeping = math.floor((lead_s + idle_s) / step_s)
    out_of_stock = np.zeros(wanted.size, dtype=np.bool_)
    for span in pool.cloud.stock_outs:
        out_of_stock[int(span.from_s // step_s) : math.ceil(span.to_s / step_s)] = True
    asked = np.zeros(wanted.size, dtype=np.int64)
    for level in range(1, int(wanted.max(initial=0)) + 1):
        asked += _level(wanted >= level, lead, worth_keeping, out_of_stock)
    return asked


def _level(on: Booleans, lead: int, worth_keeping: int, out_of_stock: Booleans) -> Integers:
    """One replica's life: asked early enough, kept through short gaps, bought before a stock-out."""
    held = np.zeros(on.size, dtype=np.int64)
    until = -1
    for begin, end in _runs(on):
        if until >= 0 and begin - until <= worth_keeping:
            first = until
        else:
            first = max(0, begin - lead)
            while first > 0 and out_of_stock[first]:
                first -= 1
        held[first:end] = 1
        until = end
    return held


def _runs(on: Booleans) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _available(each: StagePool, step_s: float, steps: int) -> Integers:
    """Nodes that can be held in each step; a step in which some go counts as without them."""
    cloud = each.cloud
    if each.pool.capacity_type is CapacityType.RESERVED:
        there = np.full(steps, cloud.nodes, dtype=np.int64)
        for loss in cloud.losses:
            back = steps if loss.back_s is None else math.ceil(loss.back_s / step_s)
            there[int(loss.at_s // step_s) : back] -= loss.nodes
        return np.maximum(there, 0)
    there = np.full(steps, cloud.max_nodes, dtype=np.int64)
    if cloud.availability is not None:
        times = np.asarray(cloud.availability.at_s)
        counts = np.asarray(cloud.availability.nodes)
        for step in range(steps):
            first = max(0, int(np.searchsorted(times, step * step_s, side="right")) - 1)
            last = max(first, int(np.searchsorted(times, (step + 1) * step_s, side="left")) - 1)
            there[step] = min(cloud.max_nodes, int(counts[first : last + 1].min()))
    return there


def optimum(play: Callable[[float, Style], tuple[float, float]], declared: float, styles: tuple[Style, ...]) -> Played:
    """The cheapest play that attains what is declared; when none does, the one that attains most.

    `play` gives attainment and dollars of a schedule at a utilisation.
    """
    plays: list[Played] = []

    def tried(utilisation: float, style: Style) -> Played:
        played = Played(utilisation, style, *play(utilisation, style))
        plays.append(played)
        return played

    for style in styles:
        low, high = LEAST_UTILISATION, MOST_UTILISATION
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if tried(middle, style).attainment >= declared:
                low = middle
            else:
                high = middle
        if low == LEAST_UTILISATION:
            tried(low, style)
    enough = [played for played in plays if played.attainment >= declared]
    if enough:
        return min(enough, key=lambda each: (each.dollars, each.utilisation))
    return min(plays, key=lambda each: (-each.attainment, each.dollars))
