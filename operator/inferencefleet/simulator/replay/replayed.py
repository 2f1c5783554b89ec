"""What came of a replay, and how it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.slo import SloMetric
from inferencefleet.simulator.servers import Arrivals, Floats, Outcome, Results

MINUTE_S = 60.0
WORST_MINUTES = 5
REVERSAL_S = 600.0
"""A change in the other direction within this time takes back what was just done."""
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One change of what a fleet asks for."""

    at_s: float
    fleet: FleetKey
    before: Mapping[str, int]
    after: Mapping[str, int]
    reason: str
    sentence: str

    @property
    def change(self) -> int:
        return sum(self.after.values()) - sum(self.before.values())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Minutes:
    """Series by minute since the replay began; attainment is NaN where nothing arrived."""

    start_s: Floats
    arrivals: Floats
    attainment: Floats
    wanted: Mapping[str, Floats]
    """Mean over the minute, by Deployment."""
    ready: Mapping[str, Floats]
    """Mean over the minute, by pool."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetReplayed:
    """One fleet. Requests that arrived in the warm-up, and those whose deadline is yet to come, are not counted."""

    key: FleetKey
    results: Results
    good: Flags
    """By request: within every SLO."""
    counted: Flags
    minutes: Minutes
    requests: int
    """Counted ones."""
    attainment: float
    """Share of requests within every SLO; NaN without requests."""
    worst_five_minutes: float
    mean_ready: float
    mean_wanted: float
    changes_per_hour: float
    reversals: int
    ttft_s: tuple[float, float, float]
    """p50, p95, p99 of the counted requests that got a first token; NaN without one."""
    tpot_s: tuple[float, float, float]
    failed: int
    refused: int
    unfinished: int
    """Counted, neither finished nor failed when the replay ended."""
    retries: int
    preemptions: int
    replicas_killed: int
    """That served when their node died."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replayed:
    """Everything a benchmark or a report needs. Dollars are those after the warm-up."""

    stage: str
    policy: str
    seed: int
    fleets: tuple[FleetReplayed, ...]
    dollars: float
    dollars_beyond_reserved: float
    dollars_by_pool: Mapping[str, float]
    dollars_by_minute: Mapping[str, Floats]
    """By pool, warm-up included."""
    decisions: tuple[Decision, ...]

    @property
    def attainment(self) -> float:
        """Over the requests of all fleets."""
        requests = sum(fleet.requests for fleet in self.fleets)
        good = sum(int((fleet.good & fleet.counted).sum()) for fleet in self.fleets)
        return good / requests if requests else float("nan")


def verdicts(
    fleet: Fleet, arrivals: Arrivals, results: Results, *, warm_up_s: float, end_s: float
) -> tuple[Flags, Flags]:
    """(good, counted) by request.

    Good: finished, with TTFT, mean token interval and total time each within its tightest target. A request that is
    still under way counts as a miss once its deadline is over, and not at all before.
    """
    ttft_target_s, itl_target_s, e2e_target_s = (
        min((slo.target_s for slo in fleet.slos if slo.metric is metric), default=float("inf"))
        for metric in (SloMetric.TTFT, SloMetric.ITL, SloMetric.E2E)
    )
    finished = results.outcome == Outcome.FINISHED
    good = (
        finished
        & (results.ttft_s <= ttft_target_s)
        & (results.tpot_s <= itl_target_s)
        & (results.e2e_s <= e2e_target_s)
    )
    pending = results.outcome == Outcome.PENDING
    patience_s = np.minimum(ttft_target_s + itl_target_s * np.maximum(arrivals.output_tokens - 1, 0), e2e_target_s)
    late_first = np.isnan(results.ttft_s) & (arrivals.arrival_s + ttft_target_s < end_s)
    late = late_first | (results.ttft_s > ttft_target_s) | (arrivals.arrival_s + patience_s < end_s)
    arrived = (arrivals.arrival_s >= warm_up_s) & (arrivals.arrival_s < end_s)
    return good, arrived & (~pending | late)


def by_minute(at_s: Floats, values: Floats, minutes: int) -> Floats:
    """Sum of `values` over the minute in which each lies."""
    places = (at_s // MINUTE_S).astype(np.int64)
    return np.bincount(places, weights=values, minlength=minutes)[:minutes].astype(np.float64)


def step_means(times_s: Sequence[float], values: Sequence[float], edges_s: Floats) -> Floats:
    """Mean of a step function between neighbouring edges; `values[i]` holds from `times_s[i]` on."""
    times = np.array([*times_s, max(float(edges_s[-1]), times_s[-1])])
    integral = np.concatenate([[0.0], np.cumsum(np.diff(times) * np.array(values, dtype=np.float64))])
    means: Floats = np.diff(np.interp(edges_s, times, integral)) / np.diff(edges_s)
    return means


def worst_window(good: Floats, counted: Floats, minutes: int) -> float:
    """Lowest share over `minutes` neighbouring minutes in which anything was counted."""
    width = min(minutes, good.size)
    ones = np.ones(width)
    asked = np.convolve(counted, ones, mode="valid")
    kept = np.convolve(good, ones, mode="valid")
    shares = kept[asked > 0] / asked[asked > 0]
    return float(shares.min()) if shares.size else float("nan")


def percentiles(values: Floats) -> tuple[float, float, float]:
    known = values[~np.isnan(values)]
    if not known.size:
        return (float("nan"),) * 3
    p50, p95, p99 = np.percentile(known, (50, 95, 99))
    return float(p50), float(p95), float(p99)


def reversals(decisions: Sequence[Decision]) -> int:
    """Changes of the total that turn back the one before within ten minutes."""
    changes = [(decision.at_s, decision.change) for decision in decisions if decision.change]
    return sum(
        (one > 0) != (other > 0) and later_s - earlier_s <= REVERSAL_S
        for (earlier_s, one), (later_s, other) in pairwise(changes)
    )
