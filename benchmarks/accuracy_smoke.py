"""Uncalibrated error of the step model against measured closed-loop vLLM runs.

    python benchmarks/accuracy_smoke.py end_to_end.csv

The table has one row for each run, with the columns engine, load, model, gpu_norm, precision, tp, ep, gpus_per_replica,
replicas, concurrency, isl, osl, ttft_mean_ms and tpot_mean_ms (InferenceMAX runs, and those aiconfigurator curates).
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from inferencefleet.catalog import UnknownModel, gpu, model
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape, Scales
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.residence import load

SOURCES = ("perf_aic_silicon_e2e", "perf_inferencemax_runs")
REAL_LENGTH = 0.9
"""These runs draw lengths from 0.8 to 1.0 of the nominal ones."""
SATURATED = 0.3
"""Runs whose time to first token exceeds this share of the decode time waited in a queue of unknown length."""


def replica(row: Mapping[str, str]) -> ReplicaShape | None:
    """The replica of one run; None when the model is unknown or the parallelism is not plain tensor parallelism."""
    if float(row["gpus_per_replica"]) != float(row["tp"]) or float(row["ep"] or 1) > 1:
        return None
    try:
        spec = model(row["model"])
    except UnknownModel:
        return None
    fp4 = NumberFormat.MXFP4 if spec.native_weights is NumberFormat.MXFP4 else NumberFormat.NVFP4
    return ReplicaShape(
        model=spec,
        gpu=gpu(row["gpu_norm"].split("_")[0]),
        tensor_parallel=int(float(row["tp"])),
        weights=fp4 if row["precision"] == "fp4" else NumberFormat(row["precision"]),
        kv_cache=NumberFormat.BF16,
        limits=EngineLimits(max_model_len_tokens=131072, max_num_seqs=1024),
    )


def errors(path: Path) -> dict[tuple[str, str, str], list[float]]:
    """Relative ITL errors by (model, GPU, format)."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with path.open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["engine"] == "vllm" and row["load"] == "closed"]
    for row in rows:
        shape = replica(row) if row["source"] in SOURCES else None
        if shape is None:
            continue
        prompt, output = float(row["isl"]) * REAL_LENGTH, float(row["osl"]) * REAL_LENGTH
        measured = float(row["tpot_mean_ms"]) / 1e3
        if float(row["ttft_mean_ms"]) / 1e3 > SATURATED * output * measured:
            continue
        mix = LengthMix(prompt_tokens=np.full(2, prompt), output_tokens=np.full(2, output))
        clients = float(row["concurrency"]) / float(row["replicas"] or 1)
        modelled = float(load(shape, mix, Scales(), clients).itl_mean_s[-1])
        found[shape.model.id, shape.gpu.name, shape.weights.value].append(modelled / measured - 1)
    return found


def main() -> None:
    """Print the median and mean error of each group, then of dense and mixture-of-experts models."""
    found = errors(Path(sys.argv[1]))
    groups = {" ".join(key): values for key, values in sorted(found.items())}
    for kind in ("dense", "moe"):
        groups[kind] = [
            error
            for key, values in found.items()
            if (model(key[0]).moe is None) == (kind == "dense")
            for error in values
        ]
    for name, values in groups.items():
        size = np.abs(values)
        print(f"{name:45} n {len(values):4}  median {np.median(size):6.1%}  mean {size.mean():6.1%}")


if __name__ == "__main__":
    main()
