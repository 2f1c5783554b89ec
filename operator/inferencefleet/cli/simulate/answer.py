"""The replays: every policy on the same stage with the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from inferencefleet.catalog.errors import closest
from inferencefleet.cli.refusal import refuse
from inferencefleet.cli.simulate.world import planned_per_s
from inferencefleet.domain.fleet import Fleet
from inferencefleet.simulator.laws import LAWS, NEEDED, start
from inferencefleet.simulator.ours import Ours
from inferencefleet.simulator.policy import Policy
from inferencefleet.simulator.replay import FleetReplayed, Replayed, Stage, replay
from inferencefleet.simulator.servers import ServersFactory
from inferencefleet.simulator.truth import Truth

OURS = "ours"
PEAK, MEAN = "static-peak", "static-mean"
MINUTE_S = 60.0
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """One replay for each policy, the first is the one that was asked for."""

    stage: Stage
    truth: Truth
    seed: int
    runs: tuple[Replayed, ...]
    notes: tuple[str, ...]

    @property
    def fleet(self) -> Fleet:
        return self.stage.fleets[0].fleet

    @property
    def hours(self) -> float:
        return (self.stage.duration_s - self.stage.warm_up_s) / 3600


def one(run: Replayed) -> FleetReplayed:
    """The fleet of a replay: there is one on the stage."""
    return run.fleets[0]


def policies() -> dict[str, str]:
    """Name and sentence of everything that `--policy` takes; what needs more than a name is left out."""
    known = {OURS: "this operator's planner, the same code as in the cluster"}
    for name, law in LAWS.items():
        if name in (PEAK, MEAN) or NEEDED not in law.knobs.values():
            known[name] = law.sentence
    return known


def check_policies(names: Sequence[str]) -> None:
    known = policies()
    for name in names:
        if name not in known:
            near = closest(name, known, count=1)[0]
            raise refuse("--policy", name, f"there is no such policy; closest: {near} (known: {', '.join(known)})")


def simulate(
    stage: Stage,
    truth: Truth,
    names: Sequence[str],
    *,
    engines: ServersFactory,
    seed: int,
    progress: Progress,
    notes: Sequence[str] = (),
) -> Simulated:
    """Everything but the policy is the same for all of them: arrivals, clouds, engines and chance."""
    runs = tuple(
        replay(
            stage,
            _policy(name, stage),
            engines=engines,
            seed=seed,
            progress=lambda share, name=name: progress(name, share),  # type: ignore[misc]
        )
        for name in names
    )
    return Simulated(stage=stage, truth=truth, seed=seed, runs=runs, notes=tuple(notes))


def _policy(name: str, stage: Stage) -> Policy:
    if name == OURS:
        return Ours()
    if name in (PEAK, MEAN):
        return start(name, replicas=static_size(stage, name))
    return start(name)


def static_size(stage: Stage, name: str) -> int:
    """Replicas for the busiest minute, or for the mean, by the same physics that the operator starts from."""
    staged = stage.fleets[0]
    minutes = max(1, ceil(float(staged.arrivals.arrival_s[-1]) / MINUTE_S))
    counts = np.bincount((staged.arrivals.arrival_s // MINUTE_S).astype(np.int64), minlength=minutes)
    rate = float(counts.max() if name == PEAK else counts.mean()) / MINUTE_S
    return max(1, ceil(rate / planned_per_s(staged.fleet, [each.pool for each in stage.pools])))
