"""Do 80 % prediction intervals hold 80 % of the measurements?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.accuracy_parts.calibrate import Calibrated
from benchmarks.accuracy_parts.cases import Case
from benchmarks.accuracy_parts.metrics import Scored, score
from benchmarks.accuracy_parts.predict import Oracle
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.physics.intervals import interval_log
from inferencefleet.planning.calibrate import BEYOND_SIGMA_LOG

LEVEL = 0.80
TTFT_SIGMA_LOG = 0.20
"""Of a TTFT that was never measured: queues and hosts add to what ITL has."""
FEW_POINTS_SIGMA_LOG = MappingProxyType({"itl": 0.05, "throughput": 0.05, "ttft": 0.15})
"""What a fit on 2-3 points leaves at the loads that taught it: what its few residuals are made up with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many measurements are inside, below and above their intervals."""

    rows: int
    inside: int
    below: int
    above: int
    width: float
    """Mean upper bound over lower bound."""

    @property
    def share(self) -> float:
        return self.inside / self.rows if self.rows else math.nan


def uncalibrated(rows: Iterable[Scored], quantity: str) -> Coverage:
    """With the spread that the product assumes of a replica that was never measured."""
    pairs = []
    for row in rows:
        ratio = _measured_over_modelled(row, quantity)
        if ratio is not None:
            pairs.append((ratio, interval_log((), _prior(row.case, quantity), LEVEL)))
    return _coverage(pairs)


def calibrated(found: Calibrated, oracle: Oracle, quantity: str, wanted: Callable[[Case], bool]) -> Coverage:
    """Unsaturated rows that are wanted, each with the residuals of its own calibration points, made up by a prior.

    That prior is what such fits leave, and more for each doubling of the batch beyond the largest one that taught (the
    product's rule), up to the spread of a replica that was never measured.
    """
    pairs = []
    for one in found.calibrations:
        largest = max(score(case, oracle).running for case in one.points)
        for case in one.rest:
            row = score(case, oracle, one.fit.scales)
            ratio = _measured_over_modelled(row, quantity)
            if ratio is None or row.saturated or not wanted(case):
                continue
            beyond = max(0.0, math.log2(max(row.running, 1.0) / max(largest, 1.0)))
            spread = min(_prior(case, quantity), FEW_POINTS_SIGMA_LOG[quantity] + BEYOND_SIGMA_LOG * beyond)
            pairs.append((ratio, interval_log(one.residuals_log[quantity], spread, LEVEL)))
    return _coverage(pairs)


def _prior(case: Case, quantity: str) -> float:
    known = prior_sigma_log(case.shape)
    return max(known, TTFT_SIGMA_LOG) if quantity == "ttft" else known


def _measured_over_modelled(row: Scored, quantity: str) -> float | None:
    ratio = row.log_ratio(quantity)
    return None if ratio is None else -ratio


def _coverage(pairs: Sequence[tuple[float, tuple[float, float]]]) -> Coverage:
    below = sum(ratio < low for ratio, (low, _) in pairs)
    above = sum(ratio > high for ratio, (_, high) in pairs)
    width = sum(math.exp(high - low) for _, (low, high) in pairs) / len(pairs) if pairs else math.nan
    return Coverage(rows=len(pairs), inside=len(pairs) - below - above, below=below, above=above, width=width)
