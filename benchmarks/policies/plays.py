"""One play: a policy with its knobs on a scene with a seed, from the cache or by replay."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.policies import ablations
from benchmarks.policies.cache import Cache, key_of
from benchmarks.policies.clairvoyant import Style, optimum, schedule
from benchmarks.policies.figures import Figures, figures
from benchmarks.policies.need import Need, needs, profiled
from benchmarks.policies.scenarios import SCENES
from benchmarks.policies.scenes import Options, Scene
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator import fast, laws
from inferencefleet.simulator.ours import Ours
from inferencefleet.simulator.policy import Policy, Sight, Targets
from inferencefleet.simulator.replay import Stage, replay

OURS, CLAIRVOYANT = "ours", "clairvoyant"
STATIC = ("static-peak", "static-mean")
STATIC_UTILISATION = 0.85
"""Whoever sizes a fixed fleet by the recorded peak leaves this much room for what was not recorded."""
SMOOTHED_STEPS = 3
QUICKLY_PLAYED_REQUESTS = 700_000
"""Of longer scenes only one style of schedules is searched for the optimum."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A policy with its knobs; no knobs are the published defaults."""

    policy: str
    knobs: tuple[tuple[str, Any], ...] = ()
    with_spot: bool = False
    """The node autoscaler may choose spot for what the law asks for."""

    @staticmethod
    def of(policy: str, knobs: Mapping[str, Any]) -> Variant:
        return Variant(policy, tuple(knobs.items()))

    def label(self) -> str:
        said = [f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in self.knobs]
        return ", ".join([*said, *(["spot allowed"] if self.with_spot else [])]) or "default"

    @property
    def ours(self) -> bool:
        return self.policy == OURS or self.policy.startswith(ablations.PREFIX)


@dataclass(frozen=True, slots=True)
class Play:
    """What a process is told to do; small and picklable."""

    scene: str
    seed: int
    variant: Variant
    options: Options

    def described(self) -> dict[str, Any]:
        return {
            "policy": self.variant.policy,
            "seed": self.seed,
            "knobs": dict(self.variant.knobs),
            "with_spot": self.variant.with_spot,
            **_described(self.options),
        }


def _described(options: Options) -> dict[str, Any]:
    return {"share": options.share, "recorded_markets": options.spot_data is not None}


def known(play: Play, cache: Cache) -> Figures | None:
    """From an earlier run of the same code."""
    found = cache.get(key_of(play.variant.ours), play.scene, play.described())
    return None if found is None else Figures.from_json(found)


def played(play: Play, cache: Cache | None = None) -> Figures:
    """From the cache, or now."""
    store = cache or Cache()
    found = known(play, store)
    if found is not None:
        return found
    stage, need = prepared(play.scene, play.seed, play.options)
    result = _optimum(play, stage, need) if play.variant.policy == CLAIRVOYANT else _policy(play, stage, need)
    store.put(key_of(play.variant.ours), play.scene, play.described(), result.as_json())
    return result


@lru_cache(maxsize=2)
def prepared(name: str, seed: int, options: Options) -> tuple[Stage, Mapping[FleetKey, Need]]:
    """The stage with the profile that it gives to those who need one, and what it truly takes."""
    scene = scene_named(name)
    stage = scene.stage(seed, options)
    store, code = Cache(), key_of(ours=False)
    what = {"policy": "need", "seed": seed, **_described(options)}
    cached = store.get(code, name, what)
    if cached is None:
        found = needs(stage, fast.servers, seed)
        store.put(code, name, what, {str(key): _plain(need) for key, need in found.items()})
    else:
        found = {each.fleet.key: _need(cached[str(each.fleet.key)]) for each in stage.fleets}
    return profiled(stage, found), found


def _plain(need: Need) -> dict[str, Any]:
    return {"step_s": need.step_s, "load": need.load.tolist(), "requests_per_s": need.requests_per_s}


def _need(values: Mapping[str, Any]) -> Need:
    return Need(values["step_s"], np.array(values["load"]), values["requests_per_s"])


def scene_named(name: str) -> Scene:
    return next(scene for scene in SCENES if scene.name == name)


def _policy(play: Play, stage: Stage, need: Mapping[FleetKey, Need]) -> Figures:
    if play.variant.with_spot:
        stage = replace(stage, any_capacity_types=(*stage.any_capacity_types, CapacityType.SPOT))
    policy = policy_of(play.variant, need)
    began = time.perf_counter()
    result = replay(stage, policy, engines=fast.servers, seed=play.seed)
    return figures(stage, result, time.perf_counter() - began)


def policy_of(variant: Variant, need: Mapping[FleetKey, Need]) -> Policy:
    """A fresh policy."""
    if variant.policy == OURS:
        return Ours()
    if variant.ours:
        return Ours(variant.policy, amend=ablations.amendment(variant.policy))
    if variant.policy in STATIC:
        return Apart(
            variant.policy,
            {key: laws.start(variant.policy, replicas=static_size(variant.policy, each)) for key, each in need.items()},
        )
    return laws.start(variant.policy, **dict(variant.knobs))


def static_size(policy: str, need: Need) -> int:
    """Replicas of somebody who knows the whole traffic, but only as one number."""
    at_once = need.load.max() if policy == "static-peak" else need.load.mean()
    return max(1, int(np.ceil(at_once / STATIC_UTILISATION)))


@dataclass(frozen=True, slots=True)
class Apart:
    """Each fleet under a policy of its own."""

    name: str
    policies: Mapping[FleetKey, Policy]

    def decide(self, sight: Sight) -> Mapping[FleetKey, Targets]:
        decided: dict[FleetKey, Targets] = {}
        for key, policy in self.policies.items():
            alone = replace(sight, fleets=tuple(seen for seen in sight.fleets if seen.fleet.key == key))
            decided.update(policy.decide(alone))
        return decided


def _optimum(play: Play, stage: Stage, need: Mapping[FleetKey, Need]) -> Figures:
    best: dict[tuple[float, Style], Figures] = {}

    def tried(utilisation: float, style: Style) -> tuple[float, float]:
        began = time.perf_counter()
        result = replay(stage, schedule(stage, need, utilisation, style), engines=fast.servers, seed=play.seed)
        found = figures(stage, result, time.perf_counter() - began, {"utilisation": utilisation, **_styled(style)})
        best[utilisation, style] = found
        return found.attainment, found.dollars

    declared = stage.fleets[0].fleet.attainment
    chosen = optimum(tried, declared, styles(stage))
    return best[chosen.utilisation, chosen.style]


def styles(stage: Stage) -> tuple[Style, ...]:
    many = sum(len(each.arrivals) for each in stage.fleets)
    spot = any(each.pool.capacity_type is CapacityType.SPOT for each in stage.pools)
    if many > QUICKLY_PLAYED_REQUESTS:
        return (Style(SMOOTHED_STEPS, spot),)
    return (Style(SMOOTHED_STEPS, spot), Style(1, spot), *((Style(SMOOTHED_STEPS, False),) if spot else ()))


def _styled(style: Style) -> dict[str, Any]:
    return {"smoothed_steps": style.smoothed_steps, "spot": style.spot}


def worker_starts() -> None:
    """Each process plays on one core."""
    os.environ["OMP_NUM_THREADS"] = "1"
