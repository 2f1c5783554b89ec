"""aiconfigurator beside our physics: asked through a Python of its own, answers kept in a CSV file.

It estimates TTFT and TPOT from a database of measured operators. The answers in `benchmarks/data/aiconfigurator.csv`
come from aiconfigurator 0.12 (Apache-2.0) with its newest database.
"""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.accuracy_parts.cases import Case, Load
from benchmarks.accuracy_parts.naming import DATA, model_key
from inferencefleet.catalog import models
from inferencefleet.domain.hardware import NumberFormat

ANSWERS = DATA / "aiconfigurator.csv"
_COLUMNS = ("model", "system", "backend", "gemm", "moe_quant", "tp", "isl", "osl", "batch",
            "ttft_ms", "tpot_ms", "version", "error")  # fmt: skip
_QUESTION = _COLUMNS[:9]
_BACKENDS = frozenset({"vllm", "trtllm", "sglang"})
_SYSTEMS = {
    "A100-SXM": "a100_sxm", "H100-SXM": "h100_sxm", "H200-SXM": "h200_sxm", "B200": "b200_sxm", "B300": "b300_sxm",
    "GB200": "gb200", "L40S": "l40s", "RTX-PRO-6000": "rtx_pro_6000_server",
}  # fmt: skip
_DENSE = {NumberFormat.BF16: "bfloat16", NumberFormat.FP8: "fp8", NumberFormat.NVFP4: "nvfp4",
          NumberFormat.INT4: "int4_wo", NumberFormat.INT8: "int8_wo"}  # fmt: skip
_EXPERTS = {NumberFormat.BF16: "bfloat16", NumberFormat.FP8: "fp8_block", NumberFormat.NVFP4: "nvfp4",
            NumberFormat.INT4: "int4_wo", NumberFormat.MXFP4: "w4a16_mxfp4"}  # fmt: skip

Key = tuple[str, ...]


def key_of(case: Case) -> Key | None:
    """The question of a case as text cells; None when aiconfigurator has no such engine, GPU or format."""
    shape = case.shape
    system = _SYSTEMS.get(shape.gpu.name)
    gemm, experts = _DENSE.get(shape.weights, ""), _EXPERTS.get(shape.weights, "")
    if shape.model.moe:
        gemm = "fp8_block" if shape.weights is NumberFormat.FP8 else "bfloat16"
    if case.load is not Load.CLOSED or case.family not in _BACKENDS or not system:
        return None
    if not gemm or (shape.model.moe and not experts):
        return None
    numbers = (shape.tensor_parallel, case.lengths.mean_prompt_tokens, case.lengths.mean_output_tokens, case.clients)
    return (model_key(case.row.model), system, case.family, gemm, experts if shape.model.moe else "",
            *(str(round(value)) for value in numbers))  # fmt: skip


def read_answers(path: Path = ANSWERS) -> dict[Key, tuple[float, float]]:
    """Seconds of ITL and TTFT by question; those that it refused are left out."""
    found = {}
    for row in _stored(path).values():
        if row["tpot_ms"]:
            found[tuple(row[name] for name in _QUESTION)] = (float(row["tpot_ms"]) / 1e3, float(row["ttft_ms"]) / 1e3)
    return found


def ask(cases: Iterable[Case], python: Path, seconds: float, path: Path = ANSWERS) -> int:
    """Asks what is not in the file yet, for at most so long; keeps the answers. Returns how many are new."""
    stored = _stored(path)
    wanted = {key: case for case in cases if (key := key_of(case)) is not None and key not in stored}
    script = Path(__file__).with_name("aic_worker.py")
    deadline, new = time.monotonic() + seconds, 0
    with subprocess.Popen(
        ["nice", str(python), str(script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for key, case in wanted.items():
            if time.monotonic() > deadline:
                break
            process.stdin.write(json.dumps(_question(key, case)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                break
            given = json.loads(line)
            cells = {name: given.get(name, "") for name in _COLUMNS[9:]}
            stored[key] = {**dict(zip(_QUESTION, key, strict=True)), **{n: str(v) for n, v in cells.items()}}
            new += 1
        process.stdin.close()
    _store(path, stored)
    return new


def _question(key: Key, case: Case) -> dict[str, object]:
    model, system, backend, gemm, experts, tp, isl, osl, batch = key
    same = [id for id in models() if model_key(id) == model]
    return {
        "models": [case.row.model, *same], "system": system, "backend": backend, "gemm": gemm,
        "moe_quant": experts or None, "moe": bool(experts), "tp": int(tp), "isl": int(isl), "osl": int(osl),
        "batch": int(batch),
    }  # fmt: skip


def _stored(path: Path) -> dict[Key, dict[str, str]]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as table:
        return {tuple(row[name] for name in _QUESTION): dict(row) for row in csv.DictReader(table)}


def _store(path: Path, rows: Mapping[Key, Mapping[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for key in sorted(rows):
            row = dict(rows[key])
            for name in ("ttft_ms", "tpot_ms"):
                row[name] = f"{float(row[name]):.5g}" if row[name] else ""
            writer.writerow(row)
