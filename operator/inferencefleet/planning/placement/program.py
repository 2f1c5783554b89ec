"""Several fleets that want the same pools, written as one mixed-integer program.

Columns of a fleet: replicas by mode and option (kept and started apart where starting costs), which mode holds, and
what is lacking. Its need is written twice, as worth and as whole replicas: together the two rows are the exact hull of
"so many requests/s or pay for the rest", so that the relaxation of a fleet is nearly whole by itself and only what
fleets share makes it fractional.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from inferencefleet.planning.placement.case import HEDGE_SHARE, Case, Mode, limit_load, load
from inferencefleet.planning.placement.measure import Shortage
from inferencefleet.planning.placement.terms import Offer

INFINITY = math.inf
NODE_TIE = 1e-6
"""Of its share of a node costs a replica beside the node itself: of two equal ways the smaller one."""
LONGEST_HEDGE = 10**6


@dataclass(slots=True)
class Block:
    """Columns of one fleet."""

    first: int
    last: int = 0
    replicas: list[tuple[int, int, int, bool]] = field(default_factory=list)
    """(column, mode, option, started): in the order of the options within a mode."""
    modes: list[int] = field(default_factory=list)
    lacking: tuple[int, int, int] = (0, 0, 0)
    """Requests/s, replicas below the floor, units that would not survive."""
    losses: list[tuple[int, int]] = field(default_factory=list)
    """(column, option)."""


class Program:
    """Rows and columns as plain lists; `solve` hands them to HiGHS."""

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        free: Mapping[str, float],
        most_lacking: Sequence[Shortage] | None,
        whole_nodes: bool,
    ) -> None:
        """`free`: GPUs that these fleets may hold in all, of the pools that are limited.

        `most_lacking`: what each fleet may lack, None = anything. `whole_nodes`: nodes are bought whole; else they are
        paid by their share, which bounds it from below.
        """
        self.cases = cases
        self.cost: list[float] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.whole: list[int] = []
        self.row_lower: list[float] = []
        self.row_upper: list[float] = []
        self.start: list[int] = []
        self.index: list[int] = []
        self.value: list[float] = []
        self.shortage_cost: dict[int, float] = {}
        self.limit_rows: dict[str, int] = {}
        self.node_columns: dict[str, int] = {}
        self._free, self._whole_nodes = free, whole_nodes
        self._offers: dict[str, Offer] = {}
        self._held: dict[str, tuple[list[int], list[float]]] = {pool: ([], []) for pool in sorted(free)}
        self._on_nodes: dict[str, tuple[list[int], list[float]]] = {}
        self.blocks = [
            self._block(case, None if most_lacking is None else most_lacking[index]) for index, case in enumerate(cases)
        ]
        self._share()

    def _column(self, cost: float, upper: float, *, lower: float = 0.0, whole: bool = True) -> int:
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        self.whole.append(1 if whole else 0)
        return len(self.cost) - 1

    def row(self, lower: float, upper: float, columns: Sequence[int], values: Sequence[float]) -> int:
        self.start.append(len(self.index))
        self.index.extend(columns)
        self.value.extend(values)
        self.row_lower.append(lower)
        self.row_upper.append(upper)
        return len(self.row_lower) - 1

    def _block(self, case: Case, most: Shortage | None) -> Block:
        block = Block(first=len(self.cost))
        self._lacking(case, block, most)
        mine: list[tuple[Mode, list[int], list[float]]] = []
        for number, mode in enumerate(case.modes):
            columns, weights = self._replicas(case, block, number)
            mine.append((mode, columns, weights))
        if len(case.modes) > 1:
            block.modes = [self._column(0.0, 1.0) for _ in case.modes]
            self.row(1.0, 1.0, block.modes, [1.0] * len(block.modes))
        self._needs(case, block, mine, fixed=most is not None and not most.any)
        self._limits_of_fleet(case, block, mine)
        if case.hedged:
            self._hedge(case, block, mine)
        block.last = len(self.cost)
        return block

    def _lacking(self, case: Case, block: Block, most: Shortage | None) -> None:
        price = case.price
        fastest = max((option.speed for option in case.options), default=1.0)
        slowest = min((mode.unit for mode in case.modes), default=1.0)
        bounds: tuple[float, float, float] = (INFINITY, INFINITY, INFINITY)
        if most is not None:
            bounds = (most.requests_per_s, most.replicas, math.ceil(most.survival_requests_per_s / slowest - 1e-9))
        prices = (price, price * fastest, price * HEDGE_SHARE * slowest)
        block.lacking = (
            self._column(0.0, bounds[0], whole=False),
            self._column(0.0, bounds[1], whole=False),
            self._column(0.0, bounds[2], whole=False),
        )
        self.shortage_cost.update(zip(block.lacking, prices, strict=True))

    def _replicas(self, case: Case, block: Block, number: int) -> tuple[list[int], list[float]]:
        mode, columns, weights = case.modes[number], [], []
        for i, weight in zip(mode.members, mode.weights, strict=True):
            option = case.options[i]
            most = min(option.most, _most_replicas(case, mode))
            there = min(option.current, most) if option.start > 0 else 0
            paid = self._whole_nodes and option.offer.marginal_price_per_gpu_hour > 0
            each = option.cost * NODE_TIE if paid else option.cost
            for cost, upper, started in ((each, there, False), (each + option.start, most - there, True)):
                if upper <= 0:
                    continue
                column = self._column(cost, upper)
                columns.append(column)
                weights.append(weight)
                block.replicas.append((column, number, i, started))
                if option.pool in self._held:
                    held = self._held[option.pool]
                    held[0].append(column)
                    held[1].append(limit_load(option.gpus, option.offer))
                if paid:
                    self._offers[option.pool] = option.offer
                    nodes = self._on_nodes.setdefault(option.pool, ([], []))
                    nodes[0].append(column)
                    nodes[1].append(load(option.gpus, option.offer.gpus_per_node))
        return columns, weights

    def _needs(
        self, case: Case, block: Block, mine: Sequence[tuple[Mode, list[int], list[float]]], *, fixed: bool
    ) -> None:
        """`requests_per_s` in whole units and, where something may be lacking, in requests/s."""
        need = case.claim.need.requests_per_s
        lacking, below, _ = block.lacking
        columns, values, fixed_part = [lacking], [1.0], 0.0
        scale = 1.0
        if len(mine) == 1:
            scale = mine[0][0].remainder
            values[0] = 1.0 / scale
        for number, (mode, mode_columns, weights) in enumerate(mine):
            columns += mode_columns
            values += [weight * mode.remainder / scale for weight in weights]
            if block.modes:
                columns.append(block.modes[number])
                values.append(-mode.remainder * mode.need_units)
            else:
                fixed_part = mode.need_units
        if need > 0 and mine:
            self.row(fixed_part, INFINITY, columns, values)
        if need > 0 and not fixed:
            columns, values = [lacking], [1.0]
            for mode, mode_columns, weights in mine:
                columns += mode_columns
                values += [weight * mode.unit for weight in weights]
            self.row(need, INFINITY, columns, values)
        if not mine or case.floor > min(mode.need_units for mode, _, _ in mine) or any(not m.whole for m, _, _ in mine):
            everything = [column for _, mode_columns, _ in mine for column in mode_columns]
            self.row(case.floor, INFINITY, [below, *everything], [1.0] * (1 + len(everything)))

    def _limits_of_fleet(self, case: Case, block: Block, mine: Sequence[tuple[Mode, list[int], list[float]]]) -> None:
        for number, (mode, columns, _) in enumerate(mine):
            most = _most_replicas(case, mode)
            if block.modes:
                self.row(-INFINITY, 0.0, [*columns, block.modes[number]], [1.0] * len(columns) + [-float(most)])
            else:
                self.row(-INFINITY, most, columns, [1.0] * len(columns))
            spot = [column for column, of, i, _ in block.replicas if of == number and case.options[i].spot]
            if not spot:
                continue
            if block.modes:
                self.row(-INFINITY, 0.0, [*spot, block.modes[number]], [1.0] * len(spot) + [-float(mode.spot_most)])
            else:
                self.row(-INFINITY, mode.spot_most, spot, [1.0] * len(spot))
        for column, number, _, _ in block.replicas:
            if block.modes and self.upper[column] < _most_replicas(case, case.modes[number]):
                self.row(-INFINITY, 0.0, [column, block.modes[number]], [1.0, -self.upper[column]])
        if case.claim.budget_per_hour is not None:
            kept = sum(option.price * option.keep for option in case.options)
            self.row(
                -INFINITY,
                max(case.claim.budget_per_hour, kept),
                [column for column, *_ in block.replicas],
                [case.options[i].price for _, _, i, _ in block.replicas],
            )
        for i, option in enumerate(case.options):
            if option.keep > 0:
                columns = [column for column, _, of, _ in block.replicas if of == i]
                self.row(option.keep, INFINITY, columns, [1.0] * len(columns))

    def _hedge(self, case: Case, block: Block, mine: Sequence[tuple[Mode, list[int], list[float]]]) -> None:
        """Of each spot pool either all that it may lose is spare, or what stands elsewhere is enough."""
        most_units = max(mode.survive_units for mode, _, _ in mine)
        if most_units <= 0:
            return
        columns, values, fixed = [block.lacking[2]], [1.0], 0.0
        for number, (mode, mode_columns, weights) in enumerate(mine):
            columns += mode_columns
            values += weights
            if block.modes:
                columns.append(block.modes[number])
                values.append(-mode.survive_units)
            else:
                fixed = mode.survive_units
        for i, option in enumerate(case.options):
            if not option.spot or option.loss <= 0 or option.most <= 0:
                continue
            spare = self._column(0.0, 1.0)
            block.losses.append((spare, i))
            self.row(fixed, INFINITY, [*columns, spare], [*values, -float(min(option.loss, LONGEST_HEDGE))])
            here = {column for column, _, of, _ in block.replicas if of == i}
            elsewhere = [(column, value) for column, value in zip(columns, values, strict=True) if column not in here]
            self.row(
                fixed,
                INFINITY,
                [*(column for column, _ in elsewhere), spare],
                [*(value for _, value in elsewhere), most_units],
            )

    def _share(self) -> None:
        """What no fleet can see alone: limits of pools, and nodes that are bought whole."""
        keeps: dict[str, float] = {}
        for case in self.cases:
            for option in case.options:
                keeps[option.pool] = keeps.get(option.pool, 0.0) + option.keep * limit_load(option.gpus, option.offer)
        for pool, (columns, values) in self._held.items():
            free = max(self._free[pool], keeps.get(pool, 0.0))
            self.limit_rows[pool] = self.row(-INFINITY, free, columns, values)
        for pool, (columns, values) in sorted(self._on_nodes.items()):
            offer = self._offers[pool]
            nodes = self._column(offer.gpus_per_node * offer.marginal_price_per_gpu_hour, INFINITY)
            self.node_columns[pool] = nodes
            self.row(0.0, INFINITY, [nodes, *columns], [float(offer.gpus_per_node), *(-value for value in values)])

    def nodes_needed(self, pool: str, values: np.ndarray) -> int:
        """Nodes that hold the replicas of a solution."""
        columns, loads = self._on_nodes[pool]
        gpus = sum(each * float(values[column]) for column, each in zip(columns, loads, strict=True))
        return math.ceil(gpus / self._offers[pool].gpus_per_node - 1e-9)

    def counts(self, block: Block, case: Case, values: np.ndarray) -> list[float]:
        """Replicas by option in a solution."""
        counts = [0.0] * len(case.options)
        for column, _, i, _ in block.replicas:
            counts[i] += float(values[column])
        return counts


def _most_replicas(case: Case, mode: Mode) -> int:
    """More than this can neither serve nor hedge anything."""
    if not mode.whole:
        slowest = min(mode.weights)
        wanted = math.ceil(min(mode.need_units / slowest, 1e9)) + math.ceil(mode.survive_units / slowest)
    else:
        wanted = mode.target
    wanted = max(wanted, mode.target)
    if case.hedged:
        wanted += max((min(option.loss, LONGEST_HEDGE) for option in case.options if option.spot), default=0)
    return min(case.ceiling, max(wanted, case.kept))
