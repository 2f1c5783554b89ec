"""Does the plausible loss hold on recorded spot markets, and what does it take?

    python -m benchmarks.hedge --data DIR

DIR holds the traces of github.com/skypilot-org/spot-traces (folders `availability` and `preemption`); they have no
licence, so they are not in this repository.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from timeit import timeit

from benchmarks.paper import Paper, Table, percent
from inferencefleet import catalog
from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import CapacityType, InterruptionRecord, NodeState, Pool, PoolMemory, PoolState, Tally
from inferencefleet.planning import interruptions
from inferencefleet.planning.interruptions import observe
from inferencefleet.planning.losses import plausible_loss

ATTAINMENTS = (0.9, 0.95, 0.99)
REPLACE_S = (300.0, 600.0)
"""A warm image on a ready cloud, and a slow one."""
FIXED = (1, 2)
"""Spares of a rule that does not look at the market, as SkyServe's over-provisioning."""
KINDS = {"16 nodes": "availability/16-node", "4 nodes": "preemption/4-node", "1 node": "*/1-node"}
REFRESH_S = 600.0
"""Without news the answer is asked for again after so long; it moves little."""

INTRODUCTION = (
    "Recorded spot markets of AWS and Google Cloud, 2022 and 2023 (github.com/skypilot-org/spot-traces), one number of "
    "nodes each 30 s to 10 min. A pool wants as many nodes as its trace ever had and holds what the market gave. "
    "`observe` learns tick by tick from the declared default of 0.05 interruptions a node hour, without a look ahead; "
    "what was held ready before a loss meets it, and each lost node is down for the time that a replacement takes. The "
    "traces tell of no notices, so there are none: a real notice makes all this better."
)
LEGEND = (
    "`allowed` is 1 - attainment; `more down` the share of the time with spot nodes in which more nodes were down than "
    "the plausible loss said, over all markets and in the worst one; `spares` the mean of the plausible loss, in nodes "
    "and of the nodes held. `one mood` is the same without telling restless hours (2 h after a loss or a return) from "
    "calm ones. `hindsight` is the fixed number of spares that would just have done in each market, the mean over "
    "markets. The last two columns are a fixed over-provision of 1 or 2 nodes, as SkyServe has it. Two hours, the "
    "factor of 3 and the prior sizes of common losses were chosen after a look at these markets; rates were not."
)

Question = tuple[float, float]
"""(seconds to replace, attainment)."""
QUESTIONS: tuple[Question, ...] = tuple((replace_s, wanted) for replace_s in REPLACE_S for wanted in ATTAINMENTS)


@dataclass(frozen=True, slots=True)
class Series:
    """Nodes that a market gave, one number each `gap_s`."""

    name: str
    gap_s: float
    nodes: tuple[int, ...]

    @property
    def most(self) -> int:
        return max(self.nodes)


@dataclass(slots=True)
class Outcome:
    """One question on one trace; times in seconds."""

    used_s: float = 0.0
    """In which nodes were held or down."""
    missed_s: float = 0.0
    """In which more were down than there were spares for."""
    fixed_s: dict[int, float] = field(default_factory=lambda: dict.fromkeys(FIXED, 0.0))
    down_s: dict[int, float] = field(default_factory=dict)
    """By number of nodes down."""
    spare_s: float = 0.0
    """Node seconds of spares."""
    held_s: float = 0.0
    """Node seconds held."""

    def hindsight(self, wanted: float) -> int:
        """The fixed number of spares that would have done, known only afterwards."""
        worst = max(self.down_s, default=0)
        allowed = (1 - wanted) * self.used_s
        return next(k for k in range(worst + 1) if sum(s for n, s in self.down_s.items() if n > k) <= allowed)


