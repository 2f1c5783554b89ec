"""What a GPU is, as far as sizing needs to know. Values are per GPU; datasheet peaks are dense (no sparsity)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class NumberFormat(StrEnum):
    """How weights (or KV cache entries) are stored."""

    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"


def weight_format(name: str) -> NumberFormat:
    """The format of this name, whatever its case; fp16 is bf16 here, because both take two bytes and the same tensor
    cores. `ValueError` for anything else, also for `fp4`, which may be two formats."""
    key = name.strip().lower()
    if key in {"fp16", "float16", "half", "bfloat16"}:
        return NumberFormat.BF16
    known = ", ".join(NumberFormat)
    if key == "fp4":
        raise ValueError(
            f"weight format {name!r} is ambiguous: write nvfp4 (blocks of 16, NVIDIA) or mxfp4 (blocks of 32, OCP)"
        )
    if key not in set(NumberFormat):
        raise ValueError(f"unknown weight format {name!r}; use one of: {known} (fp16 counts as bf16)")
    return NumberFormat(key)


class DataConfidence(StrEnum):
    """How near the kernel efficiencies of a GPU are to measurements on that GPU."""

    MEASURED = "Measured"
    """Kernels were measured on this GPU."""
    BORROWED = "Borrowed"
    """Taken from a GPU of the same architecture."""
    DATASHEET = "Datasheet"
    """Only the datasheet is known; fractions of its peaks are a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Fraction of the datasheet peak that real kernels reach for one weight format."""

    bandwidth: float
    """MBU of weight reads, 0..1."""
    compute: float
    """MFU of matrix products, 0..1."""
    moe_bandwidth: float
    """MBU of expert weight reads in grouped products, 0..1."""
    moe_compute: float
    """MFU of grouped expert products, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One all-reduce over a tensor-parallel group of a given size."""

    latency_s: float
    """Fixed time of one call (alpha)."""
    bandwidth_bytes_per_s: float
    """Bus bandwidth for messages of a prefill chunk, some 10 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpec:
    """One GPU type. `name` is the catalogue key (`H100-SXM`), or the user's own name for an explicit GPU."""

    name: str
    memory_bytes: float
    """Memory the driver reports, before vLLM's `gpu_memory_utilization`."""
    bandwidth_bytes_per_s: float
    peak_flops: Mapping[NumberFormat, float] = field(hash=False)
    """Dense peak in FLOP/s of the tensor cores by operand format; a format that is absent runs at the bf16 peak."""
    efficiency: Mapping[NumberFormat, Efficiency] = field(hash=False)
    """By weight format; always holds bf16."""
    kv_bandwidth_efficiency: float
    """MBU of decode attention."""
    attention_compute_efficiency: float
    """MFU of prefill attention."""
    links: Mapping[int, Link] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """All-reduce by tensor-parallel size (2, 4, 8)."""
    nvlink: bool = True
    """False when GPUs of one node talk over PCIe only: tensor parallelism is then avoided."""
    layer_overhead_s: float = 35e-6
    moe_layer_overhead_s: float = 45e-6
    eager_layer_overhead_s: float = 450e-6
    """What the host needs to launch one layer in a step that no captured CUDA graph replays."""
    source: str = ""
    """Where the numbers are from, with a date, in one sentence."""
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False, compare=False)
    """By value name as in the data file (`bandwidthGBps`, `peakTflops.fp8`, `links.2.latencyUs`): source and date."""
    confidence: DataConfidence = field(default=DataConfidence.MEASURED, compare=False)
    note: str = field(default="", compare=False)
    """What a careful reader should know of these numbers; empty when nothing."""
    resource_name: str = field(default="nvidia.com/gpu", compare=False)
    """Extended resource under which the vendor's device plugin offers it."""
    mig_profile: str | None = None
    """`3g.40gb` when this is a slice of a GPU (NVIDIA MIG), not a whole one."""

    @property
    def splits_models(self) -> bool:
        """Whether one model can be split over several of them: MIG slices cannot talk to each other, so they cannot."""
        return self.mig_profile is None

    def computes_in(self, weights: NumberFormat) -> bool:
        """Whether tensor cores take this format; if not, weights only are kept in it and products run in bf16."""
        return weights in self.peak_flops

    def peak_flop_per_s(self, weights: NumberFormat) -> float:
        """Dense peak of products with weights in this format."""
        return self.peak_flops[weights if self.computes_in(weights) else NumberFormat.BF16]
