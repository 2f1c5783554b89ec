"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.accuracy_parts import aic
from benchmarks.accuracy_parts.naming import DATA
from benchmarks.accuracy_parts.report import paper, write_rows
from benchmarks.accuracy_parts.rows import NotMeasurements, Row, read_rows
from benchmarks.accuracy_parts.split import Side, side
from benchmarks.accuracy_parts.study import Study, unsaturated
from benchmarks.accuracy_parts.tables import by_family, by_group, error_table, excluded_table
from benchmarks.paper import RESULTS

DEFAULT_DATA = DATA / "measured_runs.csv.gz"
AIC_SECONDS = 900.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes accuracy.md, .json and _rows.csv.gz under --out; with `--group` only prints errors by deployment."""
    chosen = parser().parse_args(arguments)
    try:
        rows = read_rows(chosen.data)
        side_of = sides(chosen.data)
    except NotMeasurements as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.split != "all":
        rows = [row for row in rows if side_of(row).value == chosen.split]
    study = Study(rows, side_of)
    if chosen.group:
        print_groups(study)
        return 0
    if chosen.aiconfigurator is not None:
        asked = aic.ask((row.case for row in study.closed), chosen.aiconfigurator, AIC_SECONDS)
        print(f"aiconfigurator answered {asked} new questions", file=sys.stderr)
    about = f"`{chosen.data.name}`" + ("" if chosen.split == "all" else f", only the {chosen.split} split") + "."
    if chosen.data != DEFAULT_DATA:
        about += " Rows that are not in the committed file count as test: nothing was tuned on them."
    paper(study, about, aic.read_answers(), chosen.kv).write(chosen.out)
    write_rows(study, chosen.out / "accuracy_rows.csv.gz")
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description="Physics against measured runs.")
    found.add_argument("--data", type=Path, default=DEFAULT_DATA, help="CSV (or .csv.gz) of measured runs")
    found.add_argument("--split", choices=("train", "test", "all"), default="all", help="which deployments to use")
    found.add_argument("--group", action="store_true", help="print errors by deployment and stop; writes nothing")
    found.add_argument("--kv", type=Path, help="more servers, in the schema of data/kv_capacity_and_startup.csv")
    found.add_argument("--aiconfigurator", type=Path, metavar="PYTHON", help="a Python with aiconfigurator 0.12: asks "
                       "it what data/aiconfigurator.csv does not hold yet, for 15 minutes at most")  # fmt: skip
    found.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return found


def sides(path: Path) -> Callable[[Row], Side]:
    """Committed rows have the side that the split gives them, in whatever file they come; all others are test."""
    if path == DEFAULT_DATA:
        return side
    known = {(row.source, row.row_id) for row in read_rows(DEFAULT_DATA)}

    def found(row: Row) -> Side:
        return side(row) if row.row_id and (row.source, row.row_id) in known else Side.TEST

    return found


def print_groups(study: Study) -> None:
    """Errors by deployment, for whoever works on the physics."""
    print("\n".join(excluded_table(study.rows, study.found).markdown()))
    columns = ("source", "engine", "model", "GPU", "format", "TP", "side")
    for name, rows in (
        ("uncalibrated, unsaturated", unsaturated(study.closed)),
        ("uncalibrated, all", study.closed),
        ("calibrated, unsaturated", unsaturated(study.rescored)),
    ):
        print(f"\nclosed loop, {name}: median (mean) bias, per cent")
        print("\n".join(error_table(rows, columns, by_group).markdown()))
        print("\n".join(error_table(rows, ("engine", "kind", "side"), by_family).markdown()))
