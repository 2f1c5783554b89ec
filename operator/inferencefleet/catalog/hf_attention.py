"""Attention of a Hugging Face config: the kind of each layer, and its shape where plain fields cannot tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inferencefleet.catalog.hf_fields import Fields
from inferencefleet.domain.model import AttentionGroup, AttentionKind, MlaShape

FULL, SLIDING, LINEAR = AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.LINEAR
_KINDS = {
    "full_attention": FULL,
    "attention": FULL,
    "sliding_attention": SLIDING,
    "chunked_attention": SLIDING,
    "linear_attention": LINEAR,
    "deepseek_sparse_attention": FULL,
}
_INDEX_KEY_BYTES = 1.0
_INDEX_SCALE_BYTES = 4.0
"""Index keys are kept in fp8 with one float32 scale for each token and layer (DeepSeek V3.2)."""


def kinds(fields: Fields, layers: int) -> tuple[AttentionKind, ...]:
    """The kind of each layer; empty when all are full attention."""
    text = fields.config
    found: tuple[AttentionKind, ...]
    if types := fields.each("layer_types", layers):
        if unknown := [kind for kind in types if kind not in _KINDS]:
            fields.refuse("layer_types", f"{unknown[0]!r} is not known; known kinds: {', '.join(_KINDS)}")
        found = tuple(_KINDS[kind] for kind in types)
    elif pattern := fields.each("hybrid_layer_pattern", layers):
        found = tuple(SLIDING if flag else FULL for flag in pattern)
    elif linear := fields.inner("linear_attn_config"):
        keep = set(linear.each("full_attn_layers") or ())  # counted from 1
        found = tuple(FULL if layer in keep else LINEAR for layer in range(1, layers + 1))
    elif fields.count("linear_num_value_heads") and (period := fields.count("full_attention_interval")):
        found = tuple(FULL if layer % period == 0 else LINEAR for layer in range(1, layers + 1))
    elif fields.count("attention_chunk_size"):
        # Llama 4: every fourth layer sees the whole context, the others their chunk, here a window of that length: a
        # token sees half a chunk on average, so the work of these layers is an upper bound. Memory is exact.
        found = tuple(FULL if layer % 4 == 0 else SLIDING for layer in range(1, layers + 1))
    elif fields.count("sliding_window") and fields.flag("use_sliding_window", True):
        period = fields.count("sliding_window_pattern", "_sliding_window_pattern")
        period = period or {"gemma2": 2, "gemma3_text": 6, "gemma3": 6}.get(str(text.get("model_type")), 0)
        # Gemma: one full layer in each period. Others: all layers slide.
        found = tuple(FULL if period and layer % period == 0 else SLIDING for layer in range(1, layers + 1))
    else:
        return ()
    return () if set(found) == {FULL} else found


def mla(fields: Fields) -> MlaShape | None:
    """Latent attention, or None."""
    if not fields.count("kv_lora_rank"):
        return None
    return MlaShape(
        kv_lora_rank=fields.need("kv_lora_rank"),
        qk_rope_head_dim=fields.count("qk_rope_head_dim"),
        qk_nope_head_dim=fields.need("qk_nope_head_dim"),
        v_head_dim=fields.need("v_head_dim"),
        q_lora_rank=fields.count("q_lora_rank") or None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Heads of one kind of layer."""

    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    gated: bool = False
    """A gate as wide as the output, computed from the input (one more projection)."""
    values_are_keys: bool = False
    """One projection serves keys and values (Gemma 4); the cache holds both all the same."""

    def group(self, hidden: int, layers: int, kind: AttentionKind) -> AttentionGroup:
        output = self.heads * self.value_dim
        keys_values = self.kv_heads * (self.key_dim + (0 if self.values_are_keys else self.value_dim))
        projections = self.heads * self.key_dim + keys_values + output * (2 if self.gated else 1)
        return AttentionGroup(
            kind=kind,
            layers=layers,
            parameters=hidden * projections,
            cached_elements=float(self.kv_heads * (self.key_dim + self.value_dim)),
            kv_heads=self.kv_heads,
            width=float(self.heads * (self.key_dim + self.value_dim)),
        )


