"""The answer of `fit` for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferencefleet.cli.fit.answer import Row, Verdict, smallest
from inferencefleet.cli.output import Page, rounded
from inferencefleet.cli.workload import Serving
from inferencefleet.economics.formats import Checkpoint, quality_of
from inferencefleet.physics.memory import GIB
from inferencefleet.physics.quick import QUICK_FIT_FACTOR
from inferencefleet.physics.weights import parameters


def document(serving: Serving, rows: Sequence[Row], request_tokens: float) -> dict[str, Any]:
    """Keys as documented in docs/cli.md."""
    count = parameters(serving.model)
    least = smallest(rows)
    return {
        "kind": "Fit",
        "model": serving.model.id,
        "parameters": rounded(count.total, 4),
        "activeParameters": rounded(count.active, 4),
        "publishedWeights": str(serving.model.native_weights),
        "kvCache": str(serving.kv_cache),
        "maxModelLenTokens": serving.limits.max_model_len_tokens,
        "requestTokens": request_tokens,
        "gpuMemoryUtilization": serving.limits.gpu_memory_utilization,
        "smallest": None if least is None else _row(least),
        "replicas": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, Any]:
    memory = row.memory
    return {
        "gpu": row.shape.gpu.name,
        "tensorParallelSize": row.shape.tensor_parallel,
        "weights": str(row.shape.weights),
        "checkpoint": str(row.checkpoint),
        "quality": quality_of(row.shape.model, row.shape.weights),
        "verdict": str(row.verdict),
        "missingGiB": round(max(0.0, row.missing_bytes) / GIB, 2),
        "gpuMemoryGiB": round(row.total_bytes / GIB, 2),
        "usableGiB": round(memory.total_bytes / GIB, 2),
        "weightsGiB": round(memory.weights_bytes / GIB, 2),
        "overheadGiB": round(memory.overhead_bytes / GIB, 2),
        "kvCacheGiB": round(max(0.0, memory.kv_cache_bytes) / GIB, 2),
        "kvCacheTokens": round(memory.kv_cache_tokens),
        "concurrentRequests": row.requests,
        "quickFitAsQuoted": row.quick.fits,
    }


def show(serving: Serving, rows: Sequence[Row], shown: Sequence[Row], request_tokens: float) -> None:
    """`rows` are all, `shown` those of the table."""
    model = serving.model
    count = parameters(model)
    page = Page()
    size = f"{count.total / 1e9:.1f} B parameters"
    if model.moe:
        size += f", {count.active / 1e9:.1f} B active"
    page.heading(f"{model.id}: {size}, published in {model.native_weights}")
    page.say(
        f"KV cache {serving.kv_cache}, requests of {request_tokens:,.0f} tokens, maxModelLen "
        f"{serving.limits.max_model_len_tokens:,}, {serving.limits.gpu_memory_utilization:.0%} of GPU memory for vLLM"
    )
    page.say("")
    page.table(
        ("GPU", "TP", "WEIGHTS", "WEIGHTS GiB", "KV GiB", "KV TOKENS", "REQUESTS", f"x{QUICK_FIT_FACTOR} RULE",
         "VERDICT", "CHECKPOINT"),
        [_cells(row) for row in shown],
        right=("TP", "WEIGHTS GiB", "KV GiB", "KV TOKENS", "REQUESTS"),
    )  # fmt: skip
    page.say("")
    for sentence in _conclusions(rows, serving):
        page.say(sentence)
    page.write()


def _cells(row: Row) -> Sequence[object]:
    loads = row.verdict is not Verdict.DOES_NOT_FIT
    return (
        row.shape.gpu.name,
        row.shape.tensor_parallel,
        row.shape.weights,
        f"{row.memory.weights_bytes / GIB:.1f}",
        f"{row.memory.kv_cache_bytes / GIB:.1f}" if loads else "-",
        f"{row.memory.kv_cache_tokens:,.0f}" if loads else "-",
        f"{row.requests:,}" if row.verdict is Verdict.FITS else "-",
        "fits" if row.quick.fits else "no",
        row,
        row.checkpoint,
    )


def _conclusions(rows: Sequence[Row], serving: Serving) -> list[str]:
    least = smallest(rows)
    if least is None:
        return ["Nothing here holds it. Give other GPUs, smaller weights (--weights), or a lower --max-model-len."]
    found = [f"Smallest that fits: {_named(least)}."]
    if least.checkpoint is Checkpoint.ANOTHER:
        own = smallest([row for row in rows if row.checkpoint is not Checkpoint.ANOTHER])
        if own is not None:
            found.append(f"Smallest without another checkpoint: {_named(own)}.")
    lossy = dict.fromkeys(row.shape.weights for row in rows if row.shape.weights is not serving.model.native_weights)
    if lossy:
        said = "; ".join(f"{weights}: {quality_of(serving.model, weights)}" for weights in lossy)
        found.append(f"Quality against {serving.model.native_weights}: {said}.")
    found.append(f"x{QUICK_FIT_FACTOR} rule: weights + 20 % within the memory, as quoted; it ignores the KV cache.")
    return found


def _named(row: Row) -> str:
    return (
        f"{row.shape.weights} on {row.shape.tensor_parallel} x {row.shape.gpu.name} "
        f"({row.total_bytes / GIB:.0f} GiB, {row.requests:,} requests at once)"
    )
