"""Many fleets over scarce pools: prices that make their own wishes fit, then whole placements near those prices.

Dantzig and Wolfe's decomposition: a master problem mixes the placements that fleets have offered so far within the
limits of scarce pools; its duals are prices of their GPUs; at these prices every fleet offers its best placement; and
so on. What all fleets would pay at any prices, less what the limits are worth, bounds the best joint placement from
below, so the gap is proven at each round. Few fleets are split between placements in the end, at most one for each
scarce pool, so that the bound is close when fleets are many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np

from inferencefleet.planning.placement.case import Case, limit_load
from inferencefleet.planning.placement.measure import cost, missing
from inferencefleet.planning.placement.priced import Offered, at_prices
from inferencefleet.planning.placement.share import usage
from inferencefleet.planning.placement.solve import Allowance, quiet_solver
from inferencefleet.planning.placement.terms import TOLERANCE

MOST_ROUNDS = 25
STALLED = 1e-3
"""A round that gains less than this share is the last..."""
NEARLY = 0.01
"""...when the bound is this near: mixtures are bounded a little below what they cost, so it may never meet."""
SPREAD = 3.0
"""Weights of neighbouring priorities are this much further apart than values of GPUs within one."""


@dataclass(slots=True)
class Column:
    owner: int
    counts: list[int]
    dollars: float
    missing: float
    gpus: list[float]
    """By scarce pool."""

    @property
    def total(self) -> float:
        return self.dollars + self.missing


def weights(cases: Sequence[Case]) -> list[float]:
    """By fleet: what its shortages are multiplied with, so that a higher priority outbids every lower one."""
    per_gpu: dict[int, tuple[float, float]] = {}
    for case in cases:
        values = [case.price * option.speed / limit_load(option.gpus, option.offer) for option in case.options]
        if values:
            least, most = per_gpu.get(case.claim.priority, (math.inf, 0.0))
            per_gpu[case.claim.priority] = (min(least, *values), max(most, *values))
    weight, factors, below = 1.0, {}, 0.0
    for priority in sorted(per_gpu):
        least, most = per_gpu[priority]
        weight = max(weight, SPREAD * below / least) if below else weight
        factors[priority] = weight
        below = most * weight
    return [factors.get(case.claim.priority, 1.0) for case in cases]


class Search:
    """Column generation over one component."""

    def __init__(
        self, cases: Sequence[Case], room: Sequence[Sequence[int]], free: Mapping[str, float], allowance: Allowance
    ) -> None:
        self.cases, self.room, self.allowance = cases, room, allowance
        self.pools = sorted(free)
        self.limits = [free[pool] for pool in self.pools]
        self.weights = weights(cases)
        number = {pool: index for index, pool in enumerate(self.pools)}
        self.loads = [
            [
                (number.get(option.pool, -1), limit_load(option.gpus, option.offer) if option.pool in number else 0.0)
                for option in case.options
            ]
            for case in cases
        ]
        self.columns: list[Column] = []
        self._known: set[tuple[int, tuple[int, ...]]] = set()
        self.added: list[Column] = []
        self.bound = -math.inf
        self.prices = [0.0] * len(self.pools)
        self.shares: list[float] = []

    def add(self, owner: int, offered: Offered) -> bool:
        key = (owner, tuple(offered.counts))
        if key in self._known:
            return False
        self._known.add(key)
        gpus = [0.0] * len(self.pools)
        for n, (pool, each) in zip(offered.counts, self.loads[owner], strict=True):
            if n and pool >= 0:
                gpus[pool] += n * each
        column = Column(owner, offered.counts, offered.dollars, offered.missing, gpus)
        self.columns.append(column)
        self.added.append(column)
        return True

    def ask(self, prices: Sequence[float]) -> bool:
        """What does every fleet offer at these prices? Improves the bound; says whether there was anything new."""
        lower = -sum(price * limit for price, limit in zip(prices, self.limits, strict=True))
        new = False
        for owner, case in enumerate(self.cases):
            extra = [prices[pool] * each if pool >= 0 else 0.0 for pool, each in self.loads[owner]]
            offered = at_prices(case, self.room[owner], extra, self.weights[owner])
            lower += offered.lower
            new |= self.add(owner, offered)
        self.bound = max(self.bound, lower)
        return new

    def converge(self, greedy: Sequence[list[int]], start: Mapping[str, float]) -> None:
        """Rounds until the master problem and the bound meet; from a placement that fits, and prices known before."""
        for owner, (case, counts) in enumerate(zip(self.cases, greedy, strict=True)):
            self.add(owner, _offered(case, counts, self.weights[owner]))
            self.add(owner, _offered(case, [option.keep for option in case.options], self.weights[owner]))
        self.ask([start.get(pool, 0.0) for pool in self.pools])
        master, before = Master(self), math.inf
        for _ in range(MOST_ROUNDS):
            solved = master.solve()
            if solved is None:
                return
            value, self.prices, self.shares = solved
            if value - self.bound <= 0.5 * TOLERANCE * abs(value) + 1e-9:
                return
            if before - value <= STALLED * abs(value) and value - self.bound <= NEARLY * abs(value):
                return
            before = value
            if not self.ask(self.prices):
                return

    def held(self) -> dict[str, float]:
        """GPUs of every limited pool in the last master problem, of scarce ones and of others."""
        used: dict[str, float] = {}
        for column, share in zip(self.columns, self.shares, strict=False):
            if share > 0:
                for pool, gpus in usage([self.cases[column.owner]], [column.counts]).items():
                    used[pool] = used.get(pool, 0.0) + share * gpus
        return used


def _offered(case: Case, counts: list[int], weight: float) -> Offered:
    return Offered(counts=counts, dollars=cost(case, counts), missing=weight * missing(case, counts), lower=-math.inf)


class Master:
    """The master problem, grown by columns and solved again from where it was."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.solver: Any = quiet_solver(TOLERANCE)
        fleets, pools = len(search.cases), len(search.pools)
        lower = np.concatenate([np.full(pools, -math.inf), np.ones(fleets)])
        upper = np.concatenate([np.asarray(search.limits, dtype=np.float64), np.ones(fleets)])
        self.solver.addRows(
            fleets + pools, lower, upper, 0, np.zeros(fleets + pools, np.int32), np.zeros(0, np.int32), np.zeros(0)
        )

    def solve(self) -> tuple[float, list[float], list[float]] | None:
        """(value, prices, shares)."""
        search, pools = self.search, len(self.search.pools)
        add_columns(self.solver, search.added, pools)
        search.added = []
        if not search.allowance.run(self.solver):
            return None
        if self.solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = self.solver.getSolution()
        duals = np.asarray(solution.row_dual)
        value = float(self.solver.getInfo().objective_function_value)
        return value, [max(0.0, -float(dual)) for dual in duals[:pools]], list(solution.col_value)


