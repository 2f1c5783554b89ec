"""GPUPool manifest -> `domain.Pool`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from inferencefleet import catalog
from inferencefleet.api.base import GROUP
from inferencefleet.api.checks import pool_problems
from inferencefleet.api.pool_v1alpha1 import GpuBlock, GpuPool, PoolSpotBlock
from inferencefleet.api.problems import from_validation, problem
from inferencefleet.api.quantity import parse_duration, parse_memory
from inferencefleet.domain.fleet import Problem
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.pool import Pool

POOL_LABEL = f"{GROUP}/pool"
"""On nodes by default, and on every pod of a fleet."""


def convert_pool(manifest: Mapping[str, Any], name: str, uid: str, generation: int) -> Pool | tuple[Problem, ...]:
    try:
        spec = GpuPool.model_validate(manifest).spec
    except ValidationError as error:
        return from_validation(error, "gpupool")
    if found := tuple(pool_problems(name, spec)):
        return found
    gpu = _gpu(spec.gpu)
    if isinstance(gpu, Problem):
        return (gpu,)
    return Pool(
        name=name,
        uid=uid,
        generation=generation,
        gpu=gpu,
        resource_name=spec.gpu.resource_name,
        gpus_per_node=spec.gpu.per_node,
        capacity_type=spec.capacity_type,
        price_per_gpu_hour=spec.price.per_gpu_hour,
        currency=spec.price.currency,
        max_gpus=spec.limits.gpus,
        node_selector=MappingProxyType(spec.nodes.selector or {POOL_LABEL: name}),
        tolerations=tuple(MappingProxyType(toleration.to_json()) for toleration in spec.nodes.tolerations),
        provision_p50_s=parse_duration(spec.provisioning.p50),
        provision_p95_s=parse_duration(spec.provisioning.p95),
        spot_notice_s=parse_duration((spec.spot or PoolSpotBlock()).notice),
    )


def _gpu(block: GpuBlock) -> GpuSpec | Problem:
    try:
        if block.memory is None or block.bandwidth_gb_per_second is None or block.bf16_tflops is None:
            return catalog.gpu(block.type)
        return catalog.gpu_from_values(
            block.type,
            memory_gib=parse_memory(block.memory) / 2**30,
            bandwidth_gb_per_s=block.bandwidth_gb_per_second,
            bf16_tflops=block.bf16_tflops,
            fp8_tflops=block.fp8_tflops,
            nvlink=block.nvlink,
        )
    except ValueError as error:
        return problem("spec.gpu.type", block.type, str(error), code="UnknownGPU")
