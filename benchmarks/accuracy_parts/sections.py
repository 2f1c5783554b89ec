"""The sections about errors: what is read first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.accuracy_parts.metrics import Scored, summaries
from benchmarks.accuracy_parts.study import Study, unsaturated
from benchmarks.accuracy_parts.tables import (
    by_family,
    cells,
    deployment_table,
    error_table,
    excluded_table,
    figures,
    grouped,
)
from benchmarks.paper import Table

Parts = list[str | Table]
LEGEND = "Cells are `median (mean) bias` of the error modelled / measured - 1 in per cent; bias is the signed median."


def data(study: Study) -> Parts:
    """What is compared, what not, and on which side each deployment is."""
    used = len(study.plain)
    missing = len(study.rows) - len(study.scored)
    return [
        f"{len(study.rows)} rows: {used} are compared, {len(study.stand_ins)} ran otherwise and are predicted as plain "
        f"tensor parallelism in a table of their own, {missing} cannot be predicted. No reason below looks at a "
        "measured latency.",
        excluded_table(study.rows, study.found),
        "Split by deployment (engine, architecture, GPU, format; all tensor-parallel sizes and all sources together), "
        "never by row. Constants may be tuned on the training side only. Honesty: the notes behind the physics, and "
        "earlier work on it, have seen errors on some rows of both sides, so `test` means not used for tuning since "
        "the split exists, not never seen.",
        deployment_table((row, study.side_of(row)) for row in study.rows),
    ]


def errors(study: Study) -> tuple[Parts, dict[str, Any]]:
    """(a), (b), (c): without and with calibration, without and with saturated rows."""
    columns = ("engine", "kind", "side")
    few = study.calibrated.too_few
    fits = study.calibrated.calibrations
    parts: Parts = [LEGEND]
    kept: dict[str, Any] = {}
    accepted = sum(found.fit.accepted for found in fits)
    for title, name, rows in (
        ("(a) Closed loop, uncalibrated, unsaturated rows. Unsaturated: measured TTFT at most 0.3 of the measured "
         "decode time, and no more clients than the model lets run. Table (c) keeps the others.",
         "a uncalibrated", unsaturated(study.closed)),
        (f"(b) The same, calibrated: each of {len(fits)} replica types (source, engine version, model, GPU, format, "
         "TP) on the 2-3 lowest loads of one pair of lengths (three scales and a TTFT factor), tested on its other "
         f"rows. The fit called {accepted} of them well determined; all are used. "
         f"{len(few)} rows belong to replica types with too few points and are not here.",
         "b calibrated", unsaturated(study.rescored)),
        ("(a) again on exactly the rows of (b)", "a on the rows of b",
         _same(unsaturated(study.rescored), study.closed)),
        ("(c) All closed-loop rows, saturated ones too, uncalibrated. `max_num_seqs` of the runs is unknown; vLLM's "
         "default is assumed (1024 on GPUs of 70 GiB or more but A100, else 256).",
         "c uncalibrated", study.closed),
        ("(c) All closed-loop rows, saturated ones too, calibrated as in (b)", "c calibrated", study.rescored),
    ):  # fmt: skip
        parts += [f"**{title}**", error_table(rows, columns, by_family)]
        kept[name] = figures(grouped(rows, by_family))
    queued = [row for row in study.closed if row.saturated]
    if queued:
        parts += ["**Only the saturated rows of (c), uncalibrated**", error_table(queued, columns, by_family)]
        kept["c saturated only"] = figures(grouped(queued, by_family))
    return parts, kept


def others(study: Study) -> tuple[Parts, dict[str, Any]]:
    """Stand-ins, open loop, static batches."""
    parts: Parts = []
    kept: dict[str, Any] = {}
    if study.stand_ins:
        table = grouped(study.stand_ins, _by_reason)
        parts += [
            "**Excluded above, predicted all the same** as one plain tensor-parallel replica over its GPUs (one node "
            "at most): not what ran, so large errors are no surprise.",
            error_table(study.stand_ins, ("reason", "engine", "kind"), _by_reason),
        ]
        kept["stand-ins"] = figures(table)
    calm = [verdict.scored for verdict in study.verdicts(study.open) if not verdict.overloaded]
    if calm:
        parts += ["**Open loop, uncalibrated, runs that are stable by measurement**",
                  error_table(calm, ("source", "engine", "kind"), _by_source)]  # fmt: skip
        kept["open loop"] = figures(grouped(calm, _by_source))
    if study.batch:
        parts += [
            "**Static batches (offline)**, uncalibrated: engines of 2023 and 2024 (vLLM V0, TensorRT-LLM of its first "
            "year, Hugging Face), whose host overhead was 2-7 times that of today; the physics is of today's engines. "
            "Argonne runs hold end-to-end times only; its A100 is a 40 GB one for some models, and its 70B models on "
            "four of them swap.",
            error_table(study.batch, ("source", "engine", "kind"), _by_source, ("e2e", "itl", "ttft", "throughput")),
        ]
        kept["static batches"] = figures(grouped(study.batch, _by_source))
    return parts, kept


def deployments(study: Study) -> Parts:
    """Every replica type, uncalibrated and calibrated; worst first."""
    after = grouped(unsaturated(study.rescored), _by_type)
    lines = []
    for name, rows in grouped(unsaturated(study.closed), _by_type).items():
        before, later = summaries(rows), summaries(after.get(name, []))
        weight = before["itl"].median * before["itl"].rows
        lines.append((-weight if not math.isnan(weight) else 0.0, [
            *name, str(len(rows)), cells(before["itl"]), cells(before["ttft"]), cells(later["itl"]),
            cells(later["ttft"]),
        ]))  # fmt: skip
    lines.sort()
    columns = ("engine", "model", "GPU", "format", "TP", "side", "rows", "ITL", "TTFT", "ITL calibrated",
               "TTFT calibrated")  # fmt: skip
    return [
        "Closed loop, unsaturated; in the order of what they add to the error (median ITL error x rows).",
        Table(columns, [line for _, line in lines]),
    ]


def _same(wanted: Iterable[Scored], rows: Sequence[Scored]) -> list[Scored]:
    kept = {id(row.case) for row in wanted}
    return [row for row in rows if id(row.case) in kept]


def _by_reason(row: Scored) -> tuple[str, ...]:
    assert row.case.excluded is not None
    return (row.case.excluded.value, row.case.family, row.case.kind)


def _by_source(row: Scored) -> tuple[str, ...]:
    return (row.case.row.source.removeprefix("perf_"), row.case.family, row.case.kind)


def _by_type(row: Scored) -> tuple[str, ...]:
    shape = row.case.shape
    return (row.case.family, row.case.row.model, shape.gpu.name, shape.weights.value, str(shape.tensor_parallel),
            row.case.side.value)  # fmt: skip
