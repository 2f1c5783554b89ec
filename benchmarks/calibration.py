"""What calibration does to the error of ITL and of capacity, on good windows and on bad ones.

python -m benchmarks.calibration [--seeds 5]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from benchmarks.paper import Paper, Table, median, percent
from inferencefleet.api.convert_calibration import calibration_block
from inferencefleet.domain.calibration import WindowVerdict
from inferencefleet.domain.capacity import Scales
from inferencefleet.domain.observation import PoolMetrics
from inferencefleet.physics.intervals import interval_log
from inferencefleet.physics.observed import Observed
from inferencefleet.simulator.truth import Truth
from tests.bad_windows import BAD, FASTER, RATES, SLOWER, as_they_are, windows
from tests.calibrating import Bad, Learner, Synthetic, point, scaled, with_window
from tests.replay import Pool

PRIOR = Scales()
GOOD = "windows as they are"
POINTS = ((2.0, 0.5), (10.0, 2.0), (25.0, 4.0), (35.0, 5.0))
"""(Decoding sequences, requests/s) of one engine at which ITL is predicted."""
ENGINES = 3
POOL_RATES = (6.0, 12.0, 16.0, 8.0, 4.0, 14.0, 10.0, 3.0)
TRUTHS = {"slower": SLOWER, "faster": FASTER}
SIMULATED = {"slower": Truth(memory=1.25, compute=0.95, overhead=1.3), "as modelled": Truth()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Mean absolute log errors; of ITL over `POINTS`."""

    itl: float
    prior_itl: float
    capacity: float
    prior_capacity: float
    used: int
    verdict: str


def outcome(learner: Learner, truth: Scales) -> Outcome:
    points = [point(seqs, rate, learner.lengths) for seqs, rate in POINTS]
    return Outcome(
        itl=learner.itl_error(truth, points),
        prior_itl=learner.itl_error(truth, points, PRIOR),
        capacity=learner.capacity_error(truth),
        prior_capacity=learner.capacity_error(truth, PRIOR),
        used=learner.entry.used,
        verdict=str(learner.entry.verdict),
    )


def story(bend: Bad, truth: Scales, seed: int, count: int = 30) -> Outcome:
    learner = Learner()
    for number, seen in enumerate(windows(learner, truth, count, seed=seed)):
        learner.show(bend(seen, number))
    return outcome(learner, truth)


def one_in_ten(seen: PoolMetrics, number: int) -> PoolMetrics:
    names = ("itl_seconds_per_s", "running_early", "running_late", "prefill_seconds_per_s")
    return scaled(seen, math.e if number % 20 == 7 else 1 / math.e, *names) if number % 10 == 7 else seen


def hidden_hits(truth: Scales, seed: int) -> Outcome:
    learner = Learner()
    source = Synthetic(learner.shape, truth, learner.lengths, seed=seed)
    learner.show_all(with_window(source.window(RATES[i % len(RATES)], 0.6), prefix_hit_ratio=0.0) for i in range(30))
    return outcome(learner, truth)


def slow_drift(truth: Scales, seed: int) -> Outcome:
    learner, now = Learner(), truth
    for number in range(50):
        now = replace(truth, memory=truth.memory * (1 + 0.006 * number))
        learner.show_all(windows(learner, now, 1, seed=1000 * seed + number, first=number))
    return outcome(learner, now)


def synthetic(seeds: int) -> list[tuple[str, str, list[Outcome]]]:
    """(Story, truth, one outcome a seed)."""
    found = []
    for name, truth in TRUTHS.items():
        numbers = range(1, seeds + 1)
        found.append((GOOD, name, [story(as_they_are, truth, seed) for seed in numbers]))
        found.append(("slow drift of memory, +30 %", name, [slow_drift(truth, seed) for seed in numbers]))
        found.append(("one outlier in ten", name, [story(one_in_ten, truth, seed) for seed in numbers]))
        found += [(bad, name, [story(BAD[bad].bend, truth, seed) for seed in numbers]) for bad in BAD]
        found.append(("prefix hits hidden", name, [hidden_hits(truth, seed) for seed in numbers]))
    return found


@lru_cache
def engine_windows(name: str, seed: int) -> tuple[PoolMetrics, ...]:
    learner = Learner()
    pool = Pool(learner.shape, SIMULATED[name], learner.lengths, engines=ENGINES, seed=seed)
    return tuple(pool.windows(POOL_RATES * 4))


def simulated(seeds: int) -> list[tuple[str, str, list[Outcome]]]:
    """The same with windows of simulated engines."""
    stories = {
        GOOD: as_they_are,
        **{name: BAD[name].bend for name in ("gauge doubled", "ITL in milliseconds")},
    }
    found = []
    for name, truth in SIMULATED.items():
        scales = Scales(memory=truth.memory, compute=truth.compute, overhead=truth.overhead)
        for bent, bend in stories.items():
            outcomes = []
            for seed in range(1, seeds + 1):
                learner = Learner(engines=ENGINES)
                for number, seen in enumerate(engine_windows(name, seed)):
                    learner.show(bend(seen, number))
                outcomes.append(outcome(learner, scales))
            found.append((bent, name, outcomes))
    return found


