"""The policy benchmark from the command line.

    python -m benchmarks.policies [--scenario N] [--policy NAME] [--seeds 5] [--jobs 2] [--quick]

Finished plays are kept in benchmarks/.cache and taken from there as long as the code is the same: a run that was
stopped goes on. `--quick` plays a sixth of each scene but the first with two seeds and writes nothing into the results.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path

from benchmarks.policies import ablations, tuning
from benchmarks.policies.cache import CACHE, Cache
from benchmarks.policies.figures import Figures
from benchmarks.policies.markets import DEFAULT_DATA
from benchmarks.policies.plays import (
    CLAIRVOYANT,
    OURS,
    QUICKLY_PLAYED_REQUESTS,
    STATIC,
    Play,
    Variant,
    known,
    played,
    scene_named,
    worker_starts,
)
from benchmarks.policies.report import SceneResults, write_all, write_scenario
from benchmarks.policies.scenarios import scenes_of
from benchmarks.policies.scenes import Options, Scene, evaluation_seeds, tuning_seeds
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator import fast, laws

DECLARED = 0.99
QUICK_SHARE = 1 / 6
SECONDS_PER_REQUEST = 4e-6
SECONDS_PER_TICK = {"ours": 0.016, "law": 0.0015}
ByPolicy = dict[str, dict[Variant, list[Figures]]]
OPTIMUM_REPLAYS = 6
"""About so many schedules of each style are played to find the optimum of one seed."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies", description=__doc__)
    parser.add_argument("--scenario", type=int, help="1 to 11; all when left out")
    parser.add_argument("--policy", action="append", help="only this one (may be repeated); the optimum always plays")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tuning-seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--quick", action="store_true", help="a sixth of each scene, two seeds: does it work?")
    parser.add_argument("--spot-data", default=None, help="folder of the recorded spot markets; `none` = made ones")
    parser.add_argument("--estimate", action="store_true", help="say how long it would take, and end")
    args = parser.parse_args(argv)
    try:
        scenes = scenes_of(args.scenario)
        policies = asked_policies(args.policy)
        options = Options(spot_data(args.spot_data), QUICK_SHARE if args.quick else 1.0)
        seeds = evaluation_seeds(2 if args.quick else args.seeds)
    except (ValueError, FileNotFoundError) as refused:
        print(refused, file=sys.stderr)
        return 2
    run = Run(options, seeds, tuning_seeds(args.tuning_seeds), policies, max(1, args.jobs))
    print(run.estimate(scenes), flush=True)
    if args.estimate:
        return 0
    print(fast.notice() or "engines are compiled", flush=True)
    into = CACHE.parent / "quick" if args.quick else None
    everything = []
    with ProcessPoolExecutor(run.jobs, initializer=worker_starts) as pool:
        for scenario in sorted({scene.scenario for scene in scenes}):
            found = [run.scene(scene, pool) for scene in scenes if scene.scenario == scenario]
            write_scenario(scenario, found, run.about(), into)
            everything += found
    if args.scenario is None:
        write_all(everything, run.about(), into)
    return 0


def asked_policies(names: Sequence[str] | None) -> tuple[str, ...]:
    every = (OURS, *laws.LAWS)
    for name in names or ():
        if name not in every and not name.startswith(ablations.PREFIX):
            close = get_close_matches(name, every, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(every)}"
            raise ValueError(f"--policy {name}: no such policy; {hint}")
        if name.startswith(ablations.PREFIX):
            ablations.amendment(name)
    return tuple(names or every)


def spot_data(given: str | None) -> Path | None:
    """The folder that was named, else the usual one when it is there, else None."""
    if given == "none":
        return None
    if given is None:
        return DEFAULT_DATA if DEFAULT_DATA.exists() else None
    if not Path(given).is_dir():
        raise FileNotFoundError(f"--spot-data {given}: no such folder; give one that holds skypilot/, or `none`")
    return Path(given)


