"""The paper: which sections, in which order; and the table of every row."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy_parts import aims, checks, sections
from benchmarks.accuracy_parts.aic import Key
from benchmarks.accuracy_parts.cases import Excluded
from benchmarks.accuracy_parts.metrics import QUANTITIES, Scored
from benchmarks.accuracy_parts.split import SEED
from benchmarks.accuracy_parts.study import Study
from benchmarks.paper import Paper

NOISE = (
    "Noise floor: repeated runs of one configuration differ by 0.35 % (median coefficient of variation; 3-5 % at p90) "
    "in ITL and throughput and by 2.8 % (15 %) in mean TTFT. Throughput that was not measured is derived from the "
    "latencies by Little's law. KV cache is taken as bf16, prefix caching as off, lengths as InferenceMAX draws them "
    "(uniform from 0.8 to 1.0 of nominal) for its runs, uniform for DataCrunch, and as equal elsewhere."
)


def paper(study: Study, about: str, answers: Mapping[Key, tuple[float, float]], servers: Path | None) -> Paper:
    """All sections over one file."""
    found = Paper(name="accuracy", title="Physics against measured runs", seed=f"split {SEED}")
    made: dict[str, tuple[sections.Parts, Mapping[str, Any]]] = {
        "Rows": (sections.data(study), {}),
        "Errors": sections.errors(study),
        "Other models on identical rows": checks.side_by_side(study, answers),
        "Overload": checks.overload(study),
        "Intervals": checks.intervals(study),
        "Memory and start-up": checks.startup(servers),
        "Other kinds of runs": sections.others(study),
        "By replica type": (sections.deployments(study), {}),
    }
    summed = aims.aims(study, {title: figures for title, (_, figures) in made.items()})
    found.parts += [f"Data: {about}", NOISE]
    for title, (parts, figures) in {"Aims": summed, **made}.items():
        if parts:
            found.parts += [f"## {title}", *parts]
        if figures:
            found.figures[title] = figures
    return found


def write_rows(study: Study, path: Path) -> None:
    """Every row of the file with its prediction, or the reason why there is none; gzipped CSV."""
    scored = {id(row.case): row for row in study.scored}
    after = {id(row.case): row for row in (*study.rescored, *study.rescored_open)}
    columns = ["line", "source", "row_id", "side", "excluded", "running", "waiting", "stable"]
    columns += [
        f"{name}_{what}" for name in QUANTITIES for what in ("measured", "modelled", "error", "error_calibrated")
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row, case in zip(study.rows, study.found, strict=True):
        cells: dict[str, object] = {"line": row.line, "source": row.source, "row_id": row.row_id,
                                    "side": study.side_of(row).value}  # fmt: skip
        if isinstance(case, Excluded):
            cells["excluded"] = case.value
        else:
            cells["excluded"] = case.excluded.value if case.excluded else ""
            cells |= _prediction(scored[id(case)], after.get(id(case)))
        writer.writerow(cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _prediction(row: Scored, after: Scored | None) -> dict[str, object]:
    cells: dict[str, object] = {
        "running": f"{row.running:.4g}", "waiting": f"{row.waiting:.4g}", "stable": row.stable,
    }  # fmt: skip
    pairs = {
        "itl": (row.seen.itl_s, row.itl_s), "throughput": (row.seen.output_tokens_per_s, row.output_tokens_per_s),
        "ttft": (row.seen.ttft_s, row.ttft_s), "e2e": (row.seen.e2e_s, row.e2e_s),
    }  # fmt: skip
    for name, (seen, modelled) in pairs.items():
        cells[f"{name}_measured"] = "" if seen is None else f"{seen:.6g}"
        cells[f"{name}_modelled"] = f"{modelled:.6g}"
        for suffix, one in (("error", row), ("error_calibrated", after)):
            error = one.error(name) if one is not None else None
            cells[f"{name}_{suffix}"] = "" if error is None else f"{error:.4f}"
    return cells
