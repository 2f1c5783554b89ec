"""What a language model is, as far as sizing needs to know: shapes, not weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

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
class AttentionGroup:
    """Attention of the same shape in several layers. One layer may be in two groups: compressed and sliding."""

    kind: AttentionKind
    layers: int
    parameters: int
    """Of one layer, projections included."""
    cached_elements: float = 0.0
    """KV cache elements that one token adds in one layer, one copy (2 H_kv d_h for grouped queries)."""
    kv_heads: int = 1
    """Heads that tensor parallelism can split the cache by; with fewer heads than GPUs it is copied."""
    width: float = 0.0
    """H (d_q + d_v) of one layer: multiply-adds of one prompt token with one token it attends to."""
    selected_tokens: int | None = None
    """Sparse attention: all tokens are cached, and at most this many are read and attended to."""
    index_bytes: float = 0.0
    """Sparse attention: bytes of the index that one token adds in one layer, read in full whatever is selected."""
    index_width: float = 0.0
    """Sparse attention: multiply-adds of the index for one prompt token and one token before it."""
    state_bytes: int = 0
    """Linear attention: constant state of one layer for one sequence."""


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
    """Intermediate size of a dense MLP layer (0 when every layer is MoE); averaged where layers differ."""
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
    mlp_matrices: int = 3
    """3 with a gated MLP, 2 with the plain one of older models."""
    groups: tuple[AttentionGroup, ...] = ()
    """Only where the fields above cannot tell the attention exactly (layers with other heads, sparse or compressed
    attention, output gates); `attention_groups` has the groups of every model."""
    source: str = ""

    @property
    def full_attention_layers(self) -> int:
        """Layers whose KV cache grows with the context."""
        return self.attention.count(AttentionKind.FULL) if self.attention else self.layers

    @property
    def sliding_attention_layers(self) -> int:
        """Layers whose KV cache is capped at the window."""
        return self.attention.count(AttentionKind.SLIDING)

    @property
    def attention_style(self) -> str:
        """`GQA`, `MLA, sparse`, `GQA, sliding window`, `MQA, compressed, sparse, sliding window`, `GQA, linear`."""
        groups = attention_groups(self)
        kinds = {group.kind for group in groups}
        heads = "MHA" if self.kv_heads == self.heads else "MQA" if self.kv_heads == 1 else "GQA"
        words = ["MLA" if self.mla else heads]
        if any(0 < group.cached_elements < self.head_dim for group in groups) and self.mla is None:
            words.append("compressed")
        words += ["sparse"] if any(group.selected_tokens for group in groups) else []
        words += ["sliding window"] if AttentionKind.SLIDING in kinds else []
        words += ["linear"] if AttentionKind.LINEAR in kinds else []
        return ", ".join(words)


@lru_cache(maxsize=512)
def attention_groups(model: ModelSpec) -> tuple[AttentionGroup, ...]:
    """The attention of a model by groups of equal layers; derived from its plain fields where it names none."""
    if model.groups:
        return model.groups
    parameters, cached, width, kv_heads = _plain(model)
    found = []
    for kind, layers in (
        (AttentionKind.FULL, model.full_attention_layers),
        (AttentionKind.SLIDING, model.sliding_attention_layers),
    ):
        if layers:
            found.append(
                AttentionGroup(
                    kind=kind,
                    layers=layers,
                    parameters=parameters,
                    cached_elements=cached,
                    kv_heads=kv_heads,
                    width=width,
                )
            )
    if linear := model.attention.count(AttentionKind.LINEAR):
        found.append(
            AttentionGroup(
                kind=AttentionKind.LINEAR,
                layers=linear,
                parameters=model.linear_parameters,
                state_bytes=model.linear_state_bytes,
            )
        )
    return tuple(found)


def _plain(model: ModelSpec) -> tuple[int, float, float, int]:
    """Parameters, cached elements, width and KV heads of one attention layer (sizing physics 1.1, 1.2)."""
    hidden, heads = model.hidden, model.heads
    if model.mla is None:
        dim, kv_heads = model.head_dim, model.kv_heads
        return hidden * dim * 2 * (heads + kv_heads), 2.0 * kv_heads * dim, 2.0 * heads * dim, kv_heads
    mla = model.mla
    query_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    if mla.q_lora_rank is None:
        query = hidden * heads * query_dim
    else:
        query = hidden * mla.q_lora_rank + mla.q_lora_rank * heads * query_dim
    latent = mla.kv_lora_rank + mla.qk_rope_head_dim
    expand = mla.kv_lora_rank * heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    parameters = query + hidden * latent + expand + heads * mla.v_head_dim * hidden
    # The latent has no heads to split: it is copied to every GPU.
    return parameters, float(latent), float(heads * (query_dim + mla.v_head_dim)), 1
