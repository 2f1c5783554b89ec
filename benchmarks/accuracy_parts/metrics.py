"""Errors of predictions and their summaries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy_parts.cases import Case, Load
from benchmarks.accuracy_parts.measured import Measured, measured
from benchmarks.accuracy_parts.predict import Oracle, e2e_s, ttft_s
from inferencefleet.domain.capacity import Scales

SATURATED = 0.3
"""Closed-loop runs whose TTFT exceeds this share of the decode time waited in a queue."""
QUANTITIES = ("itl", "throughput", "ttft", "e2e")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One row with its prediction; both in seconds and output tokens/s, None where not measured."""

    case: Case
    seen: Measured
    itl_s: float
    ttft_s: float
    output_tokens_per_s: float
    e2e_s: float
    running: float
    waiting: float
    stable: bool
    utilisation: float
    scales: Scales

    def log_ratio(self, quantity: str) -> float | None:
        """log(modelled / measured) of one of QUANTITIES; None when not measured or not positive."""
        modelled, seen = {
            "itl": (self.itl_s, self.seen.itl_s),
            "throughput": (self.output_tokens_per_s, self.seen.output_tokens_per_s),
            "ttft": (self.ttft_s, self.seen.ttft_s),
            "e2e": (self.e2e_s, self.seen.e2e_s),
        }[quantity]
        if not seen or not modelled > 0 or not math.isfinite(modelled):
            return None
        return math.log(modelled / seen)

    def error(self, quantity: str) -> float | None:
        """modelled / measured - 1."""
        ratio = self.log_ratio(quantity)
        return None if ratio is None else math.expm1(ratio)

    @property
    def queued_by_measurement(self) -> bool:
        """Closed loop: the measured TTFT is mostly waiting."""
        if self.case.load is not Load.CLOSED or not self.seen.ttft_s or not self.seen.itl_s:
            return False
        return self.seen.ttft_s > SATURATED * self.case.lengths.mean_output_tokens * self.seen.itl_s

    @property
    def queued_by_model(self) -> bool:
        """Closed loop: more clients than the model lets run at once."""
        return self.case.load is Load.CLOSED and self.waiting > 0

    @property
    def saturated(self) -> bool:
        return self.queued_by_measurement or self.queued_by_model


def score(case: Case, oracle: Oracle, scales: Scales | None = None) -> Scored:
    """Predicts one case and puts it beside its measurement."""
    point = oracle(case) if scales is None else oracle(case, scales)
    seen = measured(case)
    return Scored(
        case=case,
        seen=seen,
        itl_s=point.itl_mean_s,
        ttft_s=ttft_s(point, seen.ttft_is_median),
        output_tokens_per_s=point.output_tokens_per_s,
        e2e_s=e2e_s(case, point),
        running=point.running,
        waiting=point.waiting,
        stable=point.stable,
        utilisation=point.utilisation,
        scales=scales or Scales(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Of one quantity over some rows; shares, NaN of nothing."""

    rows: int
    median: float
    """Of the absolute errors."""
    mean: float
    """Of the absolute errors."""
    bias: float
    """Median of the signed errors: above 0 the model is too high."""


def summary(errors: Iterable[float | None]) -> Summary:
    """Median, mean and bias of relative errors; those that are None are not counted."""
    values = np.array([error for error in errors if error is not None], dtype=np.float64)
    if not values.size:
        return Summary(rows=0, median=math.nan, mean=math.nan, bias=math.nan)
    size = np.abs(values)
    return Summary(
        rows=values.size, median=float(np.median(size)), mean=float(size.mean()), bias=float(np.median(values))
    )


def summaries(rows: Sequence[Scored]) -> dict[str, Summary]:
    """By quantity."""
    return {quantity: summary(row.error(quantity) for row in rows) for quantity in QUANTITIES}
