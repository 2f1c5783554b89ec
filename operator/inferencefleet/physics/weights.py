"""Parameters and bytes of a model's weights, from its shapes (sizing physics 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import ModelSpec, attention_groups

BYTES_PER_WEIGHT = {
    NumberFormat.BF16: 2.0,
    NumberFormat.FP8: 1.0,
    NumberFormat.INT8: 1.0,
    NumberFormat.INT4: 0.53,
    NumberFormat.NVFP4: 0.5625,
    NumberFormat.MXFP4: 0.53,
}
"""Bytes of one weight, block scales included (groups of 128 for int4, 16 for nvfp4, 32 for mxfp4)."""

FOUR_BIT = frozenset({NumberFormat.INT4, NumberFormat.NVFP4, NumberFormat.MXFP4})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Parameter counts of one model."""

    dense: float
    """Read by every step: attention, dense MLPs, shared experts, routers."""
    expert: float
    """One routed expert of one layer."""
    experts: float
    """All routed experts of all layers."""
    head: float
    """The output projection, vocab x hidden."""
    embedding: float
    """The input table; 0 when it is tied to the head."""
    active: float
    """Used for one token: dense, chosen experts, head."""

    @property
    def total(self) -> float:
        return self.dense + self.experts + self.head + self.embedding


@lru_cache(maxsize=256)
def parameters(model: ModelSpec) -> Parameters:
    """Parameter counts by the formulas of 1.1; norms and biases (under 0.1 %) are left out."""
    moe_layers = model.moe.layers if model.moe else 0
    attention = float(sum(group.layers * group.parameters for group in attention_groups(model)))
    matrices = float(model.mlp_matrices)
    mlp = (model.layers - moe_layers) * matrices * model.hidden * model.ffn_hidden
    expert = routed = chosen = 0.0
    if model.moe:
        shared_and_router = matrices * model.hidden * model.moe.shared_hidden + model.hidden * model.moe.experts
        mlp += moe_layers * shared_and_router
        expert = matrices * model.hidden * model.moe.expert_hidden
        routed = moe_layers * model.moe.experts * expert
        chosen = moe_layers * model.moe.experts_per_token * expert
    head = float(model.vocab * model.hidden)
    dense = attention + mlp
    return Parameters(
        dense=dense,
        expert=expert,
        experts=routed,
        head=head,
        embedding=0.0 if model.tied_embeddings else head,
        active=dense + chosen + head,
    )


def dense_format(model: ModelSpec, weights: NumberFormat) -> NumberFormat:
    """Format of everything but the routed experts.

    Published 4-bit mixture-of-experts checkpoints (gpt-oss, Kimi K2, DeepSeek NVFP4) quantise the experts and
    keep attention in bf16; a dense model in 4 bits has all its linear layers in 4 bits.
    """
    return NumberFormat.BF16 if model.moe and weights in FOUR_BIT else weights


def weights_bytes(model: ModelSpec, weights: NumberFormat) -> float:
    """Bytes of all weights, summed over a replica's GPUs; embeddings and head stay in bf16 (1.1)."""
    count = parameters(model)
    experts = count.experts
    if model.moe and weights is NumberFormat.MXFP4:
        # Its kernels want expert widths in multiples of 256, so gpt-oss (2880) is stored as 3072.
        experts *= ceil(model.moe.expert_hidden / 256) * 256 / model.moe.expert_hidden
    return (
        count.dense * BYTES_PER_WEIGHT[dense_format(model, weights)]
        + experts * BYTES_PER_WEIGHT[weights]
        + (count.head + count.embedding) * BYTES_PER_WEIGHT[NumberFormat.BF16]
    )