@dataclass(frozen=True, slots=True)
class Drift:
    """One-step ITL errors: before and after memory goes from 1.25 to 1.6 at window 14."""

    before: float
    after: float
    prior_after: float


def drift(seed: int) -> Drift:
    learner = Learner()
    errors, prior = [], []
    for number in range(40):
        truth = SLOWER if number < 14 else replace(SLOWER, memory=1.6)
        (seen,) = windows(learner, truth, 1, seed=100 * seed + number, first=number)
        before = learner.best
        entry = learner.show(seen)
        if entry.verdict is not WindowVerdict.ACCEPTED:
            continue
        observed = Observed(learner.shape, entry.windows[-1:], entry.prompt_shape)
        measured = entry.windows[-1].itl_s
        errors.append((number, abs(math.log(measured / float(observed.itl_s(before)[0])))))
        prior.append((number, abs(math.log(measured / float(observed.itl_s(PRIOR)[0])))))
    return Drift(
        before=_mean(error for number, error in errors if 3 <= number < 14),
        after=_mean(error for number, error in errors if number >= 20),
        prior_after=_mean(error for number, error in prior if number >= 14),
    )


def coverage(noise: float, seeds: int) -> tuple[float, int]:
    """(Share of windows inside the 80 % interval told before them, windows)."""
    inside = total = 0
    for seed in range(seeds):
        learner = Learner()
        learner.show_all(windows(learner, SLOWER, 30, seed=seed, noise=noise))
        for seen in windows(learner, SLOWER, 40, seed=500 + seed, noise=noise):
            lower, upper = interval_log(learner.entry.residuals_log, learner.entry.sigma_log)
            if learner.show(seen).verdict is WindowVerdict.ACCEPTED:
                inside += lower <= learner.entry.residuals_log[-1] <= upper
                total += 1
    return inside / total, total


def cost() -> tuple[float, float, int]:
    """(Median seconds of a window, the longest, bytes of the fullest state)."""
    learner, spent = Learner(), []
    for seen in windows(learner, SLOWER, 60):
        began = time.perf_counter()
        learner.show(seen)
        spent.append(time.perf_counter() - began)
    blocks = calibration_block([learner.entry]) or []
    return median(spent), max(spent), len(json.dumps(blocks[0]["memory"], separators=(",", ":")))


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else math.nan


def _table(found: Sequence[tuple[str, str, list[Outcome]]]) -> Table:
    rows = []
    for name, truth, outcomes in found:
        rows.append(
            (
                name, truth,
                percent(_mean(each.prior_itl for each in outcomes)), percent(_mean(each.itl for each in outcomes)),
                percent(_mean(each.prior_capacity for each in outcomes)),
                percent(_mean(each.capacity for each in outcomes)),
                f"{median([each.used for each in outcomes]):.0f}", outcomes[-1].verdict,
            )
        )  # fmt: skip
    columns = ("windows", "engines are", "ITL, prior", "ITL", "capacity, prior", "capacity", "used", "last verdict")
    return Table(columns, rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration")
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args(argv).seeds
    paper = Paper("calibration", "Calibration on good and on bad windows", f"1 to {seeds}")
    made, engines = synthetic(seeds), simulated(min(seeds, 3))
    drifts = [drift(seed) for seed in range(seeds)]
    covered = {noise: coverage(noise, 4 * seeds) for noise in (0.03, 0.08)}
    typical_s, longest_s, size = cost()
    paper.parts += [
        "Errors are mean absolute log errors of what the plan is computed with, margins included, against the truth: "
        f"of ITL at batches of {', '.join(f'{seqs:.0f}' for seqs, _ in POINTS)}, and of the capacity of one replica. "
        "Qwen3-32B on 2 x H100, 30 windows of a minute. Hidden constants: slower = memory 1.25, compute 0.9, "
        "overhead 1.4, TTFT 1.3; faster = 0.85, 0.95, 0.7, 0.8. Noise of a window's mean: 3 %.",
        "## Windows made from the physics with hidden constants",
        _table(made),
        "## Windows of simulated engines (Poisson arrivals, continuous batching, chunked prefill)",
        _table(engines),
        "## A drift: memory 1.25 -> 1.6 at window 14",
        Table(
            ("", "one-step ITL error"),
            [
                ("uncalibrated, after the drift", percent(_mean(each.prior_after for each in drifts))),
                ("calibrated, windows 3 to 13", percent(_mean(each.before for each in drifts))),
                ("calibrated, from 6 windows after the drift on", percent(_mean(each.after for each in drifts))),
            ],
        ),
        "## Coverage of 80 % intervals, stationary noise",
        Table(
            ("noise", "inside", "windows"),
            [(percent(noise), percent(share), f"{total}") for noise, (share, total) in covered.items()],
        ),
        "## Cost",
        f"A window costs {1000 * typical_s:.1f} ms (longest {1000 * longest_s:.0f} ms, with a refit); the fullest "
        f"state of a shape is {size:,} bytes of JSON.",
    ]
    paper.figures["stories"] = {
        f"{group}: {name}, {truth}": [each.itl for each in outcomes]
        for group, found in (("made", made), ("simulated", engines))
        for name, truth, outcomes in found
    }
    paper.figures["coverage"] = {str(noise): share for noise, (share, _) in covered.items()}
    paper.figures["state_bytes"] = size
    paper.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
