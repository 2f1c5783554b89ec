"""A `Program` in the hands of HiGHS: who lacks what first, by priority, then dollars.

Priorities are strict, so they are not weights: what the highest level lacks is made as small as it can be and held
there, then the next level, then dollars. Weights far enough apart for that would leave no digits for prices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from inferencefleet.planning.placement.case import Case, Mode
from inferencefleet.planning.placement.program import Block, Program

EXACT_GAP = 1e-6
HELD = 1e-6
"""Relative and absolute tolerance at which a level's shortage is held while the next is minimised."""


@dataclass(slots=True)
class Allowance:
    """Seconds of solving that are left. There is no clock here: HiGHS says how long it took."""

    left_s: float
    problems: int = 0

    def run(self, solver: Any) -> bool:
        """Run within what is left; says whether there is a solution."""
        if self.left_s <= 0:
            return False
        before_s = solver.getRunTime()
        solver.setOptionValue("time_limit", before_s + self.left_s)
        solver.run()
        self.left_s -= solver.getRunTime() - before_s
        return bool(solver.getInfo().primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible))


class QuietHighs(highspy.Highs):  # type: ignore[misc]  # HiGHS comes without types of its base class
    """HiGHS says who it is as soon as callbacks are set up, and its constructor does that: before one could ask it to
    be silent. Nothing here needs callbacks."""

    def enableCallbacks(self) -> None:
        self.silent()


def quiet_solver(gap: float) -> Any:
    """HiGHS as it is used here: one thread, always the same way."""
    solver = QuietHighs()
    for option, value in (
        ("threads", 1),
        ("parallel", "off"),
        ("random_seed", 0),
        ("mip_rel_gap", gap),
        ("mip_abs_gap", 1e-6),
    ):
        solver.setOptionValue(option, value)
    return solver


@dataclass(slots=True)
class Solved:
    """The last phase's solution, and what bounds it."""

    counts: list[list[int]]
    cost_bound: float
    """Minus infinity when time was up before dollars were asked for."""
    shortage_bound: float


def optimise(
    program: Program, allowance: Allowance, start: Sequence[Sequence[int]], *, gap: float = EXACT_GAP
) -> Solved | None:
    """Solve all phases from `start`; when time is up, what is known by then. None when that is nothing."""
    levels = _levels(program)
    rows = [
        program.row(-math.inf, math.inf, columns, [program.shortage_cost[column] for column in columns])
        for columns in levels
    ]
    solver, values = _solver(program, gap), _start(program, start)
    shortage_bound, cost_bound, anything = 0.0, -math.inf, False
    for number in range(len(levels) + 1):
        objective = np.zeros(len(program.cost))
        if number < len(levels):
            objective[levels[number]] = [program.shortage_cost[column] for column in levels[number]]
        else:
            objective[:] = program.cost
        ran = _run(solver, objective, values, allowance)
        if ran is None:
            break
        anything = True
        values, least, bound = ran
        if number < len(levels):
            shortage_bound += max(0.0, bound)
            solver.changeRowBounds(rows[number], -math.inf, least + HELD * (1.0 + abs(least)))
        else:
            cost_bound = bound
    if not anything:
        return None
    return Solved(
        counts=[
            [round(n) for n in program.counts(block, case, values)]
            for block, case in zip(program.blocks, program.cases, strict=True)
        ],
        cost_bound=cost_bound,
        shortage_bound=shortage_bound,
    )


def _levels(program: Program) -> list[list[int]]:
    """Columns of what may be lacking, one list for each priority, the highest first."""
    levels: dict[int, list[int]] = {}
    for case, block in zip(program.cases, program.blocks, strict=True):
        columns = [column for column in block.lacking if program.upper[column] > 0]
        if columns:
            levels.setdefault(-case.claim.priority, []).extend(columns)
    return [levels[level] for level in sorted(levels)]


def _solver(program: Program, gap: float) -> Any:
    solver = quiet_solver(gap)
    if len(program.index) == 0:
        # HiGHS wants at least one row; one that says nothing does.
        program.row(-math.inf, math.inf, [0], [1.0])
    solver.passModel(
        len(program.cost),
        len(program.row_lower),
        len(program.index),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        np.asarray(program.cost, dtype=np.float64),
        np.asarray(program.lower, dtype=np.float64),
        np.asarray(program.upper, dtype=np.float64),
        np.asarray(program.row_lower, dtype=np.float64),
        np.asarray(program.row_upper, dtype=np.float64),
        np.asarray(program.start, dtype=np.int32),
        np.asarray(program.index, dtype=np.int32),
        np.asarray(program.value, dtype=np.float64),
        np.asarray(program.whole, dtype=np.int32),
    )
    return solver


def _run(
    solver: Any, objective: np.ndarray, values: np.ndarray, allowance: Allowance
) -> tuple[np.ndarray, float, float] | None:
    """(values, objective, bound)."""
    columns = len(objective)
    every = np.arange(columns, dtype=np.int32)
    solver.changeColsCost(columns, every, objective)
    solver.setSolution(columns, every, values)
    allowance.problems += 1
    if not allowance.run(solver):
        return None
    info = solver.getInfo()
    value = float(info.objective_function_value)
    return np.asarray(solver.getSolution().col_value), value, min(value, float(info.mip_dual_bound))


def _start(program: Program, counts: Sequence[Sequence[int]]) -> np.ndarray:
    values = np.zeros(len(program.cost))
    for block, case, mine in zip(program.blocks, program.cases, counts, strict=True):
        if case.modes:
            _start_block(program, block, case, mine, values)
    for pool, column in program.node_columns.items():
        values[column] = program.nodes_needed(pool, values)
    return values


def _start_block(program: Program, block: Block, case: Case, counts: Sequence[int], values: np.ndarray) -> None:
    number, mode = mode_of(case, counts)
    if block.modes:
        values[block.modes[number]] = 1.0
    left = list(counts)
    for column, of, i, _ in block.replicas:
        if of == number:
            values[column] = min(left[i], program.upper[column])
            left[i] -= int(values[column])
    units = units_of(mode, counts)
    need, total = case.claim.need.requests_per_s, sum(counts)
    lacking, below, unsafe = block.lacking
    values[lacking] = max(0.0, need - mode.unit * units, mode.remainder * (mode.need_units - units))
    values[below] = max(0, case.floor - total)
    for column, i in block.losses:
        weight = dict(zip(mode.members, mode.weights, strict=True)).get(i, 1.0)
        spare = 1.0 if units - weight * counts[i] < mode.survive_units else 0.0
        values[column] = spare
        missing = mode.survive_units + spare * case.options[i].loss - units
        values[unsafe] = max(values[unsafe], missing)


def mode_of(case: Case, counts: Sequence[int]) -> tuple[int, Mode]:
    """The mode in which these replicas are worth most."""
    used = {i for i, n in enumerate(counts) if n > 0}
    fitting = [
        (units_of(mode, counts) * mode.unit, -number)
        for number, mode in enumerate(case.modes)
        if used <= set(mode.members)
    ]
    number = -max(fitting)[1]
    return number, case.modes[number]


def units_of(mode: Mode, counts: Sequence[int]) -> float:
    return sum(weight * counts[i] for i, weight in zip(mode.members, mode.weights, strict=True))
