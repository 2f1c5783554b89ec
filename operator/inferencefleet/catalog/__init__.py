"""GPUs and models the operator knows, as data files with provenance."""

from inferencefleet.catalog.errors import UnknownGpu, UnknownModel, UnsupportedArchitecture
from inferencefleet.catalog.gpus import gpu, gpu_from_values, gpus
from inferencefleet.catalog.hf_config import model_from_hf_config
from inferencefleet.catalog.models import model, models

__all__ = [
    "UnknownGpu",
    "UnknownModel",
    "UnsupportedArchitecture",
    "gpu",
    "gpu_from_values",
    "gpus",
    "model",
    "model_from_hf_config",
    "models",
]
