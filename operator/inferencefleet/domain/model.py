"""What a language model is, as far as sizing needs to know: shapes, not weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from inferencefleet.domain.hardware import NumberFormat


class AttentionKind(StrEnum):
    """Which attention a layer has; this decides KV cache size and attention work."""

    FULL = "full"
    SLIDING = "sliding"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class MlaShape:
    """Multi-head latent attention (DeepSeek): the cache holds one latent vector for each layer and token."""

    kv_lora_rank: int
    qk_rope_head_dim: int
    qk_nope_head_dim: int
    v_head_dim: int
    q_lora_rank: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoeShape:
    """Mixture-of-experts layout."""

    experts: int
    experts_per_token: int
    expert_hidden: int
    """Intermediate size of one routed expert."""
    shared_hidden: int
    """Summed intermediate size of the shared experts, 0 when there are none."""
    layers: int
    """How many layers are MoE; the others are dense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Architecture of one model. Counts are plain integers; see `physics.weights` for parameters and bytes."""

    id: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_hidden: int
    """Intermediate size of a dense MLP layer (0 when every layer is MoE)."""
    vocab: int
    tied_embeddings: bool
    max_context_tokens: int
    native_weights: NumberFormat
    """Format of the published checkpoint."""
    attention: tuple[AttentionKind, ...] = ()
    """One entry for each layer; empty means full attention everywhere."""
    sliding_window_tokens: int | None = None
    mla: MlaShape | None = None
    moe: MoeShape | None = None
    linear_parameters: int = 0
    """Parameters of one linear-attention (or state-space) layer, its MLP not counted."""
    linear_state_bytes: int = 0
    """Constant state of one such layer for one sequence."""
    source: str = ""

    @property
    def full_attention_layers(self) -> int:
        """Layers whose KV cache grows with the context."""
        return self.attention.count(AttentionKind.FULL) if self.attention else self.layers

    @property
    def sliding_attention_layers(self) -> int:
        """Layers whose KV cache is capped at the window."""
        return self.attention.count(AttentionKind.SLIDING)