def groups(fields: Fields, plain: Sequence[AttentionGroup]) -> tuple[AttentionGroup, ...]:
    """The attention of each kind of layer, where it differs from the plain one; empty when it does not.

    `plain` is what the plain fields say: heads, KV heads and one head dimension, or latent attention.
    """
    hidden, gate = fields.need("hidden_size", "n_embd", "d_model"), _gate(fields)
    found = [_reshaped(fields, group, hidden) for group in plain]
    if gate:
        found = [
            replace(group, parameters=group.parameters + hidden * gate) if group.kind is not LINEAR else group
            for group in found
        ]
    if fields.count("index_topk") and fields.count("kv_lora_rank"):
        found = [part for group in found for part in (_indexed(fields, group) if group.kind is FULL else [group])]
    sparse = fields.inner("sparse_attention_config")
    if sparse and sparse.flag("use_sparse_attention"):
        found = [part for group in found for part in _block_sparse(sparse, group, hidden)]
    return () if tuple(found) == tuple(plain) else tuple(found)


def _gate(fields: Fields) -> int:
    """Width of the output gate (Qwen 3.5, Kimi), 0 without one."""
    heads = fields.count("num_attention_heads")
    if fields.flag("mla_use_output_gate"):
        return heads * fields.count("v_head_dim")
    if fields.flag("attn_output_gate") or fields.flag("attention_output_gate"):
        return heads * (fields.count("head_dim") or fields.need("hidden_size") // heads)
    return 0


def _reshaped(fields: Fields, group: AttentionGroup, hidden: int) -> AttentionGroup:
    """Layers of this kind with other heads than the plain fields say (Gemma 4 global, MiMo sliding and values)."""
    if fields.count("kv_lora_rank") or group.kind is LINEAR:
        return group
    text = fields
    heads, kv_heads, dim = text.count("num_attention_heads"), text.count("num_key_value_heads"), text.count("head_dim")
    values = text.count("v_head_dim")
    same = False
    if group.kind is FULL:
        dim, values = text.count("global_head_dim") or dim, text.count("global_head_dim") or values
        kv_heads = text.count("num_global_key_value_heads") or kv_heads
        same = text.flag("attention_k_eq_v")
    else:
        heads = text.count("swa_num_attention_heads") or heads
        kv_heads = text.count("swa_num_key_value_heads") or kv_heads
        dim, values = text.count("swa_head_dim") or dim, text.count("swa_v_head_dim") or values
    changed = (values and values != dim) or same or (heads, kv_heads, dim) != _plain_heads(text)
    if not changed:
        return group
    shape = Heads(heads=heads, kv_heads=kv_heads, key_dim=dim, value_dim=values or dim, values_are_keys=same)
    return shape.group(hidden, group.layers, group.kind)


def _plain_heads(fields: Fields) -> tuple[int, int, int]:
    return fields.count("num_attention_heads"), fields.count("num_key_value_heads"), fields.count("head_dim")


def _indexed(fields: Fields, group: AttentionGroup) -> list[AttentionGroup]:
    """DeepSeek sparse attention: a light index picks the tokens that latent attention reads.

    In GLM 5.2 most layers share the index of the layer before and have none of their own.
    """
    hidden, heads, dim = fields.need("hidden_size"), fields.need("index_n_heads"), fields.need("index_head_dim")
    query = fields.count("q_lora_rank") or hidden
    selected = fields.need("index_topk")
    types = fields.each("indexer_types", group.layers)
    own = sum(1 for kind in types if kind == "full") if types else group.layers
    index = replace(
        group,
        layers=own,
        parameters=group.parameters + query * heads * dim + hidden * dim + hidden * heads,
        selected_tokens=selected,
        index_bytes=dim * _INDEX_KEY_BYTES + _INDEX_SCALE_BYTES,
        index_width=float(heads * dim),
    )
    shared = replace(group, layers=group.layers - own, selected_tokens=selected)
    return [part for part in (index, shared) if part.layers]


def _block_sparse(sparse: Fields, group: AttentionGroup, hidden: int) -> list[AttentionGroup]:
    """MiniMax M3: some layers read only the blocks that a small index of their own ranks highest."""
    flags = sparse.each("sparse_attention_freq") or ()
    count = sum(1 for flag in flags if flag)
    heads, dim = sparse.need("sparse_num_index_heads"), sparse.need("sparse_index_dim")
    part = replace(
        group,
        layers=count,
        parameters=group.parameters + hidden * (heads + 1) * dim,
        selected_tokens=sparse.need("sparse_topk_blocks") * sparse.need("sparse_block_size"),
        index_bytes=2.0 * dim,
        index_width=float(heads * dim),
    )
    dense = replace(group, layers=group.layers - count)
    return [each for each in (dense, part) if each.layers]
