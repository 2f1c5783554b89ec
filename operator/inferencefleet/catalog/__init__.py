"""GPUs, models and prices the operator knows, as data files with provenance.

The functions look into the built-in catalogue. A `Catalogue` is the same with a user's file on top.
"""

from collections.abc import Mapping

from inferencefleet.catalog.catalogue import Catalogue, built_in
from inferencefleet.catalog.errors import (
    InvalidCatalogue,
    UnknownGpu,
    UnknownMigProfile,
    UnknownModel,
    UnknownPrice,
    UnsupportedArchitecture,
)
from inferencefleet.catalog.gpus import gpu_from_values, with_values
from inferencefleet.catalog.hf_config import model_from_hf_config, model_from_hf_config_file
from inferencefleet.catalog.prices import Price
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.model import ModelSpec


def gpu(name: str) -> GpuSpec:
    """The GPU of this name, alias or `nvidia.com/gpu.product` label (case does not matter), or a slice of it
    (`H100-SXM/3g.40gb`). `UnknownGpu` names the closest."""
    return built_in().gpu(name)


def gpus() -> Mapping[str, GpuSpec]:
    """All built-in GPUs by catalogue name; slices and aliases not repeated."""
    return built_in().gpus.entries


def mig_profiles(name: str) -> tuple[str, ...]:
    """The MIG profiles of this GPU, smallest first; empty when it cannot be sliced."""
    return built_in().gpus.mig_profiles(name)


def mig_slice(name: str, profile: str) -> GpuSpec:
    """The slice of this GPU; the profile may be spelt `3g.40gb`, `mig-3g.40gb` or `nvidia.com/mig-3g.40gb`."""
    return built_in().gpus.slice(name, profile)


def model(hf_id: str) -> ModelSpec:
    """The model with this Hugging Face id (case does not matter) or alias; an alias keeps its own id."""
    return built_in().model(hf_id)


def models() -> Mapping[str, ModelSpec]:
    """All built-in models by id, aliases not repeated."""
    return built_in().models.entries


def price(gpu_name: str, capacity_type: str = "OnDemand") -> Price:
    """The cheapest listed price of this GPU or slice; `UnknownPrice` says how to give one."""
    return built_in().price(gpu_name, capacity_type)


def prices() -> Mapping[str, tuple[Price, ...]]:
    """All listed prices by catalogue name of the GPU, cheapest first."""
    return built_in().prices.entries


__all__ = [
    "Catalogue",
    "InvalidCatalogue",
    "Price",
    "UnknownGpu",
    "UnknownMigProfile",
    "UnknownModel",
    "UnknownPrice",
    "UnsupportedArchitecture",
    "built_in",
    "gpu",
    "gpu_from_values",
    "gpus",
    "mig_profiles",
    "mig_slice",
    "model",
    "model_from_hf_config",
    "model_from_hf_config_file",
    "models",
    "price",
    "prices",
    "with_values",
]
