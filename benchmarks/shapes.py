"""Replicas that benchmarks ask about, by the names of the catalogue."""

from __future__ import annotations

from inferencefleet.catalog import gpu, model
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat


def a_shape(
    id: str = "Qwen/Qwen3-32B", gpu_name: str = "H100-SXM", gpus: int = 2, weights: str = "bf16", **limits: int
) -> ReplicaShape:
    """KV cache in bf16; `limits` are fields of `EngineLimits`."""
    return ReplicaShape(
        model=model(id),
        gpu=gpu(gpu_name),
        tensor_parallel=gpus,
        weights=NumberFormat(weights),
        kv_cache=NumberFormat.BF16,
        limits=EngineLimits(**limits),
    )
