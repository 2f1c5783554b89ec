"""The command line of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy_parts.calibrate import is_closed
from benchmarks.accuracy_parts.cases import Case, case_of
from benchmarks.accuracy_parts.metrics import score
from benchmarks.accuracy_parts.predict import Oracle
from benchmarks.accuracy_parts.rows import Row, read_rows
from benchmarks.accuracy_parts.split import side
from benchmarks.accuracy_parts.tables import by_family, by_group, error_table, excluded_table

DEFAULT_DATA = Path(__file__).resolve().parent.parent / "data" / "measured_runs.csv.gz"


def main(arguments: list[str] | None = None) -> None:
    """Writes benchmarks/results/accuracy.{md,json,csv}; with `--group` only prints errors by deployment."""
    chosen = parser().parse_args(arguments)
    rows = read_rows(chosen.data)
    if chosen.split != "all":
        rows = [row for row in rows if side(row).value == chosen.split]
    if chosen.group:
        print_groups(rows)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    found.add_argument("--data", type=Path, default=DEFAULT_DATA, help="CSV (or .csv.gz) of measured runs")
    found.add_argument("--split", choices=("train", "test", "all"), default="all", help="which deployments to show")
    found.add_argument("--group", action="store_true", help="print errors by deployment and stop; writes nothing")
    return found


def print_groups(rows: Sequence[Row]) -> None:
    """Errors by deployment, for whoever works on the physics."""
    oracle = Oracle()
    found = [case_of(row) for row in rows]
    print("\n".join(excluded_table(rows, found).markdown()))
    scored = [score(case, oracle) for case in found if isinstance(case, Case) and case.excluded is None]
    closed = [row for row in scored if is_closed(row.case)]
    columns = ("source", "engine", "model", "GPU", "format", "TP", "side")
    for name, members in (("unsaturated", [row for row in closed if not row.saturated]), ("all", closed)):
        print(f"\nuncalibrated, {name}: median (mean) bias, per cent")
        print("\n".join(error_table(members, columns, by_group).markdown()))
        print("\n".join(error_table(members, ("engine", "kind", "side"), by_family).markdown()))
