"""Time of `plan(snapshot)` alone: no cluster, no network, one core."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from benchmarks.paper import Table, median, milliseconds, quantile
from inferencefleet.domain.fleet import ExpectedTraffic
from inferencefleet.domain.pool import CapacityType
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot
from inferencefleet.physics import capacity
from inferencefleet.physics.remembered import Remembered
from inferencefleet.planning import decide as decide_module
from inferencefleet.planning.plan import plan
from tests.builders import a_fleet, a_mix, a_pool, a_pool_state, a_snapshot, a_state, metrics, replicas

STEPS = ("estimate", "size", "forecast", "place", "run_guards", "reshape", "_explained")
PERIOD_S = 15.0
LIMIT_GPUS = 10**6
"""Nobody reaches it, and it has to be watched."""
STEADY, CHANGING = "lengths as in the tick before", "lengths of every fleet change in every tick"


@dataclass(slots=True)
class Measured:
    """Seconds of each repetition."""

    fleets: int
    lengths: str
    first_s: float
    again_s: list[float] = field(default_factory=list)
    steps_s: dict[str, float] = field(default_factory=dict)
    """Share of each step in the repetitions, summed."""


def measure(fleets: int, lengths: str, *, repetitions: int, seed: int) -> Measured:
    """The first plan, then one for each period that follows, with the memory of the one before."""
    snapshots = Ticks(fleets, lengths == CHANGING, random.Random(seed))
    nothing: Remembered[Any, Any] = Remembered(most=capacity.REMEMBERED)
    with patch.object(capacity, "_ANSWERED", nothing), steps_timed() as spent:
        snapshot = snapshots.next({})
        began = time.perf_counter()
        decided = plan(snapshot)
        found = Measured(fleets, lengths, time.perf_counter() - began)
        spent.update(dict.fromkeys(STEPS, 0.0))
        for _ in range(repetitions):
            snapshot = snapshots.next(decided.memory)
            began = time.perf_counter()
            decided = plan(snapshot)
            found.again_s.append(time.perf_counter() - began)
    found.steps_s = dict(spent)
    assert all(each.pools and not each.problems for each in decided.fleets), "the benchmark plans refusals"
    return found


class Ticks:
    """Snapshots of one installation, a period apart: fleets of 2 to 8 ready replicas in three pools with limits."""

    def __init__(self, fleets: int, changing: bool, chance: random.Random) -> None:
        self._changing = changing
        self._chance = chance
        self._at_s = 1_800_000_000.0
        self._pools = tuple(
            a_pool_state(a_pool(name, kind, max_gpus=LIMIT_GPUS))
            for name, kind in (
                ("on-demand", CapacityType.ON_DEMAND),
                ("reserved", CapacityType.RESERVED),
                ("spot", CapacityType.SPOT),
            )
        )
        self._states = [self._state(number) for number in range(fleets)]

    def _state(self, number: int) -> FleetState:
        rate = self._chance.uniform(3, 20)
        fleet = a_fleet(f"fleet-{number:04}", rps=rate, expected=self._traffic(rate))
        ready = max(2, round(rate / 2.5))
        return a_state(
            fleet,
            replicas("reserved", ready, prefix=f"{number}-ready"),
            replicas("spot", 1, prefix=f"{number}-spot"),
            seen=metrics(rps=rate, engines=ready + 1),
        )

    def _traffic(self, rate: float) -> ExpectedTraffic:
        lengths = a_mix.__wrapped__(self._chance.uniform(800, 1600), self._chance.uniform(150, 300))
        return ExpectedTraffic(requests_per_s=rate, lengths=lengths)

    def next(self, memory: Any) -> Snapshot:
        self._at_s += PERIOD_S
        states = [self._moved(state) for state in self._states]
        kept: dict[Any, FleetMemory] = dict(memory)
        return a_snapshot(*states, pools=self._pools, memory=kept, at_s=self._at_s)

    def _moved(self, state: FleetState) -> FleetState:
        from dataclasses import replace

        rate = state.fleet.expected.requests_per_s * self._chance.uniform(0.95, 1.05)
        seen = metrics(rps=rate, engines=len(state.replicas), at_s=self._at_s - 2)
        fleet = state.fleet
        if self._changing:
            fleet = replace(fleet, expected=self._traffic(fleet.expected.requests_per_s))
        return replace(state, fleet=fleet, metrics=seen)


@contextmanager
def steps_timed() -> Iterator[dict[str, float]]:
    """Wraps the steps where `decide` calls them; costs about a microsecond a call."""
    spent = dict.fromkeys(STEPS, 0.0)

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return step(*args, **kwargs)
            finally:
                spent[name] += time.perf_counter() - began

        return run

    with ExitStack() as stack:
        for name in STEPS:
            stack.enter_context(patch.object(decide_module, name, timed(name, getattr(decide_module, name))))
        yield spent


def tables(found: Sequence[Measured]) -> list[Table]:
    times = [
        (
            f"{each.fleets}", each.lengths, milliseconds(each.first_s), milliseconds(median(each.again_s)),
            milliseconds(quantile(each.again_s, 0.95)), milliseconds(median(each.again_s) / each.fleets),
            f"{len(each.again_s)}",
        )
        for each in found
    ]  # fmt: skip
    shares = []
    for each in found:
        total = sum(each.again_s)
        rest = total - sum(each.steps_s.values())
        steps = (*(each.steps_s[step] for step in STEPS), rest)
        shares.append((f"{each.fleets}", each.lengths, *(f"{100 * spent / total:.1f} %" for spent in steps)))
    names = tuple(step.strip("_") for step in STEPS)
    return [
        Table(("fleets", "lengths", "first ms", "median ms", "p95 ms", "median ms a fleet", "repetitions"), times),
        Table(("fleets", "lengths", *names, "rest"), shares),
    ]
