"""GPUPool manifest -> `domain.Pool`, and what its status remembers of interruptions."""

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
from inferencefleet.api.status_pool import InterruptionsStatus, TallyStatus
from inferencefleet.api.times import from_timestamp
from inferencefleet.catalog import Catalogue
from inferencefleet.domain.fleet import Problem
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.pool import Batch, InterruptionRecord, Pool, Tally

POOL_LABEL = f"{GROUP}/pool"
"""On nodes by default, and on every pod of a fleet."""


def convert_pool(
    manifest: Mapping[str, Any], name: str, uid: str, generation: int, catalogue: Catalogue | None = None
) -> Pool | tuple[Problem, ...]:
    """The pool, or everything that is wrong with it; GPUs are looked up in `catalogue`, default the built-in."""
    try:
        spec = GpuPool.model_validate(manifest).spec
    except ValidationError as error:
        return from_validation(error, "gpupool")
    if found := tuple(pool_problems(name, spec)):
        return found
    gpu = _gpu(spec.gpu, catalogue or catalog.built_in())
    if isinstance(gpu, Problem):
        return (gpu,)
    return Pool(
        name=name,
        uid=uid,
        generation=generation,
        gpu=gpu,
        resource_name=spec.gpu.resource_name or gpu.resource_name,
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
        interruptions_per_node_hour=(spec.spot or PoolSpotBlock()).interruptions_per_hour,
    )


def interruptions_from_status(status: Mapping[str, Any]) -> InterruptionRecord:
    """What the pool's status remembers of interruptions; nothing when it says nothing readable."""
    try:
        saved = InterruptionsStatus.model_validate(status["interruptions"])
        latest = saved.latest
        return InterruptionRecord(
            as_of_s=from_timestamp(saved.as_of),
            calm=_tally(saved.calm),
            restless=_tally(saved.restless),
            quiet_since_s=None if saved.quiet_since is None else from_timestamp(saved.quiet_since),
            nodes=saved.nodes,
            noticed=saved.noticed,
            notice_sum_s=saved.noticed * (saved.notice_seconds or 0.0),
            silent=saved.silent,
            last=None
            if latest is None
            else Batch(
                began_s=from_timestamp(latest.since),
                nodes=latest.nodes,
                of=max(latest.nodes, latest.of),
                restless=latest.restless,
            ),
        )
    except (KeyError, TypeError, ValueError):
        return InterruptionRecord()


def _tally(saved: TallyStatus) -> Tally:
    return Tally(
        node_hours=saved.node_hours, group_hours=saved.group_hours, lone=saved.lone, groups=tuple(saved.groups)
    )


def _gpu(block: GpuBlock, catalogue: Catalogue) -> GpuSpec | Problem:
    """The catalogue's GPU (or slice) with the explicit values on top, or one described by explicit values alone."""
    memory_gib = None if block.memory is None else parse_memory(block.memory) / 2**30
    try:
        known = catalogue.gpu(block.type)
        if block.mig_profile is not None:
            known = catalogue.gpus.slice(block.type, block.mig_profile)
    except catalog.UnknownMigProfile as error:
        return problem("spec.gpu.migProfile", block.mig_profile, str(error), code="UnknownGPU")
    except catalog.UnknownGpu as error:
        if memory_gib is None or block.bandwidth_gb_per_second is None or block.bf16_tflops is None:
            return problem(
                "spec.gpu.type", block.type, f"{error} {_described_in_part(block)}".strip(), code="UnknownGPU"
            )
        if block.mig_profile is not None:
            cure = "describe the slice by its own memory, bandwidthGBPerSecond and bf16TFLOPS, and set resourceName"
            rule = f"is only for GPUs of the catalogue, and {block.type} is not; {cure}."
            return problem("spec.gpu.migProfile", block.mig_profile, rule, code="UnknownGPU")
        return catalog.gpu_from_values(
            block.type,
            memory_gib=memory_gib,
            bandwidth_gb_per_s=block.bandwidth_gb_per_second,
            bf16_tflops=block.bf16_tflops,
            fp8_tflops=block.fp8_tflops,
            fp4_tflops=block.fp4_tflops,
            nvlink=block.nvlink is not False,
        )
    return catalog.with_values(
        known,
        memory_gib=memory_gib,
        bandwidth_gb_per_s=block.bandwidth_gb_per_second,
        bf16_tflops=block.bf16_tflops,
        fp8_tflops=block.fp8_tflops,
        fp4_tflops=block.fp4_tflops,
        nvlink=block.nvlink,
        source="GPUPool spec.gpu",
    )


def _described_in_part(block: GpuBlock) -> str:
    """What is still missing of an explicit description that somebody began."""
    needed = {
        "memory": block.memory,
        "bandwidthGBPerSecond": block.bandwidth_gb_per_second,
        "bf16TFLOPS": block.bf16_tflops,
    }
    missing = [name for name, value in needed.items() if value is None]
    if len(missing) == len(needed):
        return ""
    return f"Of your description {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
