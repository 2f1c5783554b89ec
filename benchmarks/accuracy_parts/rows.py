"""Reads measured runs: one row for each run, in the schema of `benchmarks/data/README.md`.

Files come from many hands, so nothing here fails on a cell: what cannot be read counts as absent, and what a row lacks
is said by `cases`. Only a file that is no such table at all is refused.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

MILLI = 1e-3
_REQUIRED = ("model",)
_ABSENT = frozenset({"", "-", "nan", "na", "n/a", "none", "null"})


class NotMeasurements(ValueError):
    """A file that cannot be read as a table of measured runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run. Text is stripped and "" when absent; numbers are None when absent or unreadable."""

    line: int
    """Of the file, the header is 1."""
    source: str
    row_id: str
    engine: str
    engine_version: str
    model: str
    gpu: str
    precision: str
    mode: str
    load: str
    dp_attn: str
    note: str
    gpus_per_replica: float | None
    replicas: float | None
    tp: float | None
    pp: float | None
    ep: float | None
    concurrency: float | None
    """Clients of a closed loop, summed over the replicas; sequences of a batch."""
    request_rate: float | None
    """Requested arrivals/s of an open loop."""
    n_requests: float | None
    isl: float | None
    """Prompt tokens, nominal or mean."""
    osl: float | None
    """Output tokens, nominal or mean."""
    ttft_mean_s: float | None
    ttft_p50_s: float | None
    tpot_mean_s: float | None
    tpot_p50_s: float | None
    itl_p50_s: float | None
    e2e_mean_s: float | None
    e2e_p50_s: float | None
    req_per_s: float | None
    out_tok_s: float | None
    total_tok_s: float | None


_TEXT = frozenset(field.name for field in fields(Row) if field.type == "str")


def read_rows(path: Path) -> list[Row]:
    """All rows of a CSV file, plain or `.gz`.

    Raises `NotMeasurements` when the file is missing, is not text, or has no `model` column.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise NotMeasurements(f"{path}: {error.strerror or error}. Give a CSV file of measured runs.") from error
    try:
        return list(_rows(text))
    except csv.Error as error:
        raise NotMeasurements(f"{path}: not a CSV table ({error}).") from error
    except KeyError as error:
        raise NotMeasurements(
            f"{path}: no column {error.args[0]!r} in its header. "
            "The columns are described in benchmarks/data/README.md; only `model` is a must."
        ) from error


def _rows(text: str) -> Iterator[Row]:
    lines = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    table = csv.DictReader(io.StringIO(lines))
    header = {(name or "").strip().lower() for name in table.fieldnames or ()}
    for name in _REQUIRED:
        if name not in header:
            raise KeyError(name)
    for raw in table:
        cells = {(name or "").strip().lower(): _text(cell) for name, cell in raw.items()}
        if any(cells.values()):
            yield row_from_cells(cells, table.line_num)


def row_from_cells(cells: Mapping[str, str], line: int = 0) -> Row:
    """A row from text cells by column name; columns ending in `_ms` become seconds."""
    values: dict[str, object] = {"line": line}
    for field in fields(Row):
        name = field.name
        if name == "line":
            continue
        if name in _TEXT:
            values[name] = cells.get(name, "")
        elif name.endswith("_s") and f"{name[:-2]}_ms" in cells:
            milliseconds = number(cells[f"{name[:-2]}_ms"])
            values[name] = None if milliseconds is None else milliseconds * MILLI
        else:
            values[name] = number(cells.get(name, ""))
    values["gpu"] = cells.get("gpu_norm", "") or cells.get("gpu", "")
    return Row(**values)  # type: ignore[arg-type]


def number(cell: str) -> float | None:
    """A finite number of 0 or more; None for anything else. Booleans as some exports write them are 1 and 0."""
    text = cell.strip().lower().replace(",", "")
    if text in _ABSENT:
        return None
    if text in {"true", "false"}:
        return float(text == "true")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _text(cell: object) -> str:
    # A line with more cells than the header comes as a list under the name None.
    if isinstance(cell, list):
        return ""
    text = str(cell or "").strip()
    return "" if text.lower() in _ABSENT else text
