"""Chunked prefill (sizing physics 1.4): what a prompt adds to the steps that carry it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inferencefleet.physics.step import StepModel

Floats = NDArray[np.float64]

REQUEST_OVERHEAD_S = 21e-3
"""HTTP, scheduling, the way of the first token back to the client."""
PROMPT_TOKEN_OVERHEAD_S = 5e-6
"""Tokenising and handing over one prompt token; the engine works meanwhile, so only the own prompt counts."""


def new_tokens(prompt_tokens: ArrayLike, prefix_hit_ratio: ArrayLike) -> Floats:
    """Prompt tokens to compute: those the prefix cache lacks, at least one (the engine always computes the last)."""
    return np.maximum(1.0, np.asarray(prompt_tokens, dtype=np.float64) * (1.0 - np.asarray(prefix_hit_ratio)))


def host_s(prompt_tokens: ArrayLike) -> Floats:
    """Seconds of a request's time to first token that no GPU works on; fitted to vLLM runs on H100 and B200."""
    return np.asarray(REQUEST_OVERHEAD_S + PROMPT_TOKEN_OVERHEAD_S * np.asarray(prompt_tokens, dtype=np.float64))


def chunk_budget(max_num_batched_tokens: float, decode_seqs: ArrayLike) -> Floats:
    """Prompt tokens one step can take beside `decode_seqs` decoding sequences."""
    return np.maximum(1.0, max_num_batched_tokens - np.asarray(decode_seqs, dtype=np.float64))


def chunk_count(tokens: ArrayLike, budget: ArrayLike) -> Floats:
    """Steps that a prompt of `tokens` new tokens is spread over."""
    return np.asarray(np.ceil(np.asarray(tokens) / np.asarray(budget)))


def extension_s(
    step: StepModel, decode_seqs: ArrayLike, prompt_tokens: ArrayLike, prefix_hit_ratio: ArrayLike, budget: ArrayLike
) -> Floats:
    """Seconds that prefilling a prompt adds to the steps of `decode_seqs` decoding sequences; arrays broadcast.

    ext(I | n) = sum over chunks of T_step(n, chunk) - T_step(n). All chunks but the last are full, and attention is
    integrated over the prompt, so no loop over chunks is needed.
    """
    seqs = np.asarray(decode_seqs, dtype=np.float64)
    room = np.asarray(budget, dtype=np.float64)
    prompt = np.asarray(prompt_tokens, dtype=np.float64)
    new = new_tokens(prompt, prefix_hit_ratio)
    chunks = chunk_count(new, room)
    last = new - (chunks - 1) * room
    base = step.shared_array(seqs, np.zeros(()))
    full = step.shared_array(seqs, room) - base
    shared = (chunks - 1) * full + step.shared_array(seqs, last) - base
    return np.asarray(shared + step.prompt_attention_array(prompt - new, new))
