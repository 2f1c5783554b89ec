"""GPUs and models the operator knows, as data files with provenance."""

from collections.abc import Mapping

from inferencefleet.catalog.errors import (
    InvalidCatalogue,
    UnknownGpu,
    UnknownMigProfile,
    UnknownModel,
    UnsupportedArchitecture,
)
from inferencefleet.catalog.gpus import built_in, gpu_from_values, with_values
from inferencefleet.catalog.hf_config import model_from_hf_config
from inferencefleet.catalog.models import model, models
from inferencefleet.domain.hardware import GpuSpec


def gpu(name: str) -> GpuSpec:
    """The GPU of this name, alias or `nvidia.com/gpu.product` label (case does not matter), or a slice of it
    (`H100-SXM/3g.40gb`). `UnknownGpu` names the closest."""
    return built_in().find(name)


def gpus() -> Mapping[str, GpuSpec]:
    """All built-in GPUs by catalogue name; slices and aliases not repeated."""
    return built_in().entries


def mig_profiles(name: str) -> tuple[str, ...]:
    """The MIG profiles of this GPU, smallest first; empty when it cannot be sliced."""
    return built_in().mig_profiles(name)


def mig_slice(name: str, profile: str) -> GpuSpec:
    """The slice of this GPU; the profile may be spelt `3g.40gb`, `mig-3g.40gb` or `nvidia.com/mig-3g.40gb`."""
    return built_in().slice(name, profile)


__all__ = [
    "InvalidCatalogue",
    "UnknownGpu",
    "UnknownMigProfile",
    "UnknownModel",
    "UnsupportedArchitecture",
    "gpu",
    "gpu_from_values",
    "gpus",
    "mig_profiles",
    "mig_slice",
    "model",
    "model_from_hf_config",
    "models",
    "with_values",
]
