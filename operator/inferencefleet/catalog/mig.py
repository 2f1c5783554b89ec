"""Slices of a GPU (NVIDIA Multi-Instance GPU): a share of the memory, its bandwidth and the compute units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from types import MappingProxyType

from inferencefleet.catalog.errors import UnknownMigProfile
from inferencefleet.catalog.gpu_file import GIB
from inferencefleet.catalog.yaml_text import parse
from inferencefleet.domain.hardware import DataConfidence, GpuSpec

_PROFILE = re.compile(r"(?:nvidia\.com/)?(?:mig-)?(\d+g\.\d+gb)((?:[+.](?:me|gfx|me\.all))?)", re.IGNORECASE)
_GPU_AND_PROFILE = re.compile(r"(.+?)(?:/|-mig-)((?:nvidia\.com/)?(?:mig-)?\d+g\..*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One MIG profile of one GPU."""

    profile: str
    memory_gib: float
    bandwidth: float
    """Share of the whole GPU's memory bandwidth, 0..1."""
    compute: float
    """Share of its streaming multiprocessors, 0..1."""
    sources: Mapping[str, str]
    """By value name: source and date."""


def split_name(name: str) -> tuple[str, str] | None:
    """`H100/3g.40gb` or the label `NVIDIA-H100-80GB-HBM3-MIG-3g.40gb` -> GPU and profile; None for a whole GPU."""
    match = _GPU_AND_PROFILE.fullmatch(name.strip())
    return (match[1], match[2]) if match else None


def resource(profile: str) -> str:
    """The extended resource of a profile: `nvidia.com/mig-3g.40gb`."""
    match = _PROFILE.fullmatch(profile.strip())
    return f"nvidia.com/mig-{(match[1] + match[2].replace('+', '.')).lower()}" if match else "nvidia.com/gpu"


@cache
def tables() -> Mapping[str, Mapping[str, Slice]]:
    """The slices of each table of `data/mig.yaml`."""
    text = resources.files("inferencefleet.catalog").joinpath("data/mig.yaml").read_text(encoding="utf-8")
    data = parse(text)
    titles = {name: f"{source['title']}, {source['date']}" for name, source in data["sources"].items()}
    found = {}
    for table, raw in data["tables"].items():
        sources = MappingProxyType({value: titles[name] for value, name in raw["sources"].items()})
        found[table] = MappingProxyType(
            {
                profile: Slice(
                    profile=profile,
                    memory_gib=values["memoryGiB"],
                    bandwidth=values["bandwidth"],
                    compute=values["compute"],
                    sources=sources,
                )
                for profile, values in raw["profiles"].items()
            }
        )
    return MappingProxyType(found)


def sliced(gpu: GpuSpec, table: str | None, profile: str) -> GpuSpec:
    """The slice of this GPU, with the efficiencies and overheads of the whole and without links.

    `profile` may be spelt `3g.40gb`, `mig-3g.40gb`, `nvidia.com/mig-3g.40gb` or with media engines, `1g.10gb+me`.
    """
    if table is None:
        raise UnknownMigProfile(f"MIG profile {profile!r}: {gpu.name} cannot be sliced; leave the profile out")
    match = _PROFILE.fullmatch(profile.strip())
    part = tables()[table].get(match[1].lower()) if match else None
    if part is None:
        known = ", ".join(tables()[table])
        raise UnknownMigProfile(f"unknown MIG profile {profile!r} of {gpu.name}; use one of: {known}")
    sources = {path: source for path, source in gpu.sources.items() if not path.startswith(("links.", "nvlink"))}
    for path, source in sources.items():
        share = {"bandwidthGBps": "bandwidth", "peakTflops": "compute"}.get(path.partition(".")[0])
        if share:
            sources[path] = f"share {getattr(part, share):g} ({part.sources[share]}) of: {source}"
    sources["memoryGiB"] = part.sources["memoryGiB"]
    return replace(
        gpu,
        name=f"{gpu.name}/{part.profile}",
        memory_bytes=part.memory_gib * GIB,
        bandwidth_bytes_per_s=gpu.bandwidth_bytes_per_s * part.bandwidth,
        peak_flops=MappingProxyType({key: value * part.compute for key, value in gpu.peak_flops.items()}),
        links=MappingProxyType({}),
        nvlink=False,
        sources=MappingProxyType(sources),
        source=f"{part.profile} of {gpu.name}: {gpu.source}",
        confidence=DataConfidence.BORROWED if gpu.confidence is DataConfidence.MEASURED else gpu.confidence,
        note=f"{gpu.note} A MIG slice; efficiencies and overheads are those of the whole GPU.".strip(),
        resource_name=resource(profile),
        mig_profile=part.profile,
    )
