"""Calibration as a fleet would have it: few points at low load, then everything else is extrapolation."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_parts.cases import Case, Load
from benchmarks.accuracy_parts.measured import measured
from benchmarks.accuracy_parts.metrics import Scored, score
from benchmarks.accuracy_parts.predict import PRIOR, Oracle, operating_point, question, ttft_s
from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.fit import CONSTANTS, ScalesFit, fit_scales
from inferencefleet.physics.operating import OperatingPoint

MOST_POINTS = 3
LEAST_POINTS = 2
LINEARISATIONS = 3
STEP = 1.02
TTFT_WEIGHT = 0.1
"""Of a TTFT beside an ITL: repeated runs differ by 2.8 % in mean TTFT and by 0.35 % in ITL, and queues add to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One replica type of one engine version in one source, and what its lowest loads taught."""

    points: tuple[Case, ...]
    """The rows that were looked at: the lowest 2-3 load levels of one pair of lengths, with all their repeats."""
    rest: tuple[Case, ...]
    fit: ScalesFit
    residuals_log: Mapping[str, tuple[float, ...]]
    """log(measured / modelled) at the points after the fit, by quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """All calibrations of a file, and the rows that had none."""

    calibrations: tuple[Calibration, ...]
    too_few: tuple[Case, ...]
    """Rows of replica types with fewer than two load levels of one length pair, nothing left to test on, or a fit that
    failed (said on stderr)."""


def calibrate(cases: Iterable[Case], oracle: Oracle) -> Calibrated:
    """Groups by replica type, fits each group on its lowest loads."""
    groups: dict[Hashable, list[Case]] = defaultdict(list)
    for case in cases:
        groups[group_of(case)].append(case)
    found, too_few = [], []
    for members in groups.values():
        points = lowest_points(members)
        chosen = {id(case) for case in points}
        rest = [case for case in members if id(case) not in chosen]
        if not points or not rest:
            too_few += members
            continue
        try:
            fit = fit_points(points)
        except (ArithmeticError, ValueError) as error:
            print(f"calibration of {points[0].shape} failed: {error}", file=sys.stderr)
            too_few += members
            continue
        after = [score(case, oracle, fit.scales) for case in points]
        found.append(
            Calibration(
                points=tuple(points),
                rest=tuple(rest),
                fit=fit,
                residuals_log={name: _residuals(after, name) for name in ("itl", "throughput", "ttft")},
            )
        )
    return Calibrated(calibrations=tuple(found), too_few=tuple(too_few))


def group_of(case: Case) -> Hashable:
    """What shares one calibration: source, engine version, model, GPU, format, tensor parallelism, kind of load."""
    row = case.row
    return (row.source, row.engine, row.engine_version, row.model, case.shape.gpu.name, case.shape.weights,
            case.shape.tensor_parallel, row.precision, case.load)  # fmt: skip


def lowest_points(cases: Sequence[Case]) -> list[Case]:
    """Rows of the lowest three load levels (two when there are no more) of the shortest lengths that have so many.

    The choice looks at lengths and loads only. Empty when no pair of lengths has two levels.
    """
    shapes: dict[tuple[float, float], dict[float, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        if measured(case).itl_s:
            lengths = round(case.lengths.mean_prompt_tokens, -1), round(case.lengths.mean_output_tokens, -1)
            shapes[lengths][case.load_level].append(case)
    for wanted in (MOST_POINTS + 1, MOST_POINTS, LEAST_POINTS):
        # One level more than is used, first: the top level of a pair of lengths may be the saturated one.
        for lengths in sorted(shapes, key=lambda pair: (sum(pair), pair)):
            levels = sorted(shapes[lengths])
            if len(levels) >= wanted:
                return [case for level in levels[:MOST_POINTS] for case in shapes[lengths][level]]
    return []


def fit_points(points: Sequence[Case]) -> ScalesFit:
    """The three constants and the TTFT factor from measured ITL and TTFT."""
    seen = [measured(case) for case in points]
    itl = np.array([_log(value.itl_s) for value in seen])
    ttft = np.array([_log(value.ttft_s) for value in seen])

    # Repeats of a run ask the same question: ask it once.
    firsts = list({question(case): case for case in points}.values())

    def ask(scales: Scales) -> list[OperatingPoint]:
        answers = {question(case): operating_point(case, scales) for case in firsts}
        return [answers[question(case)] for case in points]

    def predict(scales: Scales) -> NDArray[np.float64]:
        made = ask(scales)
        first = [ttft_s(point, value.ttft_is_median) for point, value in zip(made, seen, strict=True)]
        return np.log(np.concatenate(([point.itl_mean_s for point in made], first)))

    observed = np.concatenate((itl, ttft))
    weights = np.concatenate((np.ones(itl.size), np.full(ttft.size, TTFT_WEIGHT)))
    running = np.tile([point.running for point in ask(PRIOR)], 2)
    prompts = np.tile([case.lengths.mean_prompt_tokens for case in points], 2)
    around = PRIOR
    for _ in range(LINEARISATIONS):
        near = _linearised(predict, around)
        fit = fit_scales(near, observed, PRIOR, weights=weights, running=running, prompt_tokens=prompts)
        around = fit.scales
    return fit


def _linearised(
    predict: Callable[[Scales], NDArray[np.float64]], around: Scales
) -> Callable[[Scales], NDArray[np.float64]]:
    """`predict` as a linear function of the logarithms of the constants; a fit asks for a hundred predictions."""
    base = predict(around)
    start = np.log([getattr(around, name) for name in CONSTANTS])
    columns = []
    for name in CONSTANTS:
        up, down = (predict(replace(around, **{name: getattr(around, name) * step})) for step in (STEP, 1 / STEP))
        columns.append((up - down) / (2 * math.log(STEP)))
    slopes = np.stack(columns, axis=1)
    return lambda scales: base + slopes @ (np.log([getattr(scales, name) for name in CONSTANTS]) - start)


def rescored(calibrated: Calibrated, oracle: Oracle) -> list[Scored]:
    """The rows that no fit has seen, under the constants of their group."""
    return [score(case, oracle, found.fit.scales) for found in calibrated.calibrations for case in found.rest]


def is_closed(case: Case) -> bool:
    return case.load in {Load.CLOSED, Load.STEADY}


def _residuals(rows: Iterable[Scored], quantity: str) -> tuple[float, ...]:
    ratios = (row.log_ratio(quantity) for row in rows)
    return tuple(-ratio for ratio in ratios if ratio is not None)


def _log(value: float | None) -> float:
    return math.log(value) if value else math.nan
