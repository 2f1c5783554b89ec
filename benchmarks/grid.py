"""Every model of the catalogue on every GPU, at every tensor-parallel size and weight format: what serves and what not.

python -m benchmarks.grid [--model ID ...]

Finds exceptions and values that are not finite; nothing here is compared with measurements (`benchmarks.accuracy` is).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from benchmarks.paper import Paper, Table
from inferencefleet.domain.capacity import Confidence, Limit, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.capacity import replica_capacities
from tests.unit.physics.grid import cells, possible
from tests.unit.physics.shapes import CHAT_SLOS, chat

MIX = chat()
WORDS = {
    Limit.KV_MEMORY: "serves; KV cache memory binds",
    Limit.MAX_SEQS: "serves; maxNumSeqs binds",
    Limit.ITL: "serves; inter-token latency binds",
    Limit.TTFT: "serves; time to first token binds",
    Limit.E2E: "serves; end-to-end latency binds",
    Limit.HOST: "serves; the host binds",
}
SPLIT = "the engine cannot split the model so"
WEIGHTS = "refused: the weights do not fit"
CACHE = "refused: it loads, but one request of maxModelLen does not fit"
SLOW = "refused: even one request alone misses an SLO"


@dataclass(slots=True)
class Tally:
    """What became of the cells."""

    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    confidence: Counter[Confidence] = field(default_factory=Counter)
    by_gpu: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, shape: ReplicaShape, outcome: str) -> None:
        self.outcomes[outcome] += 1
        kind = outcome.partition(";")[0].partition(":")[0]
        self.by_gpu.setdefault(shape.gpu.name, Counter())[kind] += 1


def measure(models: Sequence[str] = ()) -> Tally:
    """All cells with a bf16 cache, one question for each model; `models` limits to some."""
    tally = Tally()
    for _, group in groupby(cells(NumberFormat.BF16, models), key=lambda shape: shape.model.id):
        shapes = []
        for shape in group:
            if possible(shape):
                shapes.append(shape)
            else:
                tally.add(shape, SPLIT)
        began = time.perf_counter()
        answers = list(_answers(shapes, tally))
        tally.seconds += time.perf_counter() - began
        for shape, capacity in answers:
            _count(tally, shape, capacity)
    return tally


def _answers(shapes: Sequence[ReplicaShape], tally: Tally) -> Iterator[tuple[ReplicaShape, ReplicaCapacity]]:
    try:
        yield from zip(shapes, replica_capacities(shapes, MIX, CHAT_SLOS), strict=True)
    except Exception:  # which cells are to blame is found one by one
        for shape in shapes:
            try:
                yield shape, replica_capacities([shape], MIX, CHAT_SLOS)[0]
            except Exception as error:
                tally.faults.append(f"{shape}: {type(error).__name__}: {error}")


def _count(tally: Tally, shape: ReplicaShape, capacity: ReplicaCapacity) -> None:
    values = [capacity.requests_per_s, capacity.concurrency, *capacity.latencies_s.values()]
    if not all(math.isfinite(value) and value >= 0 for value in values) or not capacity.sentence:
        tally.faults.append(f"{shape}: not finite: {capacity}")
    if capacity.serves:
        tally.add(shape, WORDS[capacity.binding])
        tally.confidence[capacity.confidence] += 1
    elif capacity.binding is Limit.SLO_UNREACHABLE:
        tally.add(shape, SLOW)
    else:
        tally.add(shape, CACHE if capacity.memory and capacity.memory.fits else WEIGHTS)


def report(tally: Tally) -> list[str | Table]:
    """What to read, in order."""
    cells_asked = sum(tally.outcomes.values()) - tally.outcomes[SPLIT]
    return [
        f"{sum(tally.outcomes.values()):,} cells: model x GPU x tensor parallelism 1, 2, 4, 8 x weight format, with a "
        "bf16 KV cache, maxModelLen 32,768 (or the model's own, if shorter), 1,000 prompt and 250 output tokens "
        "(lognormal), TTFT p95 <= 2 s and ITL p95 <= 60 ms.",
        f"{len(tally.faults)} exceptions or values that are not finite. {cells_asked:,} capacities in "
        f"{tally.seconds:.1f} s: {1e3 * tally.seconds / max(1, cells_asked):.2f} ms each.",
        Table(
            ("what becomes of a cell", "cells", "share"),
            [(name, f"{count:,}", _share(count, tally.outcomes)) for name, count in tally.outcomes.most_common()],
        ),
        Table(
            ("confidence of those that serve", "cells", "share"),
            [
                (level, f"{tally.confidence[level]:,}", _share(tally.confidence[level], tally.confidence))
                for level in Confidence
            ],
        ),
        Table(
            ("GPU", "serves", "refused", "cannot be split"),
            [
                (name, f"{kinds['serves']:,}", f"{kinds['refused']:,}", f"{kinds[SPLIT]:,}")
                for name, kinds in tally.by_gpu.items()
            ],
        ),
        *tally.faults[:20],
    ]


def figures(tally: Tally) -> dict[str, Any]:
    return {
        "outcomes": dict(tally.outcomes),
        "confidence": {level.value: count for level, count in tally.confidence.items()},
        "by_gpu": {name: dict(kinds) for name, kinds in tally.by_gpu.items()},
        "seconds": tally.seconds,
        "faults": tally.faults,
    }


def _share(count: int, of: Counter[str] | Counter[Confidence]) -> str:
    return f"{100 * count / max(1, sum(of.values())):.1f} %"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid")
    parser.add_argument(
        "--model", action="append", default=[], help="only this model of the catalogue; repeat for more"
    )
    args = parser.parse_args(argv)
    paper = Paper("grid", "Every model on every GPU", "none: every cell once")
    tally = measure(args.model)
    paper.parts, paper.figures = report(tally), figures(tally)
    if args.model:
        print("\n\n".join("\n".join(part.markdown()) if isinstance(part, Table) else part for part in paper.parts))
    else:
        paper.write()
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
