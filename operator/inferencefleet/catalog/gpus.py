"""GPU types by name: the built-in ones of `data/gpus.yaml`, slices of them, and explicit ones from a user's numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from inferencefleet.catalog import gpu_file, mig
from inferencefleet.catalog.errors import UnknownGpu, closest
from inferencefleet.catalog.gpu_file import GIB
from inferencefleet.catalog.yaml_text import parse
from inferencefleet.domain.hardware import DataConfidence, GpuSpec, NumberFormat

_NO_BF16 = "it has no bf16 tensor cores, which every format here is computed in; use for example an L4 or A10G"
_REFUSED = MappingProxyType(
    {
        f"{prefix}{name}": _NO_BF16
        for name in ("t4", "t4g", "v100", "tesla-v100-sxm2-16gb", "tesla-v100-sxm2-32gb", "p100", "k80")
        for prefix in ("", "tesla-", "nvidia-", "nvidia-tesla-")
    }
)
"""Names that people try, with the reason why there is no entry."""


@dataclass(frozen=True, slots=True, eq=False)
class GpuTable:
    """The GPUs of one catalogue."""

    raw: Mapping[str, Any]
    """The tables `sources` and `gpus`, as in the data file."""
    entries: Mapping[str, GpuSpec]
    names: Mapping[str, str]
    """Normal form of each name and alias -> the entry's name."""

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> GpuTable:
        """`InvalidCatalogue` names the first value that cannot be."""
        names = MappingProxyType(gpu_file.names(raw))
        return cls(raw=raw, entries=MappingProxyType(gpu_file.specs(raw)), names=names)

    def find(self, name: str) -> GpuSpec:
        """The GPU of this catalogue name, alias or product label (case does not matter), or a slice of it."""
        parts = mig.split_name(name)
        found = self.names.get(gpu_file.normal(parts[0] if parts else name))
        if found is None:
            raise UnknownGpu(self._unknown(name))
        return self.slice(found, parts[1]) if parts else self.entries[found]

    def slice(self, name: str, profile: str) -> GpuSpec:
        """The slice of this MIG profile; `UnknownGpu` lists the GPU's profiles when there is no such one."""
        whole = self.find(name)
        return mig.sliced(whole, self._mig_table(whole.name), profile)

    def mig_profiles(self, name: str) -> tuple[str, ...]:
        """The MIG profiles of this GPU, smallest first; empty when it cannot be sliced."""
        table = self._mig_table(self.find(name).name)
        return tuple(mig.tables()[table]) if table else ()

    def _mig_table(self, entry: str) -> str | None:
        table: str | None = self.raw["gpus"].get(entry, {}).get("mig")
        return table

    def _unknown(self, name: str) -> str:
        key = gpu_file.normal(name)
        if key in _REFUSED:
            return f"GPU type {name!r} is not supported: {_REFUSED[key]}."
        if key.endswith("-shared"):
            return (
                f"GPU type {name!r} is time-sliced: replicas that share a GPU have no capacity of their own. "
                "Use whole GPUs, or MIG slices (for example H100-SXM/3g.40gb)."
            )
        near = closest(name, [*self.entries, *self.names])
        entries = ", ".join(dict.fromkeys(self.names[gpu_file.normal(found)] for found in near))
        return (
            f"unknown GPU type {name!r}; closest: {entries}. "
            "Use one of these, or give memory, bandwidth and TFLOPS explicitly."
        )


@cache
def built_in() -> GpuTable:
    """The GPUs of `data/gpus.yaml` (measured) and `data/gpus_borrowed.yaml` (the others)."""
    measured, borrowed = (_read(name) for name in ("gpus.yaml", "gpus_borrowed.yaml"))
    return GpuTable.from_raw({"sources": measured["sources"], "gpus": {**measured["gpus"], **borrowed["gpus"]}})


