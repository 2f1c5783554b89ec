"""Short ways to build replicas, mixes and SLOs for physics tests."""

from __future__ import annotations

from typing import Any

from inferencefleet.catalog import gpu, model
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.lengths import lognormal_mix


def shape(
    id: str = "Qwen/Qwen3-32B",
    gpu_name: str = "H100-SXM",
    tensor_parallel: int = 2,
    weights: str = "bf16",
    kv_cache: str = "bf16",
    **limits: Any,
) -> ReplicaShape:
    return ReplicaShape(
        model=model(id),
        gpu=gpu(gpu_name),
        tensor_parallel=tensor_parallel,
        weights=NumberFormat(weights),
        kv_cache=NumberFormat(kv_cache),
        limits=EngineLimits(**limits),
    )


def chat(prompt: float = 1000.0, output: float = 250.0, hit: float = 0.0) -> LengthMix:
    return lognormal_mix(prompt_mean=prompt, output_mean=output, prefix_hit_ratio=hit)


def slo(metric: str, percentile: int, target_s: float) -> Slo:
    return Slo(metric=SloMetric(metric), percentile=percentile, target_s=target_s)


CHAT_SLOS = (slo("ttft", 95, 2.0), slo("itl", 95, 0.060))