@dataclass(slots=True)
class Run:
    """One benchmark: which policies, on which seeds, in how many processes."""

    options: Options
    seeds: tuple[int, ...]
    tuning: tuple[int, ...]
    policies: tuple[str, ...]
    jobs: int
    cache: Cache = field(default_factory=Cache)
    _tuned: dict[str, ByPolicy] = field(default_factory=dict)

    def about(self) -> Mapping[str, str]:
        return {
            "seeds": ", ".join(map(str, self.seeds)),
            "tuning seeds": ", ".join(map(str, self.tuning)),
            "engines": fast.notice() or f"compiled by numba {version('numba')}",
            "spot markets": "recorded" if self.options.spot_data else "made after published statistics",
            **({"quick": "a sixth of each scene: figures say little"} if self.options.share < 1 else {}),
        }

    # -- one scene ---------------------------------------------------------------------------------------------------

    def scene(self, scene: Scene, pool: ProcessPoolExecutor) -> SceneResults:
        began = time.perf_counter()
        untuned = [Variant(CLAIRVOYANT), *(Variant(policy) for policy in self.policies)]
        tuned = self._tune(scene, pool)
        roles: dict[str, dict[str, Variant]] = {variant.policy: {"default": variant} for variant in untuned}
        for policy, by_role in self._roles(tuned, scene.matched).items():
            roles[policy].update(by_role)
        variants = list(dict.fromkeys(variant for by_role in roles.values() for variant in by_role.values()))
        found = self._play(scene.name, self.seeds, variants, pool, self.options)
        print(f"{scene.name}: {time.perf_counter() - began:.0f} s", flush=True)
        return SceneResults(
            scene=scene,
            roles={policy: {role: (variant, found[variant]) for role, variant in by_role.items()}
                   for policy, by_role in roles.items()},
        )  # fmt: skip

    def _roles(
        self, tuned: Mapping[str, Mapping[Variant, Sequence[Figures]]], with_matched: bool
    ) -> dict[str, dict[str, Variant]]:
        """Tuned to the declared attainment, and to what ours attained on the same tuning seeds."""
        ours = tuned.get(OURS)
        attained = tuning.point(Variant(OURS), ours[Variant(OURS)]).attainment if ours else DECLARED
        roles: dict[str, dict[str, Variant]] = {}
        for policy, results in tuned.items():
            if policy != OURS:
                roles[policy] = {"tuned": tuning.picked(results, DECLARED)}
                matching = tuning.matching(results, attained)
                if with_matched and matching is not None:
                    roles[policy]["matched"] = matching
        return roles

    def _tune(self, scene: Scene, pool: ProcessPoolExecutor) -> Mapping[str, Mapping[Variant, Sequence[Figures]]]:
        """Results of every setting on the tuning seeds, by policy; of another scene where that one stands for it."""
        name = tuning.tuned_scene(scene)
        if name in self._tuned:
            return self._tuned[name]
        policies = [policy for policy in self.policies if policy in tuning.tunable()]
        if not policies:
            return {}
        grids = {policy: tuning.grid(policy) for policy in policies}
        every = [Variant(OURS), *(variant for grid in grids.values() for variant in grid)]
        options = replace(self.options, share=self.options.share * scene_named(name).tuning_share)
        found = self._play(name, self.tuning, every, pool, options)
        by_policy = {policy: {variant: found[variant] for variant in grid} for policy, grid in grids.items()}
        self._try_spot(name, by_policy, pool, options)
        self._try_under_spot_rule(name, by_policy, pool, options)
        by_policy[OURS] = {Variant(OURS): found[Variant(OURS)]}
        self._tuned[name] = by_policy
        return by_policy

    def _try_spot(self, name: str, by_policy: ByPolicy, pool: ProcessPoolExecutor, options: Options) -> None:
        """The best setting of each law once more where its node autoscaler may take spot."""
        stage = scene_named(name).stage(self.tuning[0], options)
        if not any(each.pool.capacity_type is CapacityType.SPOT for each in stage.pools):
            return
        best = [tuning.with_spot(tuning.picked(results, DECLARED)) for results in by_policy.values()]
        more = [variant for variant in best if variant is not None]
        for variant, figures in self._play(name, self.tuning, more, pool, options).items():
            by_policy[variant.policy][variant] = figures

    def _try_under_spot_rule(self, name: str, by_policy: ByPolicy, pool: ProcessPoolExecutor, options: Options) -> None:
        """SkyServe's spot rule over the law that did best."""
        under = {
            variant: figures
            for policy, results in by_policy.items()
            if policy not in (*tuning.CHOOSES_POOLS, *STATIC)
            for variant, figures in results.items()
            if not variant.with_spot
        }
        if tuning.OVER_ANOTHER not in by_policy or not under:
            return
        best = tuning.picked(under, DECLARED)
        more = [tuning.over(best, knobs) for knobs in laws.LAWS[tuning.OVER_ANOTHER].grid]
        by_policy[tuning.OVER_ANOTHER].update(self._play(name, self.tuning, more, pool, options))

    def _play(
        self,
        name: str,
        seeds: Sequence[int],
        variants: Iterable[Variant],
        pool: ProcessPoolExecutor,
        options: Options,
    ) -> dict[Variant, list[Figures]]:
        """Every variant on every seed; seed by seed, so that processes build each stage once."""
        wanted = list(dict.fromkeys(variants))
        plays = {(seed, variant): Play(name, seed, variant, options) for seed in seeds for variant in wanted}
        found = {at: figures for at, play in plays.items() if (figures := known(play, self.cache)) is not None}
        running = {pool.submit(played, play): at for at, play in plays.items() if at not in found}
        for number, done in enumerate(as_completed(running), 1):
            at = running[done]
            found[at] = done.result()
            seed, variant = at
            print(
                f"  {name} {number}/{len(running)} {variant.policy} [{variant.label()}] seed {seed}: "
                f"{100 * found[at].attainment:.2f} %, {found[at].dollars:.2f} $, {found[at].wall_s:.1f} s",
                flush=True,
            )
        return {variant: [found[seed, variant] for seed in seeds] for variant in wanted}

    # -- how long it takes -------------------------------------------------------------------------------------------

    def estimate(self, scenes: Sequence[Scene]) -> str:
        tunable = [policy for policy in self.policies if policy in tuning.tunable()]
        points = sum(len(tuning.grid(policy)) for policy in tunable)
        share = self.options.share
        total = 0.0
        for scene in scenes:
            law_s = share * (scene.requests * SECONDS_PER_REQUEST + scene.ticks * SECONDS_PER_TICK["law"])
            ours_s = share * (scene.requests * SECONDS_PER_REQUEST + scene.ticks * SECONDS_PER_TICK["ours"])
            styles = 1 if scene.requests > QUICKLY_PLAYED_REQUESTS else 2
            evaluated = len(self.policies) + (1.5 if scene.matched else 1) * len(tunable) + OPTIMUM_REPLAYS * styles
            ours = sum(policy == OURS or policy.startswith(ablations.PREFIX) for policy in self.policies)
            total += len(self.seeds) * (evaluated * law_s + ours * ours_s)
            if scene.tuned_on is None:
                total += scene.tuning_share * len(self.tuning) * (points * law_s + ours_s)
        minutes = math.ceil(total / self.jobs / 60)
        return f"about {minutes} minutes in {self.jobs} processes when nothing is in the cache"
