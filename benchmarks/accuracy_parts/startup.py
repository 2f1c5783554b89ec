"""KV cache and start-up time beside what servers printed when they started."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accuracy_parts.naming import DATA, find_gpu, find_model, weight_format
from benchmarks.accuracy_parts.rows import number, row_from_cells
from benchmarks.accuracy_parts.settings import server_settings
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.cold_start import cold_start_s
from inferencefleet.physics.memory import GIB, memory_budget

SERVERS = DATA / "kv_capacity_and_startup.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One started server; bytes by GPU, None where not printed."""

    name: str
    kv_gib: float
    seen_kv_gib: float | None
    weights_gib: float
    seen_weights_gib: float | None
    start_s: float
    """Modelled: weights read and engine started, the image being there."""
    seen_start_s: float | None
    load_s: float
    """Modelled: weights read only."""
    seen_load_s: float | None


def read_servers(path: Path = SERVERS) -> tuple[list[Server], dict[str, int]]:
    """Servers that can be predicted, and the reasons of the others with counts."""
    found, left_out = [], dict[str, int]()
    with path.open(encoding="utf-8", newline="") as table:
        for raw in csv.DictReader(table):
            cells = {(name or "").strip().lower(): str(cell or "").strip() for name, cell in raw.items()}
            server = _server(cells)
            if isinstance(server, str):
                left_out[server] = left_out.get(server, 0) + 1
            else:
                found.append(server)
    return found, left_out


def _server(cells: Mapping[str, str]) -> Server | str:
    model, gpu = cells.get("model", ""), re.sub(r"\s*[\d.]+ ?gib$", "", cells.get("gpu", "").lower())
    spec, hardware, tp = find_model(model), find_gpu(gpu), number(cells.get("tp", ""))
    if spec is None or hardware is None or not tp:
        return f"model {model!r} or GPU {gpu!r} not in the catalogue, or no tensor-parallel size"
    if cells.get("result", "ok") not in {"", "ok"}:
        return f"did not start: {cells['result'][:60]}"
    limits = server_settings(row_from_cells({"model": model}), spec, hardware).limits
    shape = ReplicaShape(
        model=spec,
        gpu=hardware,
        tensor_parallel=int(tp),
        weights=weight_format(cells.get("precision", ""), model, spec) or spec.native_weights,
        kv_cache=NumberFormat.BF16,
        limits=EngineLimits(
            gpu_memory_utilization=number(cells.get("gpu_mem_util", "")) or 0.9,
            max_num_seqs=limits.max_num_seqs,
            max_num_batched_tokens=limits.max_num_batched_tokens,
            max_model_len_tokens=int(number(cells.get("max_model_len", "")) or 32768),
        ),
    )
    budget = memory_budget(shape)
    load, start = number(cells.get("model_load_s", "")), number(cells.get("engine_init_s", ""))
    whole = cold_start_s(shape, image_cached=True)
    return Server(
        name=f"{model} on {int(tp)} x {hardware.name}",
        kv_gib=budget.kv_cache_bytes / GIB / tp,
        seen_kv_gib=number(cells.get("kv_gib_per_gpu", "")),
        weights_gib=budget.weights_bytes / GIB / tp,
        seen_weights_gib=number(cells.get("weights_gib_per_gpu", "")),
        start_s=whole,
        seen_start_s=load + start if load and start else None,
        load_s=cold_start_s(shape, image_cached=True, engine_start_s=0.0),
        seen_load_s=load,
    )
