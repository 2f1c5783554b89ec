"""The aims of the project beside what was measured, in one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.accuracy_parts.metrics import summary
from benchmarks.accuracy_parts.split import Side
from benchmarks.accuracy_parts.study import Study, unsaturated
from benchmarks.accuracy_parts.tables import share
from benchmarks.paper import Table

ERRORS = (
    # kind, quantity, largest median uncalibrated, calibrated
    ("dense", "itl", 0.09, 0.045),
    ("MoE", "itl", 0.14, 0.06),
    ("dense", "ttft", 0.25, 0.10),
    ("MoE", "ttft", 0.25, 0.10),
)
OVERLOAD = 0.95
KV = 0.04
COVERAGE = (0.75, 0.85)


OVERLOADS = MappingProxyType(
    {
        "vLLM, uncalibrated": "uncalibrated, vLLM",
        "vLLM, calibrated": "calibrated on the lowest rates, the others, vLLM",
        "all engines, uncalibrated": "uncalibrated, all",
        "all engines, calibrated": "calibrated on the lowest rates, the others",
    }
)
"""Row of the table of aims -> row of the overload table."""


def aims(study: Study, figures: Mapping[str, Mapping[str, Any]]) -> tuple[list[str | Table], dict[str, Any]]:
    """Of vLLM rows; `figures` are those of the sections about overload, intervals, and memory."""
    lines: list[list[str]] = []
    kept: dict[str, Any] = {}

    def add(label: str, aim: str, values: Mapping[str, tuple[float, int]], is_met: Any) -> None:
        kept[label] = {"aim": aim, **{name: {"value": value, "rows": n} for name, (value, n) in values.items()}}
        lines.append([label, aim, *(_cell(*values.get(name, (math.nan, 0)), is_met) for name in ("all", "test"))])

    for name, rows in (("uncalibrated", unsaturated(study.closed)), ("calibrated", unsaturated(study.rescored))):
        for kind, quantity, before, after in ERRORS:
            aim = before if name == "uncalibrated" else after
            ours = [row for row in rows if row.case.family == "vllm" and row.case.kind == kind]
            found = {
                side: summary(row.error(quantity) for row in some)
                for side, some in (("all", ours), ("test", [row for row in ours if row.case.side is Side.TEST]))
            }
            values = {side: (one.median, one.rows) for side, one in found.items()}
            label = f"{quantity.upper()} error, median, {kind}, {name}"
            add(label, f"at most {share(aim)}", values, lambda value, aim=aim: value <= aim)
    for label, key in OVERLOADS.items():
        one = figures.get("Overload", {}).get(key)
        values = {"all": (one["right"], one["runs"])} if one else {}
        add(f"overload told right, {label}", f"at least {share(OVERLOAD)}", values, lambda value: value >= OVERLOAD)
    memory = next(iter(figures.get("Memory and start-up", {}).values()), None)
    values = {"all": (memory["kv"]["median"], memory["kv"]["rows"])} if memory else {}
    add("KV capacity error, median", f"at most {share(KV)}", values, lambda value: value <= KV)
    inside = figures.get("Intervals", {})
    for engines in ("vLLM", "all engines"):
        for name in ("uncalibrated", "calibrated"):
            values = {
                side: (one["inside"], one["rows"])
                for side, long in (("all", "all"), ("test", "test only"))
                if (one := inside.get(f"{engines} itl {name} {long}"))
            }
            label = f"80 % intervals of ITL, share inside, {engines}, {name}"
            add(label, f"{share(COVERAGE[0])} to {share(COVERAGE[1])}", values,
                lambda value: COVERAGE[0] <= value <= COVERAGE[1])  # fmt: skip
    text = "vLLM rows unless said; latencies in a closed loop, unsaturated. In per cent; rows in brackets."
    return [text, Table(("", "aim", "all rows", "test split only"), lines)], kept


def _cell(value: float, rows: int, is_met: Any) -> str:
    return f"{share(value)} ({rows}) {'met' if is_met(value) else 'missed'}" if rows else "-"