Answers = dict[Question, Outcome]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hedge")
    parser.add_argument("--data", type=Path, required=True, help="folder with the traces")
    parser.add_argument("--most", type=int, default=None, help="traces of each kind; default all")
    args = parser.parse_args(argv)
    paper = Paper("hedge", "Plausible loss of spot nodes against recorded markets", seed="none: nothing is drawn")
    paper.parts.append(INTRODUCTION)
    for kind, folder in KINDS.items():
        series = [read(path) for path in sorted(args.data.glob(f"{folder}/*/*.json"))][: args.most]
        if not series:
            parser.error(f"--data {args.data}: no {folder}/*/*.json there; give the folder that holds `availability`")
        tallies = [replay(market) for market in series if market.most > 0]
        with one_mood():
            plain = [replay(market) for market in series if market.most > 0]
        paper.parts += [f"## {len(tallies)} markets of {kind}", _table(tallies, plain)]
        paper.figures[kind] = [_figures(question, [tally[question] for tally in tallies]) for question in QUESTIONS]
        paper.figures[f"{kind}, one mood"] = [
            _figures(question, [tally[question] for tally in plain]) for question in QUESTIONS
        ]
    paper.parts += [LEGEND, _speed()]
    paper.write()
    return 0


@contextmanager
def one_mood() -> Iterator[None]:
    """The ablation: a pool is as likely to lose nodes right after a loss as ever."""
    kept = interruptions.RESTLESS_S
    interruptions.RESTLESS_S = 0.0
    try:
        yield
    finally:
        interruptions.RESTLESS_S = kept


def read(path: Path) -> Series:
    trace = json.loads(path.read_text())
    return Series(path.stem, float(trace["metadata"]["gap_seconds"]), tuple(int(nodes) for nodes in trace["data"]))


def replay(series: Series) -> Answers:
    """Every question in one pass: the record is the same for all."""
    pool = _pool(series)
    memory, record = PoolMemory(), InterruptionRecord()
    tallies = {question: Outcome() for question in QUESTIONS}
    spares: dict[Question, int] = dict.fromkeys(QUESTIONS, 0)
    losses: dict[float, list[tuple[float, int, dict[Question, int]]]] = {replace_s: [] for replace_s in REPLACE_S}
    names: list[str] = []
    asked_s, born = float("-inf"), 0
    for tick, held in enumerate(series.nodes):
        at_s = tick * series.gap_s
        lost = max(0, len(names) - held)
        if lost:
            for ongoing in losses.values():
                ongoing.append((at_s, lost, dict(spares)))
        changed = held != len(names)
        names = names[:held]
        while len(names) < held:
            names.append(f"node-{born}")
            born += 1
        record, memory = observe(_state(pool, names), memory, replicas=_replicas(names), at_s=at_s)
        if changed or at_s - asked_s >= REFRESH_S:
            asked_s = at_s
            spares = {question: _spares(record, pool, held, question, at_s) for question in QUESTIONS}
        for question, tally in tallies.items():
            _count(tally, question, losses[question[0]], held, spares[question], at_s, series.gap_s)
    return tallies


def _count(
    tally: Outcome,
    question: Question,
    losses: list[tuple[float, int, dict[Question, int]]],
    held: int,
    spares: int,
    at_s: float,
    gap_s: float,
) -> None:
    """One tick, cut where a replacement begins to serve."""
    replace_s = question[0]
    while losses and losses[0][0] + replace_s <= at_s:
        losses.pop(0)
    cuts = sorted({at_s, at_s + gap_s, *(cut for began, _, _ in losses if (cut := began + replace_s) < at_s + gap_s)})
    for begin, end in pairwise(cuts):
        lasting = [loss for loss in losses if loss[0] + replace_s > begin]
        down = sum(nodes for _, nodes, _ in lasting)
        if not held and not down:
            continue
        # What was held ready before the first of these losses is what meets them all.
        ready = lasting[0][2][question] if lasting else spares
        span = end - begin
        tally.used_s += span
        tally.missed_s += span * (down > ready)
        for number in FIXED:
            tally.fixed_s[number] += span * (down > number)
        tally.down_s[down] = tally.down_s.get(down, 0.0) + span
        tally.spare_s += span * spares
        tally.held_s += span * held


def _spares(record: InterruptionRecord, pool: Pool, held: int, question: Question, at_s: float) -> int:
    replace_s, wanted = question
    return plausible_loss(record, pool, nodes_used=held, replace_s=replace_s, attainment=wanted, at_s=at_s).nodes


