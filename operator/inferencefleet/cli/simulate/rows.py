"""Tables of numbers from CSV files, packed or not. Every fault names file, line, column, value and rule."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inferencefleet.cli.refusal import Refusal, refuse
from inferencefleet.simulator.servers import Floats

MOST_FAULTS = 10
"""Told at once; the rest is counted."""
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column holds."""

    rule: str
    least: float = 0.0
    whole: bool = False
    ascending: bool = False
    needed: bool = True


def read_text(flag: str, path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise refuse(flag, path, f"cannot be read ({error}); give a text file, packed or not") from None


def read_json(flag: str, path: Path) -> Any:
    try:
        return json.loads(read_text(flag, path))
    except ValueError as error:
        raise refuse(flag, path, f"is no JSON ({error}); correct it there") from None


def read_rows(flag: str, path: Path, columns: Mapping[str, Column]) -> dict[str, Floats]:
    """The columns that are there, as numbers; at least one row. Raises `Refusal`."""
    reader = csv.reader(io.StringIO(read_text(flag, path)))
    head = [name.strip() for name in next(reader, [])]
    missing = [name for name, column in columns.items() if column.needed and name not in head]
    if missing:
        wanted = ",".join(name if column.needed else f"[{name}]" for name, column in columns.items())
        raise refuse(flag, path, f"line 1: column {missing[0]} is missing; the first line must be {wanted}")
    strange = [name for name in head if name not in columns]
    if strange:
        known = ", ".join(columns)
        raise refuse(flag, path, f"line 1: column {strange[0]!r} is unknown; take it out, or use one of {known}")
    values: list[list[float]] = [[] for _ in head]
    faults: list[str] = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        faults += _read_row(f"{path}, line {reader.line_num}", head, row, columns, values)
    if faults:
        more = [f"... and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        raise Refusal(*faults[:MOST_FAULTS], *more)
    if not values or not values[0]:
        raise refuse(flag, path, "holds no rows; give at least one below the first line")
    return {name: np.array(column, dtype=np.float64) for name, column in zip(head, values, strict=True)}


def _read_row(
    where: str, head: Sequence[str], row: Sequence[str], columns: Mapping[str, Column], values: list[list[float]]
) -> list[str]:
    """Appends to `values`, or says what is wrong."""
    if len(row) != len(head):
        return [f"{where}: has {len(row)} cells, and line 1 names {len(head)} columns; give one for each"]
    faults, numbers = [], []
    for name, cell, so_far in zip(head, row, values, strict=True):
        number, fault = _number(cell, columns[name], so_far)
        numbers.append(number)
        if fault:
            faults.append(f"{where}, column {name}, {cell.strip()!r}: {fault}")
    if not faults:
        for so_far, number in zip(values, numbers, strict=True):
            so_far.append(number)
    return faults


def _number(cell: str, column: Column, so_far: Sequence[float]) -> tuple[float, str | None]:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < column.least or (column.whole and number != int(number)):
        return number, f"must be {column.rule}"
    if column.ascending and so_far and number < so_far[-1]:
        return number, f"must not be below the row before it ({so_far[-1]:g}); sort the file by this column"
    return number, None
