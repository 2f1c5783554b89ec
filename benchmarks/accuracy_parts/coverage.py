"""Do 80 % prediction intervals hold 80 % of the measurements?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.accuracy_parts.calibrate import Calibrated
from benchmarks.accuracy_parts.metrics import Scored, score
from benchmarks.accuracy_parts.predict import Oracle
from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.intervals import interval_log

LEVEL = 0.80
PRIOR_SD_LOG = Scales().sigma_log
"""What planning assumes before anything is measured."""
CALIBRATED_SD_LOG = 0.08
"""Spread of log(measured / modelled) in a calibrated deployment (sizing physics 1.6)."""


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


def uncalibrated(rows: Iterable[Scored], quantity: str, prior_sd_log: float = PRIOR_SD_LOG) -> Coverage:
    """With the prior spread alone."""
    bounds = interval_log((), prior_sd_log, LEVEL)
    return _coverage([(ratio, bounds) for row in rows if (ratio := _measured_over_modelled(row, quantity)) is not None])


def calibrated(found: Calibrated, oracle: Oracle, quantity: str, side: str) -> Coverage:
    """Unsaturated rows of one side, each with the residuals of its own calibration points, made up by the prior."""
    pairs = []
    for one in found.calibrations:
        bounds = interval_log(one.residuals_log[quantity], CALIBRATED_SD_LOG, LEVEL)
        for case in one.rest:
            row = score(case, oracle, one.fit.scales)
            ratio = _measured_over_modelled(row, quantity)
            if ratio is not None and case.side.value == side and not row.saturated:
                pairs.append((ratio, bounds))
    return _coverage(pairs)


def _measured_over_modelled(row: Scored, quantity: str) -> float | None:
    ratio = row.log_ratio(quantity)
    return None if ratio is None else -ratio


def _coverage(pairs: Sequence[tuple[float, tuple[float, float]]]) -> Coverage:
    below = sum(ratio < low for ratio, (low, _) in pairs)
    above = sum(ratio > high for ratio, (_, high) in pairs)
    width = sum(math.exp(high - low) for _, (low, high) in pairs) / len(pairs) if pairs else math.nan
    return Coverage(rows=len(pairs), inside=len(pairs) - below - above, below=below, above=above, width=width)
