"""Everything that is computed from one file of runs, before any of it becomes a table."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks.accuracy_parts.calibrate import Calibrated, calibrate, is_closed, rescored
from benchmarks.accuracy_parts.cases import Case, Excluded, Load, case_of
from benchmarks.accuracy_parts.metrics import Scored, score
from benchmarks.accuracy_parts.overload import Verdict, verdicts
from benchmarks.accuracy_parts.predict import Oracle
from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.split import Side, side


@dataclass
class Study:
    """One file. Each property is computed once, when it is first asked for."""

    rows: Sequence[Row]
    side_of: Callable[[Row], Side] = side

    def __post_init__(self) -> None:
        self.oracle = Oracle()

    @cached_property
    def found(self) -> list[Case | Excluded]:
        """By row, in order."""
        return [self._tried(case_of(row, self.side_of)) for row in self.rows]

    def _tried(self, case: Case | Excluded) -> Case | Excluded:
        """The case if the physics answers it; a row that it fails on is a bug to be seen, not an end of the run."""
        if isinstance(case, Excluded):
            return case
        try:
            point = self.oracle(case)
            values = (point.itl_mean_s, point.ttft_mean_s, point.ttft_p50_s, point.output_tokens_per_s)
            if all(math.isfinite(value) and value > 0 for value in values):
                return case
            problem = f"gave {point}"
        except Exception as error:
            problem = f"failed: {type(error).__name__}: {error}"
        print(f"line {case.row.line}: {case.shape} {problem}", file=sys.stderr)
        return Excluded.FAILED

    @cached_property
    def scored(self) -> list[Scored]:
        """All rows that can be asked, stand-ins too, uncalibrated."""
        return [score(case, self.oracle) for case in self.found if isinstance(case, Case)]

    @cached_property
    def plain(self) -> list[Scored]:
        """Those that are what they say: no stand-ins."""
        return [row for row in self.scored if row.case.excluded is None]

    @cached_property
    def stand_ins(self) -> list[Scored]:
        return [row for row in self.scored if row.case.excluded is not None]

    @cached_property
    def closed(self) -> list[Scored]:
        return [row for row in self.plain if is_closed(row.case)]

    @cached_property
    def open(self) -> list[Scored]:
        return [row for row in self.plain if row.case.load is Load.OPEN]

    @cached_property
    def batch(self) -> list[Scored]:
        return [row for row in self.plain if row.case.load is Load.BATCH]

    @cached_property
    def calibrated(self) -> Calibrated:
        """Of closed-loop rows."""
        return calibrate((row.case for row in self.closed), self.oracle)

    @cached_property
    def rescored(self) -> list[Scored]:
        """Closed-loop rows that no calibration saw, under the constants of their deployment."""
        return rescored(self.calibrated, self.oracle)

    @cached_property
    def calibrated_open(self) -> Calibrated:
        return calibrate((row.case for row in self.open), self.oracle)

    @cached_property
    def rescored_open(self) -> list[Scored]:
        return rescored(self.calibrated_open, self.oracle)

    def verdicts(self, rows: Sequence[Scored]) -> list[Verdict]:
        """Stable or overloaded, of open-loop rows among these."""
        return verdicts(rows, (row.case for row in self.scored))


def unsaturated(rows: Sequence[Scored]) -> list[Scored]:
    return [row for row in rows if not row.saturated]
