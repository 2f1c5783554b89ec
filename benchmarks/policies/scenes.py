"""What a scenario is made of, and how its seeds are kept apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

from benchmarks.policies.cast import Cut, fleet, truth
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.replay.stage import Stage, StageFleet, StagePool, kinds_of
from inferencefleet.simulator.servers import Arrivals
from inferencefleet.simulator.truth import Truth

PLANNED_SHARE = 0.7
"""Of what a replica takes: how many are there when a replay begins."""
SHORTEST_S = 600.0
TUNING_SEEDS_FROM = 500
"""Seeds below are for evaluation, from here on for tuning: no law is judged on traffic it was tuned on."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run of the benchmark decides for all scenes."""

    spot_data: Path | None = None
    share: float = 1.0
    """Of the time of each scene: less shows that everything works and says little."""

    def shortened(self, lasts_s: float) -> float:
        return max(min(SHORTEST_S, lasts_s), lasts_s * self.share)


@dataclass(frozen=True, slots=True)
class Published:
    """What a project published of its own law on this very scene, on real GPUs."""

    policy: str
    attainment: float
    mean_replicas: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One stage for each seed; a scenario of the benchmark is one or several scenes."""

    scenario: int
    name: str
    sentence: str
    build: Callable[[int, Options], Stage]
    most_over_optimum: float | None = 1.10
    """Aim: dollars over those of the optimum."""
    tuned_on: str | None = None
    """Another scene of the scenario whose tuning is taken over; None = its own."""
    tuning_share: float = 1.0
    """Of its time that each setting of the grid is played."""
    matched: bool = True
    """Laws are also played with the setting that attains as much as ours; False saves the time."""
    published: Published | None = None
    requests: int
    """About so many in one replay; for the estimate of time."""
    ticks: int

    def stage(self, seed: int, options: Options) -> Stage:
        # Scenes must not share their randomness, or the luck of one would be the luck of all.
        return self.build(1_000 * (crc32(self.name.encode()) % 1_000_003) + seed, options)


def evaluation_seeds(count: int) -> tuple[int, ...]:
    if not 1 <= count < TUNING_SEEDS_FROM:
        raise ValueError(f"seeds={count}: at least 1 and below {TUNING_SEEDS_FROM}, where the seeds for tuning begin")
    return tuple(range(1, count + 1))


def tuning_seeds(count: int) -> tuple[int, ...]:
    return tuple(range(TUNING_SEEDS_FROM, TUNING_SEEDS_FROM + count))


def actor(
    cut: Cut,
    traffic: Arrivals,
    pools: tuple[StagePool, ...],
    seed: int,
    *,
    per_replica: float,
    first_per_s: float | None = None,
    name: str = "chat",
    factor: float = 1.0,
    changed: Callable[[Fleet], Fleet] = lambda fleet: fleet,
    **stage_fleet: object,
) -> StageFleet:
    """A fleet on the stage with enough replicas for its first ten minutes, reserved ones first."""
    rate = first_rate(traffic) if first_per_s is None else first_per_s
    declared = changed(fleet(cut, traffic, name, requests_per_s=round(rate, 3)))
    many = max(declared.scaling.min_replicas, math.ceil(rate / (PLANNED_SHARE * per_replica)))
    constants: Truth = truth(seed, factor)
    given: dict[str, object] = {"initial": spread(many, pools), **stage_fleet}
    bare = StageFleet(fleet=declared, arrivals=traffic, kinds=kinds_of(declared, pools, constants))
    return replace(bare, **given)  # type: ignore[arg-type]


def first_rate(traffic: Arrivals, over_s: float = 600.0) -> float:
    return float((traffic.arrival_s < over_s).sum()) / over_s


def spread(many: int, pools: tuple[StagePool, ...]) -> Mapping[str, int]:
    """Reserved nodes first, then on-demand; spot is for a policy to choose."""
    left, found = many, {}
    for kind in (CapacityType.RESERVED, CapacityType.ON_DEMAND):
        for each in pools:
            if each.pool.capacity_type is kind and left > 0:
                room = each.cloud.nodes if kind is CapacityType.RESERVED else each.cloud.max_nodes
                found[each.pool.name] = min(left, room)
                left -= found[each.pool.name]
    return {name: count for name, count in found.items() if count > 0}
