"""Time of `plan(snapshot)` alone, by number of fleets: no cluster, no network, one core.

    python -m benchmarks.plan_speed [--fleets 1,10,100,1000,10000] [--seed 1]

Nine pools (three types of GPUs in three types of capacity), ample or scarce. Processor time is what counts: the wall
clock of a machine that others use says more about them.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from benchmarks.paper import Paper, Table, median, milliseconds, quantile
from benchmarks.plan_world import Installation
from inferencefleet.physics import capacity
from inferencefleet.physics.remembered import Remembered
from inferencefleet.planning import ask as ask_module
from inferencefleet.planning import plan as plan_module
from inferencefleet.planning.plan import plan

IN_ASK = {
    "learn_lengths": "estimate", "estimate": "estimate", "calibrate": "estimate", "size": "size",
    "forecast": "forecast", "_hedge": "hedge", "place_all": "place alone", "restrain": "guards",
}  # fmt: skip
IN_PLAN = {"together": "together", "conclude": "conclude"}
STEPS = tuple(dict.fromkeys((*IN_ASK.values(), *IN_PLAN.values())))
STEADY, CHANGING = "lengths as in the tick before", "lengths of every fleet change in every tick"
AIMS_MS = {"ample": 100.0, "scarce": 1000.0}
AIMED_FLEETS, AIMED_GAP = 1000, 0.01
ABOUT = (
    "Fleets of five models with forty mixes of lengths each, half behind a plain Service, half behind a load-aware "
    "router, spot hedged, three priorities, in nine pools (H100, H200 and A100, each reserved, on-demand and "
    "spot). Ample: no limit binds. Scarce: each pool has two ninths of the GPUs that all fleets would choose, so "
    "good ones are wanted several times over, and not everybody can be served by slower ones. Milliseconds of "
    "processor time on one core, unless said otherwise. First: right after a restart, capacities are not yet "
    "known. Each repetition is one period later, with what was planned before running and its memory."
)


@dataclass(slots=True)
class Measured:
    """Seconds of processor time of each repetition, and by the clock."""

    fleets: int
    lengths: str
    pools: str
    first_s: float
    """After a restart: nothing is remembered."""
    again_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    steps_s: dict[str, float] = field(default_factory=dict)
    """Processor time of each step in the repetitions, summed."""


def measure(fleets: int, lengths: str, *, repetitions: int, seed: int, scarce: bool = False) -> Measured:
    """The first plan, then one for each period that follows, with the memory of the one before."""
    installation = Installation(fleets, scarce=scarce, changing=lengths == CHANGING, seed=seed)
    nothing: Remembered[Any, Any] = Remembered(most=capacity.REMEMBERED)
    with patch.object(capacity, "_ANSWERED", nothing), steps_timed() as spent:
        snapshot = installation.next()
        began_s = time.process_time()
        decided = plan(snapshot)
        found = Measured(fleets, lengths, "scarce" if scarce else "ample", time.process_time() - began_s)
        spent.update(dict.fromkeys(STEPS, 0.0))
        for _ in range(repetitions):
            installation.carry_out(decided)
            snapshot = installation.next()
            began_s, clock_s = time.process_time(), time.perf_counter()
            decided = plan(snapshot)
            found.again_s.append(time.process_time() - began_s)
            found.wall_s.append(time.perf_counter() - clock_s)
            found.gaps.append(decided.placement_gap)
    found.steps_s = dict(spent)
    assert all(each.pools and not each.problems for each in decided.fleets), "the benchmark plans refusals"
    return found


@contextmanager
def steps_timed() -> Iterator[dict[str, float]]:
    """Wraps the steps where they are called; costs about a microsecond a call."""
    spent = dict.fromkeys(STEPS, 0.0)

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began_s = time.process_time()
            try:
                return step(*args, **kwargs)
            finally:
                spent[name] += time.process_time() - began_s

        return run

    with ExitStack() as stack:
        for module, steps in ((ask_module, IN_ASK), (plan_module, IN_PLAN)):
            for function, step in steps.items():
                stack.enter_context(patch.object(module, function, timed(step, getattr(module, function))))
        yield spent


def tables(found: Sequence[Measured]) -> list[Table]:
    """Times, and the share of each step."""
    times = [
        (
            f"{each.fleets}", each.pools, each.lengths, milliseconds(each.first_s), milliseconds(median(each.again_s)),
            milliseconds(quantile(each.again_s, 0.95)), milliseconds(median(each.wall_s)),
            milliseconds(median(each.again_s) / each.fleets), f"{100 * median(each.gaps):.2f} %",
            f"{len(each.again_s)}",
        )
        for each in found
    ]  # fmt: skip
    shares = []
    for each in found:
        total = sum(each.again_s)
        steps = (*(each.steps_s[step] for step in STEPS), total - sum(each.steps_s.values()))
        shares.append((f"{each.fleets}", each.pools, *(f"{100 * spent / total:.1f} %" for spent in steps)))
    columns = (
        "fleets", "pools", "lengths", "first ms", "median ms", "p95 ms", "median ms by the clock", "ms a fleet",
        "proven gap", "repetitions",
    )  # fmt: skip
    return [Table(columns, times), Table(("fleets", "pools", *STEPS, "rest"), shares)]


def growth(found: Sequence[Measured]) -> Table:
    """The power of the number of fleets that the time grows with, from each size to the next."""
    rows = []
    for pools in AIMS_MS:
        mine = [each for each in found if each.pools == pools]
        for one, other in pairwise(mine):
            times = median(other.again_s) / median(one.again_s)
            power = math.log(times) / math.log(other.fleets / one.fleets)
            rows.append((f"{one.fleets} to {other.fleets}", pools, f"x {times:.1f}", f"{power:.2f}"))
    return Table(("fleets", "pools", "time", "power of the number"), rows)


def aims(found: Sequence[Measured]) -> Table:
    rows = []
    for each in found:
        if each.fleets != AIMED_FLEETS:
            continue
        took_ms, aim_ms, gap = 1000 * median(each.again_s), AIMS_MS[each.pools], median(each.gaps)
        met = took_ms < aim_ms and gap <= AIMED_GAP
        rows.append(
            (
                f"{each.fleets} fleets, {each.pools}: < {aim_ms:.0f} ms, gap <= {100 * AIMED_GAP:.0f} %",
                f"{took_ms:.0f} ms, {100 * gap:.2f} %", "met" if met else "missed",
            )
        )  # fmt: skip
    return Table(("aim", "measured", ""), rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan_speed")
    parser.add_argument("--fleets", default="1,10,100,1000,10000", help="numbers of fleets, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    paper = Paper("plan_speed", "Time of plan(snapshot)", seed=args.seed)
    found: list[Measured] = []
    for count in (int(number) for number in args.fleets.split(",")):
        for pools in AIMS_MS:
            repetitions = max(1, min(20, 2000 // count))
            each = measure(count, STEADY, repetitions=repetitions, seed=args.seed, scarce=pools == "scarce")
            print(f"{count} fleets, {pools}: {1000 * median(each.again_s):.1f} ms", flush=True)
            found.append(each)
        # Who has no patience for the largest size has the results of the others.
        paper.parts = [ABOUT, *sections(found)]
        paper.figures["plan"] = [asdict(each) for each in found]
        paper.write()
    return 0


def sections(found: Sequence[Measured]) -> list[str | Table]:
    times, shares = tables(found)
    return [
        times, "## Aims", aims(found), "## How it grows", growth(found),
        "## Share of each step in the repetitions", shares,
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
