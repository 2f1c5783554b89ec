"""Is an open-loop run stable or overloaded: by its measurement, and by the physics.

Definition, fixed before any prediction was compared with it. A run is overloaded when

- it served fewer than 0.95 of the requests that arrived, the time to drain the last ones left out: n requests sent at
  rate r take n / r seconds plus about the end-to-end time of a request that meets no queue (that of the lowest-rate run
  of the same deployment and lengths). Where n is unknown the achieved rate is taken as it is. Or
- its mean TTFT is above 1 s and above 10 times that of the lowest-rate run.

The lowest-rate run itself is judged by its rate alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.accuracy_parts.cases import Case, Load
from benchmarks.accuracy_parts.measured import measured
from benchmarks.accuracy_parts.metrics import Scored

SERVED = 0.95
SLOW_TTFT_S = 1.0
SLOW_TTFT_FACTOR = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One open-loop run."""

    scored: Scored
    overloaded: bool
    """By the measurement."""

    @property
    def predicted(self) -> bool:
        return not self.scored.stable

    @property
    def right(self) -> bool:
        return self.overloaded == self.predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts of runs."""

    stable_right: int
    overload_right: int
    false_alarms: int
    """Stable, called overloaded."""
    missed: int
    """Overloaded, called stable."""

    @property
    def runs(self) -> int:
        return self.stable_right + self.overload_right + self.false_alarms + self.missed

    @property
    def accuracy(self) -> float:
        return (self.stable_right + self.overload_right) / self.runs if self.runs else float("nan")


def verdicts(scored: Iterable[Scored], all_cases: Iterable[Case]) -> list[Verdict]:
    """Of the open-loop runs whose measurement can be judged; `all_cases` are where lowest-rate runs are looked for."""
    lowest = lowest_runs(all_cases)
    found = []
    for row in scored:
        if row.case.load is Load.OPEN:
            judged = overloaded(row.case, lowest[family_of(row.case)])
            if judged is not None:
                found.append(Verdict(scored=row, overloaded=judged))
    return found


def overloaded(case: Case, lowest: Case) -> bool | None:
    """By the definition above; None when neither rate nor TTFT was measured."""
    row, ttft, calm = case.row, measured(case).ttft_s, measured(lowest).ttft_s
    slow = None
    if case is not lowest and ttft and calm:
        slow = ttft > SLOW_TTFT_S and ttft > SLOW_TTFT_FACTOR * calm
    if not row.req_per_s:
        return slow
    achieved, wanted = row.req_per_s, case.requests_per_s * case.replicas
    if row.n_requests:
        drain = measured(lowest).e2e_s or 0.0
        achieved = row.n_requests / max(row.n_requests / achieved - drain, 1e-9)
    return achieved < SERVED * wanted or bool(slow)


def lowest_runs(cases: Iterable[Case]) -> dict[Hashable, Case]:
    """The lowest-rate run of each deployment and pair of lengths."""
    found: dict[Hashable, Case] = {}
    for case in cases:
        if case.load is Load.OPEN:
            known = found.get(family_of(case))
            if known is None or case.requests_per_s < known.requests_per_s:
                found[family_of(case)] = case
    return found


def family_of(case: Case) -> Hashable:
    """Runs that differ in their rate only. Sampled mean lengths differ a little from run to run: five per cent."""
    row = case.row
    return (row.source, row.engine, row.engine_version, case.shape, round_length(row.isl), round_length(row.osl))


def round_length(tokens: float | None) -> float:
    """One significant digit: random lengths of one distribution stay together."""
    return float(f"{tokens:.0e}") if tokens else 0.0


def confusion(found: Sequence[Verdict]) -> Confusion:
    counts: dict[tuple[bool, bool], int] = defaultdict(int)
    for verdict in found:
        counts[verdict.overloaded, verdict.predicted] += 1
    return Confusion(
        stable_right=counts[False, False],
        overload_right=counts[True, True],
        false_alarms=counts[False, True],
        missed=counts[True, False],
    )
