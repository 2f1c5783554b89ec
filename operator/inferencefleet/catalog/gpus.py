"""GPU types: the built-in ones from `data/gpus.yaml`, and explicit ones from a user's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from inferencefleet.catalog import gpu_file
from inferencefleet.catalog.errors import UnknownGpu, closest
from inferencefleet.catalog.gpu_file import GIB
from inferencefleet.domain.hardware import GpuSpec, NumberFormat


def gpu(name: str) -> GpuSpec:
    """The GPU of this catalogue name, alias or `nvidia.com/gpu.product` label (case does not matter)."""
    found = _names().get(gpu_file.normal(name))
    if found is None:
        near = ", ".join(closest(name, gpus()))
        raise UnknownGpu(
            f"unknown GPU type {name!r}; closest: {near}. "
            "Use one of these, or give memory, bandwidth and TFLOPS explicitly."
        )
    return gpus()[found]


@cache
def gpus() -> Mapping[str, GpuSpec]:
    """All built-in GPUs by catalogue name."""
    return MappingProxyType(gpu_file.specs(_data()))


def gpu_from_values(
    name: str,
    memory_gib: float,
    bandwidth_gb_per_s: float,
    bf16_tflops: float,
    fp8_tflops: float | None = None,
    fp4_tflops: float | None = None,
    nvlink: bool = True,
) -> GpuSpec:
    """An explicit GPU: dense datasheet peaks, and the efficiencies and links of the nearest built-in kind.

    Hopper lends its efficiencies (Blackwell when there are 4-bit tensor cores), because fractions of the peak
    differ little between GPUs. All-reduce constants come from A100 (NVLink) or L40S (PCIe): the slowest of
    their kind, so that an unknown machine is not overrated.
    """
    for label, value in (("memory", memory_gib), ("bandwidth", bandwidth_gb_per_s), ("bf16", bf16_tflops)):
        if value <= 0:
            raise ValueError(f"GPU {name!r}: {label} must be above 0, got {value:g}")
    like = gpus()["B200" if fp4_tflops else "H100-SXM"]
    peak = {NumberFormat.BF16: bf16_tflops * 1e12}
    if fp8_tflops:
        peak[NumberFormat.FP8] = peak[NumberFormat.INT8] = fp8_tflops * 1e12
    if fp4_tflops:
        peak[NumberFormat.NVFP4] = peak[NumberFormat.MXFP4] = fp4_tflops * 1e12
    return GpuSpec(
        name=name,
        memory_bytes=memory_gib * GIB,
        bandwidth_bytes_per_s=bandwidth_gb_per_s * 1e9,
        peak_flops=MappingProxyType(peak),
        efficiency=like.efficiency,
        kv_bandwidth_efficiency=like.kv_bandwidth_efficiency,
        attention_compute_efficiency=like.attention_compute_efficiency,
        links=gpus()["A100-SXM" if nvlink else "L40S"].links,
        nvlink=nvlink,
        layer_overhead_s=like.layer_overhead_s,
        moe_layer_overhead_s=like.moe_layer_overhead_s,
        source="explicit values",
    )


@cache
def _names() -> Mapping[str, str]:
    return gpu_file.names(_data())


@cache
def _data() -> Mapping[str, Any]:
    text = resources.files("inferencefleet.catalog").joinpath("data/gpus.yaml").read_text(encoding="utf-8")
    data: Mapping[str, Any] = yaml.safe_load(text)
    return data
