"""One choice of a capacity taken otherwise: formats, flags of the engine, GPUs of a replica, speculation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.changes import Case, Change
from inferencefleet.physics.refusals import LEAST_CONTEXT_TOKENS, SIZES
from inferencefleet.physics.speculation import verified_tokens
from inferencefleet.physics.split import divides
from inferencefleet.physics.weights import FOUR_BIT


def choices(case: Case, *, serves: bool) -> Iterator[Change]:
    """Every choice once: flags doubled, formats and tensor parallelism at the next one.

    `serves` says whether the replica does before the change; only where it does not, a shorter maximum length is asked.
    """
    yield from _formats(case)
    yield from _flags(case)
    yield from _replica(case)
    if not serves:
        yield from _context(case)


def _formats(case: Case) -> Iterator[Change]:
    shape = case.shape
    kv_cache = NumberFormat.FP8 if shape.kv_cache is NumberFormat.BF16 else NumberFormat.BF16
    yield Change(
        input="kv_cache",
        words=f"A KV cache in {kv_cache}",
        plural=False,
        case=replace(case, shape=replace(shape, kv_cache=kv_cache)),
        from_value=shape.kv_cache.value,
        to_value=kv_cache.value,
    )
    weights = _other_weights(shape)
    yield Change(
        input="weights",
        words=f"Weights in {weights}",
        plural=True,
        case=replace(case, shape=replace(shape, weights=weights)),
        from_value=shape.weights.value,
        to_value=weights.value,
    )


def _other_weights(shape: ReplicaShape) -> NumberFormat:
    """The next smaller format, and the next larger one for the smallest."""
    if shape.weights is NumberFormat.BF16 or shape.weights in FOUR_BIT:
        return NumberFormat.FP8
    return NumberFormat.NVFP4 if shape.gpu.computes_in(NumberFormat.NVFP4) else NumberFormat.INT4


def _flags(case: Case) -> Iterator[Change]:
    shape, limits = case.shape, case.shape.limits
    seqs = min(2 * limits.max_num_seqs, limits.max_num_batched_tokens // verified_tokens(shape.speculation))
    if seqs > limits.max_num_seqs:
        yield Change(
            input="max_num_seqs",
            unit="sequences",
            words=f"{seqs} sequence slots (maxNumSeqs)",
            plural=True,
            case=replace(case, shape=replace(shape, limits=replace(limits, max_num_seqs=seqs))),
            from_value=limits.max_num_seqs,
            to_value=seqs,
        )
    tokens = 2 * limits.max_num_batched_tokens
    yield Change(
        input="max_num_batched_tokens",
        unit="tokens",
        words=f"{tokens:,} tokens in a step (maxNumBatchedTokens)",
        plural=True,
        case=replace(case, shape=replace(shape, limits=replace(limits, max_num_batched_tokens=tokens))),
        from_value=limits.max_num_batched_tokens,
        to_value=tokens,
    )


def _context(case: Case) -> Iterator[Change]:
    tokens = case.shape.limits.max_model_len_tokens
    if tokens >= 2 * LEAST_CONTEXT_TOKENS:
        limits = replace(case.shape.limits, max_model_len_tokens=tokens // 2)
        yield Change(
            input="max_model_len",
            unit="tokens",
            words=f"A maxModelLen of {tokens // 2:,}",
            plural=False,
            case=replace(case, shape=replace(case.shape, limits=limits)),
            from_value=tokens,
            to_value=tokens // 2,
        )


def _replica(case: Case) -> Iterator[Change]:
    shape = case.shape
    size = _other_size(shape)
    if size is not None:
        yield Change(
            input="tensor_parallel",
            unit="GPUs",
            words=f"{size} GPUs for each replica" if size > 1 else "1 GPU for each replica",
            plural=size > 1,
            case=replace(case, shape=replace(shape, tensor_parallel=size)),
            from_value=shape.tensor_parallel,
            to_value=size,
        )
    if shape.speculation is not None:
        yield Change(
            input="speculation",
            words="Decoding without speculation",
            plural=False,
            case=replace(case, shape=replace(shape, speculation=None)),
            from_value="on",
            to_value="off",
        )


def _other_size(shape: ReplicaShape) -> int | None:
    """The next larger tensor-parallel size that the engine can split the model over, else the next smaller."""
    if not shape.gpu.splits_models:
        return None
    sizes = [size for size in SIZES if divides(shape.model, size)]
    larger = [size for size in sizes if size > shape.tensor_parallel]
    smaller = [size for size in sizes if size < shape.tensor_parallel]
    return min(larger) if larger else max(smaller, default=None)
