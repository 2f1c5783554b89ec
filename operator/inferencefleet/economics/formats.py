"""Weight formats as a choice: which checkpoint an engine can load, and what a format costs in quality, as quoted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import ModelSpec


class Checkpoint(StrEnum):
    """Where weights in a format come from."""

    PUBLISHED = "as published"
    CONVERTED = "converted while loading"
    """vLLM quantises a bf16 checkpoint to fp8 itself; nothing else."""
    ANOTHER = "needs another checkpoint"
    """Somebody must have quantised the model and published it under its own id."""


QUALITY: Mapping[NumberFormat, str] = MappingProxyType(
    {
        NumberFormat.FP8: "negligible loss (as quoted)",
        NumberFormat.INT8: "perplexity +0.1 to +0.5 (as quoted)",
        NumberFormat.INT4: "perplexity +0.3 to +1.2 (as quoted)",
        NumberFormat.NVFP4: "4 bits, loss not quoted: evaluate it",
        NumberFormat.MXFP4: "4 bits, loss not quoted: evaluate it",
    }
)
"""What quantising a bf16 model to this format costs. Quoted from two engineering guides, not measured here."""


def checkpoint_of(model: ModelSpec, weights: NumberFormat) -> Checkpoint:
    """How an engine that is pointed at the published checkpoint gets weights in this format."""
    if weights is model.native_weights:
        return Checkpoint.PUBLISHED
    if model.native_weights is NumberFormat.BF16 and weights is NumberFormat.FP8:
        return Checkpoint.CONVERTED
    return Checkpoint.ANOTHER


def quality_of(model: ModelSpec, weights: NumberFormat) -> str:
    """What this format costs in quality against the published checkpoint; `as published` for its own format."""
    return "as published" if weights is model.native_weights else QUALITY.get(weights, "as published or better")


def formats_to_try(model: ModelSpec) -> tuple[NumberFormat, ...]:
    """The published format first, then those that need less memory, gentlest first.

    A checkpoint of 4 bits has nothing below it, and one of 8 bits is not blown up to bf16.
    """
    native = model.native_weights
    if native is NumberFormat.BF16:
        return (NumberFormat.BF16, NumberFormat.FP8, NumberFormat.INT8, NumberFormat.INT4)
    if native in (NumberFormat.FP8, NumberFormat.INT8):
        return (native, NumberFormat.INT4)
    return (native,)