def _pool(series: Series) -> Pool:
    return Pool(
        name=series.name, uid="", generation=1, gpu=catalog.gpu("A100-SXM"), resource_name="nvidia.com/gpu",
        gpus_per_node=1, capacity_type=CapacityType.SPOT, price_per_gpu_hour=1.0, currency="USD",
        max_gpus=series.most, spot_notice_s=0.0,
    )  # fmt: skip


def _state(pool: Pool, names: Sequence[str]) -> PoolState:
    return PoolState(
        pool=pool,
        nodes=tuple(NodeState(name=name, pool=pool.name, gpus=1, ready=True, doomed=False) for name in names),
    )


def _replicas(names: Sequence[str]) -> list[Replica]:
    return [Replica(name=name, pool="", phase=Phase.READY, node=name, since_s=0, created_s=0) for name in names]


def _figures(question: Question, tallies: Sequence[Outcome]) -> dict[str, float]:
    used = sum(tally.used_s for tally in tallies)
    return {
        "replace_s": question[0],
        "attainment": question[1],
        "more_down": sum(tally.missed_s for tally in tallies) / used,
        "worst": max(tally.missed_s / tally.used_s for tally in tallies),
        "markets_kept": sum(1 for tally in tallies if tally.missed_s <= (1 - question[1]) * tally.used_s),
        "spares": sum(tally.spare_s for tally in tallies) / used,
        "spares_of_held": sum(tally.spare_s for tally in tallies) / sum(tally.held_s for tally in tallies),
        "hindsight": fmean(tally.hindsight(question[1]) for tally in tallies),
        **{f"fixed_{number}": sum(tally.fixed_s[number] for tally in tallies) / used for number in FIXED},
    }


def _speed() -> str:
    pool, names = _pool(Series("market", 15.0, (16,))), [f"node-{number}" for number in range(16)]
    tally = Tally(node_hours=700, group_hours=100, lone=9, groups=(10, 10, 15, 56))
    record = InterruptionRecord(as_of_s=0.0, quiet_since_s=0.0, restless=tally)
    state, pods = _state(pool, names), _replicas(names)
    _, memory = observe(state, PoolMemory(record=record), replicas=pods, at_s=0.0)
    loss_s = timed(lambda: _spares(record, pool, 16, (600.0, 0.99), 0.0))
    observe_s = timed(lambda: observe(state, memory, replicas=pods, at_s=15.0))
    return f"Of 16 nodes one plausible loss takes {1e6 * loss_s:.0f} us, one look at the pool {1e6 * observe_s:.0f} us."


def timed(call: Callable[[], object], calls: int = 200) -> float:
    """Seconds of one call: the best of seven means, on cores that others use too."""
    return min(timeit(call, number=calls) for _ in range(7)) / calls


def _table(tallies: Sequence[Answers], plain: Sequence[Answers]) -> Table:
    columns = (
        "replaced in", "attainment", "allowed", "more down", "worst market", "markets that keep it", "spares",
        "of nodes held", "one mood: more down", "one mood: of nodes held", "hindsight", "more than 1 down",
        "more than 2 down",
    )  # fmt: skip
    rows = []
    for question in QUESTIONS:
        row = _figures(question, [tally[question] for tally in tallies])
        other = _figures(question, [tally[question] for tally in plain])
        rows.append(
            [
                f"{row['replace_s']:.0f} s",
                f"{row['attainment']:g}",
                percent(1 - row["attainment"]),
                percent(row["more_down"]),
                percent(row["worst"]),
                f"{row['markets_kept']} of {len(tallies)}",
                f"{row['spares']:.2f}",
                percent(row["spares_of_held"]),
                percent(other["more_down"]),
                percent(other["spares_of_held"]),
                f"{row['hindsight']:.2f}",
                percent(row["fixed_1"]),
                percent(row["fixed_2"]),
            ]
        )
    return Table(columns, rows)


if __name__ == "__main__":
    sys.exit(main())
