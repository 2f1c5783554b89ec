"""Bytes of KV cache (sizing physics 1.2). All values are summed over a replica's GPUs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import AttentionGroup, AttentionKind, ModelSpec, attention_groups

BYTES_PER_KV_ELEMENT = {NumberFormat.BF16: 2.0, NumberFormat.FP8: 1.0, NumberFormat.INT8: 1.0}


def bytes_per_token(model: ModelSpec, kv_cache: NumberFormat) -> float:
    """Bytes of one token in all layers, one copy, index of sparse attention included: while it is in every window."""
    return sum(group.layers * _held(group, kv_cache) for group in attention_groups(model))


def full_bytes_per_token(shape: ReplicaShape) -> float:
    """Bytes a token holds in the layers whose cache grows with the context, all copies."""
    return _held_by(shape, AttentionKind.FULL)


def sliding_bytes_per_token(shape: ReplicaShape) -> float:
    """Bytes a token holds in sliding-window layers while it is inside the window, all copies."""
    return _held_by(shape, AttentionKind.SLIDING)


def read_bytes_per_token(shape: ReplicaShape) -> float:
    """Bytes that decoding reads of every token of the context, all copies: full attention, and indices of sparse."""
    return sum(
        (_held(group, shape.kv_cache) if group.selected_tokens is None else group.index_bytes)
        * group.layers
        * _copies(group.kv_heads, shape.tensor_parallel)
        for group in attention_groups(shape.model)
        if group.kind is AttentionKind.FULL
    )


def windowed_read_bytes_per_token(shape: ReplicaShape) -> Mapping[float, float]:
    """Bytes that decoding reads of a token, of which it reads at most so many: by that number of tokens.

    The number is the window of sliding layers, or what sparse layers select.
    """
    found: dict[float, float] = {}
    for group in attention_groups(shape.model):
        window = group.selected_tokens
        if group.kind is AttentionKind.SLIDING:
            window = shape.model.sliding_window_tokens
        if window is not None:
            one = group.cached_elements * _element(shape.kv_cache)
            total = group.layers * one * _copies(group.kv_heads, shape.tensor_parallel)
            found[float(window)] = found.get(float(window), 0.0) + total
    return found


def state_bytes_per_sequence(shape: ReplicaShape) -> float:
    """Constant state of the linear-attention layers for one sequence, whatever its length."""
    return float(sum(group.layers * group.state_bytes for group in attention_groups(shape.model)))


def sequence_bytes(shape: ReplicaShape, tokens: ArrayLike) -> NDArray[np.float64]:
    """Bytes held by sequences of these lengths; shape as `tokens`."""
    length = np.asarray(tokens, dtype=np.float64)
    window = shape.model.sliding_window_tokens or np.inf
    return (
        full_bytes_per_token(shape) * length
        + sliding_bytes_per_token(shape) * np.minimum(length, window)
        + state_bytes_per_sequence(shape)
    )


def _element(kv_cache: NumberFormat) -> float:
    return BYTES_PER_KV_ELEMENT.get(kv_cache, 2.0)


def _held(group: AttentionGroup, kv_cache: NumberFormat) -> float:
    return group.cached_elements * _element(kv_cache) + group.index_bytes


def _held_by(shape: ReplicaShape, kind: AttentionKind) -> float:
    own = sum(
        group.layers * _held(group, shape.kv_cache) * _copies(group.kv_heads, shape.tensor_parallel)
        for group in attention_groups(shape.model)
        if group.kind is kind
    )
    return own if shape.speculation is None else own * (1 + shape.speculation.draft_kv_ratio)


def _copies(kv_heads: int, tensor_parallel: int) -> float:
    """How many copies of its cache a tensor-parallel group holds.

    Heads are split, so there is one copy until there are more GPUs than KV heads. The MLA latent counts as one head:
    it is copied to every GPU.
    """
    return max(1.0, tensor_parallel / kv_heads)
