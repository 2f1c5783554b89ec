"""Bytes of KV cache (sizing physics 1.2). All values are summed over a replica's GPUs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import AttentionKind, ModelSpec

BYTES_PER_KV_ELEMENT = {NumberFormat.BF16: 2.0, NumberFormat.FP8: 1.0, NumberFormat.INT8: 1.0}


def layer_bytes_per_token(model: ModelSpec, kv_cache: NumberFormat) -> float:
    """Bytes of one token in one attention layer, one copy."""
    element = BYTES_PER_KV_ELEMENT.get(kv_cache, 2.0)
    if model.mla is not None:
        return (model.mla.kv_lora_rank + model.mla.qk_rope_head_dim) * element
    return 2.0 * model.kv_heads * model.head_dim * element


def replication(model: ModelSpec, tensor_parallel: int) -> float:
    """How many copies of the KV cache a tensor-parallel group holds.

    Heads are split, so there is one copy until there are more GPUs than KV heads. The MLA latent has no heads to
    split and is copied to every GPU.
    """
    if model.mla is not None:
        return float(tensor_parallel)
    return max(1.0, tensor_parallel / model.kv_heads)


def full_bytes_per_token(shape: ReplicaShape) -> float:
    """Bytes a token holds in the layers whose cache grows with the context, all copies."""
    one = layer_bytes_per_token(shape.model, shape.kv_cache)
    return shape.model.full_attention_layers * one * replication(shape.model, shape.tensor_parallel)


def sliding_bytes_per_token(shape: ReplicaShape) -> float:
    """Bytes a token holds in sliding-window layers while it is inside the window, all copies."""
    one = layer_bytes_per_token(shape.model, shape.kv_cache)
    return shape.model.sliding_attention_layers * one * replication(shape.model, shape.tensor_parallel)


def state_bytes_per_sequence(shape: ReplicaShape) -> float:
    """Constant state of the linear-attention layers for one sequence, whatever its length."""
    return float(shape.model.attention.count(AttentionKind.LINEAR) * shape.model.linear_state_bytes)


def sequence_bytes(shape: ReplicaShape, tokens: ArrayLike) -> NDArray[np.float64]:
    """Bytes held by sequences of these lengths; shape as `tokens`."""
    length = np.asarray(tokens, dtype=np.float64)
    window = shape.model.sliding_window_tokens or np.inf
    return (
        full_bytes_per_token(shape) * length
        + sliding_bytes_per_token(shape) * np.minimum(length, window)
        + state_bytes_per_sequence(shape)
    )