def add_columns(solver: Any, columns: Sequence[Column], pools: int) -> None:
    """One row for each pool, then one for each fleet."""
    starts: list[int] = []
    index: list[int] = []
    value: list[float] = []
    for column in columns:
        starts.append(len(index))
        for pool, gpus in enumerate(column.gpus):
            if gpus:
                index.append(pool)
                value.append(gpus)
        index.append(pools + column.owner)
        value.append(1.0)
    count = len(columns)
    solver.addCols(
        count,
        np.asarray([column.total for column in columns]),
        np.zeros(count),
        np.full(count, math.inf),
        len(index),
        np.asarray(starts, np.int32),
        np.asarray(index, np.int32),
        np.asarray(value, np.float64),
    )


def choose(search: Search, left: Sequence[float], owners: Sequence[int]) -> dict[int, list[int]] | None:
    """The best whole choice among the placements that these fleets have offered, in what is left of scarce pools."""
    place = {owner: position for position, owner in enumerate(owners)}
    mine = [
        Column(place[column.owner], column.counts, column.dollars, column.missing, column.gpus)
        for column in search.columns
        if column.owner in place
    ]
    # What these few may be wrong by counts little beside all.
    solver = quiet_solver(TOLERANCE * max(1.0, 0.5 * len(search.cases) / len(owners)))
    pools, fleets = len(search.pools), len(owners)
    lower = np.concatenate([np.full(pools, -math.inf), np.ones(fleets)])
    upper = np.concatenate([np.asarray(left, dtype=np.float64), np.ones(fleets)])
    rows = pools + fleets
    solver.addRows(rows, lower, upper, 0, np.zeros(rows, np.int32), np.zeros(0, np.int32), np.zeros(0))
    add_columns(solver, mine, pools)
    solver.changeColsIntegrality(len(mine), np.arange(len(mine), dtype=np.int32), np.ones(len(mine), np.uint8))
    search.allowance.problems += 1
    if not search.allowance.run(solver):
        return None
    values = solver.getSolution().col_value
    return {owners[column.owner]: column.counts for column, share in zip(mine, values, strict=True) if share > 0.5}