def _read(name: str) -> Mapping[str, Any]:
    text = resources.files("inferencefleet.catalog").joinpath(f"data/{name}").read_text(encoding="utf-8")
    data: Mapping[str, Any] = parse(text)
    return data


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
    entries = built_in().entries
    like = entries["B200" if fp4_tflops else "H100-SXM"]
    links = entries[_LINK_LENDER[nvlink]]
    peak = {NumberFormat.BF16: 1.0}
    if fp8_tflops is not None:
        peak[NumberFormat.FP8] = peak[NumberFormat.INT8] = 1.0
    if fp4_tflops is not None:
        peak[NumberFormat.NVFP4] = peak[NumberFormat.MXFP4] = 1.0
    bare = replace(
        like,
        name=name,
        peak_flops=MappingProxyType(peak),
        links=links.links,
        nvlink=nvlink,
        source="explicit values",
        sources=MappingProxyType({**_lent(like, _KERNELS), **_lent(links, ("links",))}),
        confidence=DataConfidence.DATASHEET,
        note=f"Explicit values; efficiencies are those of {like.name}, links those of {links.name}.",
    )
    spec = with_values(bare, memory_gib, bandwidth_gb_per_s, bf16_tflops, fp8_tflops, fp4_tflops)
    if fp8_tflops is None:
        return spec
    peaks = {**spec.peak_flops, NumberFormat.INT8: fp8_tflops * 1e12}
    return replace(spec, peak_flops=MappingProxyType(peaks))


_LINK_LENDER = MappingProxyType({True: "A100-SXM", False: "L40S"})
_KERNELS = (*gpu_file.GROUPS["kernels"], *gpu_file.GROUPS["overheads"])


def with_values(
    spec: GpuSpec,
    memory_gib: float | None = None,
    bandwidth_gb_per_s: float | None = None,
    bf16_tflops: float | None = None,
    fp8_tflops: float | None = None,
    fp4_tflops: float | None = None,
    nvlink: bool | None = None,
    source: str = "explicit value",
) -> GpuSpec:
    """A GPU with single values replaced by a user's; what is None stays. Peaks are dense.

    A 4-bit peak holds for nvfp4 and mxfp4. `ValueError` names a value that is not above 0.
    """
    given = {
        "memoryGiB": memory_gib,
        "bandwidthGBps": bandwidth_gb_per_s,
        "peakTflops.bf16": bf16_tflops,
        "peakTflops.fp8": fp8_tflops,
        "peakTflops.nvfp4": fp4_tflops,
        "peakTflops.mxfp4": fp4_tflops,
    }
    changed = {path: value for path, value in given.items() if value is not None}
    for path, value in changed.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"GPU {spec.name!r}: {_PLAIN[path]} must be above 0, got {value:g}")
    peaks = {NumberFormat(path.split(".")[1]): value * 1e12 for path, value in changed.items() if "." in path}
    told = dict.fromkeys(changed, source)
    if nvlink is not None and nvlink != spec.nvlink:
        lender = built_in().entries[_LINK_LENDER[nvlink]]
        spec = replace(spec, nvlink=nvlink, links=lender.links)
        told |= {"nvlink": source, **_lent(lender, ("links",))}
    return replace(
        spec,
        memory_bytes=spec.memory_bytes if memory_gib is None else memory_gib * GIB,
        bandwidth_bytes_per_s=spec.bandwidth_bytes_per_s if bandwidth_gb_per_s is None else bandwidth_gb_per_s * 1e9,
        peak_flops=MappingProxyType({**spec.peak_flops, **peaks}),
        sources=MappingProxyType({**spec.sources, **told}),
    )


_PLAIN = MappingProxyType(
    {
        "memoryGiB": "memory",
        "bandwidthGBps": "bandwidth",
        "peakTflops.bf16": "bf16 TFLOPS",
        "peakTflops.fp8": "fp8 TFLOPS",
        "peakTflops.nvfp4": "fp4 TFLOPS",
        "peakTflops.mxfp4": "fp4 TFLOPS",
    }
)


def _lent(lender: GpuSpec, tops: tuple[str, ...]) -> dict[str, str]:
    """The lender's sources of these values, told as borrowed."""
    return {
        path: f"borrowed from {lender.name}: {source}"
        for path, source in lender.sources.items()
        if path.partition(".")[0] in tops
    }
