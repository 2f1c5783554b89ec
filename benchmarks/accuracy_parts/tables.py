"""Tables of errors, as cells to read."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.accuracy_parts.cases import Case, Excluded
from benchmarks.accuracy_parts.metrics import Scored, Summary, summaries
from benchmarks.accuracy_parts.rows import Row
from benchmarks.accuracy_parts.split import Side, deployment
from benchmarks.paper import Table

SHOWN = ("itl", "throughput", "ttft")
FAMILIES = ("vllm", "trtllm", "sglang", "atom", "hf")


def share(value: float, signed: bool = False) -> str:
    """A share as per cent with a digit; `-` of nothing."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


def cells(found: Summary) -> str:
    """Median (mean) bias, per cent."""
    return "-" if not found.rows else f"{share(found.median)} ({share(found.mean)}) {share(found.bias, signed=True)}"


def grouped(rows: Iterable[Scored], key: Callable[[Scored], tuple[str, ...]]) -> dict[tuple[str, ...], list[Scored]]:
    groups: dict[tuple[str, ...], list[Scored]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(sorted(groups.items(), key=lambda item: _order(item[0])))


def error_table(
    rows: Iterable[Scored],
    columns: Sequence[str],
    key: Callable[[Scored], tuple[str, ...]],
    quantities: Sequence[str] = SHOWN,
) -> Table:
    """One line for each group; each quantity as `median (mean) bias` in per cent."""
    lines = []
    for name, members in grouped(rows, key).items():
        found = summaries(members)
        lines.append([*name, str(len(members)), *(cells(found[quantity]) for quantity in quantities)])
    return Table([*columns, "rows", *(f"{quantity_title(quantity)}, %" for quantity in quantities)], lines)


def by_family(row: Scored) -> tuple[str, ...]:
    return (row.case.family, row.case.kind, row.case.side.value)


def by_group(row: Scored) -> tuple[str, ...]:
    """What `--group` lists."""
    shape, run = row.case.shape, row.case.row
    return (run.source.removeprefix("perf_"), row.case.family, run.model, shape.gpu.name, shape.weights.value,
            str(shape.tensor_parallel), row.case.side.value)  # fmt: skip


def excluded_table(rows: Sequence[Row], found: Sequence[Case | Excluded]) -> Table:
    """Every reason with its count and the names that it is about; nothing is left out."""
    counts: Counter[Excluded] = Counter()
    about: dict[Excluded, Counter[str]] = defaultdict(Counter)
    for row, case in zip(rows, found, strict=True):
        reason = case if isinstance(case, Excluded) else case.excluded
        if reason is not None:
            counts[reason] += 1
            about[reason][_subject(row, reason)] += 1
    return Table(
        ("reason", "rows", "predicted all the same", "about"),
        [
            [reason.value, str(count), "no" if reason.is_fatal else "yes, as plain tensor parallelism",
             ", ".join(f"{name} ({times})" for name, times in about[reason].most_common(12))
             + (", ..." if len(about[reason]) > 12 else "")]
            for reason, count in counts.most_common()
        ],
    )  # fmt: skip


def deployment_table(rows: Iterable[tuple[Row, Side]]) -> Table:
    """Which deployment is on which side."""
    counts: dict[str, Counter[str]] = {one.value: Counter() for one in Side}
    for row, where in rows:
        counts[where.value][deployment(row)] += 1
    return Table(
        ("side", "deployments", "rows", "which"),
        [
            [name, str(len(found)), str(found.total()), "; ".join(f"{key} ({n})" for key, n in sorted(found.items()))]
            for name, found in counts.items()
        ],
    )


def figures(table: Mapping[tuple[str, ...], Sequence[Scored]]) -> dict[str, object]:
    """The summaries of groups for the JSON file."""
    return {
        " ".join(key): {
            "rows": len(members),
            **{
                name: {"rows": found.rows, "median": found.median, "mean": found.mean, "bias": found.bias}
                for name, found in summaries(members).items()
                if found.rows
            },
        }
        for key, members in table.items()
    }


def _subject(row: Row, reason: Excluded) -> str:
    return {
        Excluded.MODEL: row.model or "no name",
        Excluded.GPU: row.gpu or "no name",
        Excluded.FORMAT: f"{row.precision!r}",
        Excluded.LOAD: f"{row.load!r}",
    }.get(reason, f"{row.source.removeprefix('perf_')} {row.engine}")


def quantity_title(quantity: str) -> str:
    return {"itl": "ITL", "throughput": "throughput", "ttft": "TTFT", "e2e": "end to end"}[quantity]


def _order(name: tuple[str, ...]) -> tuple[object, ...]:
    return tuple((FAMILIES.index(part), "") if part in FAMILIES else (len(FAMILIES), part) for part in name)
