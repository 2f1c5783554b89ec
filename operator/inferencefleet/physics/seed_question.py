"""The question that the sizing chain answers, and what makes it a bad one."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from inferencefleet.domain.capacity import EngineLimits
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.slo import Slo

SEED_UTILISATION = 0.7
"""What the textbook plans with; the operator's own share is measured (`domain.fleet.EVEN_UTILISATION`)."""


class InvalidQuestion(ValueError):
    """An input of the chain breaks a rule; the message has field, value, rule and way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedQuestion:
    """How many replicas hold `requests_per_s` requests of fixed lengths, in the terms of the textbook chain."""

    model: ModelSpec
    gpu: GpuSpec
    requests_per_s: float
    context_tokens: float
    """T: prompt and output of one request together."""
    output_tokens: float
    """G."""
    batch: float
    """B: sequences that decode together, as the person who asks believes."""
    step_s: float
    """t_step: seconds of one decode step at that batch, as the person who asks believes. Physics mode does not use
    `batch` and `step_s`; it checks them."""
    utilisation: float = SEED_UTILISATION
    """u: share of the throughput to plan with."""
    tensor_parallel: int = 1
    weights: NumberFormat = NumberFormat.BF16
    kv_cache: NumberFormat = NumberFormat.BF16
    limits: EngineLimits | None = None
    """Engine flags; None are the defaults with room for the batch. The maximum length is always the question's."""
    slos: tuple[Slo, ...] = ()
    """Physics mode only. Without any, the replica may be as slow as its memory and slots allow."""
    nominal_parameters: float | None = None
    """Seed mode only: the model's round size (8e9); None counts its weights."""
    nominal_memory_bytes: float | None = None
    """Seed mode only: the round memory of one GPU (80e9); None takes what the driver reports."""

    def validate(self) -> None:
        """Raise `InvalidQuestion` for the first input that breaks its rule."""
        for name in ("requests_per_s", "step_s", "nominal_parameters", "nominal_memory_bytes"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise _invalid(name, value, "must be above 0", "give a positive number, or leave an optional one out")
        for name in ("output_tokens", "batch", "tensor_parallel"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 1):
                raise _invalid(name, value, "must be at least 1", "give 1 or more")
        if not 0 < self.utilisation <= 1:
            raise _invalid("utilisation", self.utilisation, "must be in (0, 1]", "0.7 leaves 30 % for bursts")
        if not (isfinite(self.context_tokens) and self.context_tokens >= self.output_tokens + 1):
            raise _invalid(
                "context_tokens",
                self.context_tokens,
                f"is prompt and output together, so at least output_tokens + 1 = {self.output_tokens + 1:g}",
                "add the prompt's tokens",
            )
        if self.context_tokens > self.model.max_context_tokens:
            raise _invalid(
                "context_tokens",
                self.context_tokens,
                f"is above the {self.model.max_context_tokens:,} tokens of {self.model.id}",
                "shorten the context or choose a model with a longer one",
            )


def _invalid(field: str, value: float, rule: str, way_out: str) -> InvalidQuestion:
    return InvalidQuestion(f"{field} = {value:g}: {rule}; {way_out}")
