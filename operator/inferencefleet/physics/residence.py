"""A replica under load (sizing physics 1.4): from resident sequences to rate, residence and inter-token latency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.prefill import chunk_budget, chunk_count, extension_s, mean_attended_tokens, new_tokens
from inferencefleet.physics.speculation import tokens_per_step, verified_tokens
from inferencefleet.physics.step import StepModel

Floats = NDArray[np.float64]

GRID = 24
STEPS = 512
"""Sampled engine steps for ITL percentiles."""
MOST_CHUNKS = 48
"""Chunks of different prompts that are followed in one sampled step; the token budget ends it long before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Load:
    """Steady states of one replica over a grid of resident sequences; arrays have shape (k,) unless said."""

    step: StepModel
    lengths: LengthMix
    """Clipped to the maximum model length."""
    seqs: Floats
    """Mean resident sequences, ascending, the last is the most the replica holds."""
    rate: Floats
    """Requests/s that keep so many resident; ascending."""
    decode_step_s: Floats
    """A step without prefill."""
    extension_s: Floats
    """Prefill cost of each request of the mix, shape (k, requests)."""
    chunks: Floats
    """Steps that each prompt is spread over, shape (k, requests)."""
    budget: Floats
    """Prompt tokens that fit in one step."""
    residence_s: Floats
    itl_mean_s: Floats
    context_tokens: float
    """Mean cached tokens of a resident sequence."""
    context_rms_tokens: float
    tokens_per_step: float = 1.0
    """What one sequence gains in one step: above 1 with speculative decoding. ITL is the time between steps."""

    def at(self, rate: float, values: Floats) -> Floats:
        """`values` (k, ...) interpolated at an arrival rate."""
        place = float(np.interp(rate, self.rate, np.arange(self.rate.size, dtype=np.float64)))
        low = min(int(place), self.rate.size - 2)
        share = place - low
        return np.asarray(values[low] * (1 - share) + values[low + 1] * share)


def clip_lengths(lengths: LengthMix, max_model_len: int) -> LengthMix:
    """What the engine lets through: prompt and output together within the maximum model length."""
    prompt = np.clip(lengths.prompt_tokens, 1.0, max_model_len - 1.0)
    output = np.clip(lengths.output_tokens, 1.0, np.maximum(1.0, max_model_len - prompt))
    return LengthMix(
        prompt_tokens=prompt,
        output_tokens=output,
        prefix_hit_ratio=lengths.prefix_hit_ratio,
        source=lengths.source,
    )


def resident_context_tokens(lengths: LengthMix) -> tuple[float, float]:
    """Mean and root mean square of the cached tokens of a resident sequence.

    S = E[I] + E[O^2] / (2 E[O]): long outputs are resident longer, so the mean is length-biased (1.4).
    """
    prompt, output = lengths.prompt_tokens, lengths.output_tokens
    tokens, weight = prompt + output / 2, output / output.sum()
    return float((weight * tokens).sum()), float(np.sqrt((weight * tokens * tokens).sum()))


def resident_bytes(shape: ReplicaShape, lengths: LengthMix) -> tuple[float, float]:
    """Mean and root mean square of the KV cache bytes of a resident sequence at a random moment."""
    prompt, output = lengths.prompt_tokens, lengths.output_tokens
    # Three-point Gauss quadrature over how much of the output exists so far.
    weight = output[:, None] * np.array([5.0, 8.0, 5.0]) / 18.0 / output.sum()
    size = sequence_bytes(shape, prompt[:, None] + output[:, None] * np.array([0.1127, 0.5, 0.8873]))
    return float((weight * size).sum()), float(np.sqrt((weight * size * size).sum()))


def load(
    shape: ReplicaShape, lengths: LengthMix, scales: Scales, most_seqs: float, closer: Sequence[float] = ()
) -> Load:
    """Steady states for up to `most_seqs` resident sequences, and at the points of `closer` as well.

    R(n) = (O - 1 + c) T_d(n) + n ext and X(n) = n / R(n), with ext averaged over the whole length distribution (it is
    convex in the prompt length). Below one resident sequence the replica idles between requests.
    """
    step = StepModel(shape, scales)
    context, context_rms = resident_context_tokens(lengths)
    seqs = np.concatenate(([most_seqs / 1e6, 0.03, 0.1, 0.3], np.geomspace(1.0, max(1.0, most_seqs), GRID), closer))
    seqs = np.unique(np.minimum(seqs, most_seqs))
    busy = np.maximum(seqs, 1.0)
    decode = step.seconds_array(busy, busy * context)
    budget = chunk_budget(shape.limits.max_num_batched_tokens, busy * verified_tokens(shape.speculation))
    new = new_tokens(lengths.prompt_tokens, lengths.prefix_hit_ratio)
    chunks = chunk_count(new, budget[:, None])
    extension = extension_s(step, busy[:, None], lengths.prompt_tokens, lengths.prefix_hit_ratio, budget[:, None])
    mean_extension, mean_chunks = extension.mean(axis=1), chunks.mean(axis=1)
    gain = tokens_per_step(shape.speculation)
    steps_after_first = max(lengths.mean_output_tokens - 1.0, 0.0) / gain
    residence = (steps_after_first + mean_chunks) * decode + busy * mean_extension
    return Load(
        step=step,
        lengths=lengths,
        seqs=seqs,
        rate=np.maximum.accumulate(seqs / residence),
        decode_step_s=decode,
        extension_s=extension,
        chunks=chunks,
        budget=budget,
        residence_s=residence,
        itl_mean_s=decode + (busy - 1) * mean_extension / max(steps_after_first, 1.0),
        context_tokens=context,
        context_rms_tokens=context_rms,
        tokens_per_step=gain,
    )


def itl_percentiles_s(state: Load, percentiles: Iterable[int]) -> dict[int, Floats]:
    """Inter-token latency percentiles at each grid point, shape (k,) each.

    A token interval is one engine step, and percentiles are those of sampled steps. A step is long when it carries
    prompt chunks: those of the n other sequences arrive as a Poisson stream with a mean of n c / (O - 1 + c) a step, up
    to the token budget (1.4 has at most one a step). And it is long when many others happen to be resident: their
    number is about Poisson too.
    """
    others = state.seqs[:, None]
    chunks = state.chunks.mean(axis=1)
    steps_after_first = max(state.lengths.mean_output_tokens - 1.0, 0.0) / state.tokens_per_step
    arrivals = state.seqs * chunks / (steps_after_first + chunks)
    spread = np.sqrt(others) * _step_sample()[2]
    seqs = 1.0 + np.maximum(0.0, others + spread)
    context = state.context_tokens * (1.0 + others) + state.context_rms_tokens * spread
    times = state.step.seconds_array(
        seqs,
        np.maximum(state.context_tokens, context),
        _carried_tokens(state, arrivals),
        mean_attended_tokens(state.lengths),
    )
    times.sort(axis=1)
    return {
        percentile: np.maximum.accumulate(times[:, min(STEPS - 1, int(STEPS * percentile / 100))])
        for percentile in percentiles
    }


def _carried_tokens(state: Load, arrivals: Floats) -> Floats:
    """Prompt tokens in each sampled step, shape (k, STEPS)."""
    count_levels, size_levels, _ = _step_sample()
    sizes = _chunk_sizes(state)
    sums = np.cumsum(sizes[(size_levels * sizes.size).astype(np.intp)], axis=1)
    sums = np.concatenate((np.zeros((STEPS, 1)), sums), axis=1)
    rows = np.arange(STEPS)
    return np.stack(
        [
            np.minimum(sums[rows, _poisson_quantiles(mean, count_levels)], budget)
            for mean, budget in zip(arrivals, state.budget, strict=True)
        ]
    )


def _chunk_sizes(state: Load) -> Floats:
    """Sizes of all chunks of the mix, ascending; the token budget of the middle of the grid stands for all."""
    middle = state.budget.size // 2
    budget, chunks = float(state.budget[middle]), state.chunks[middle]
    new = new_tokens(state.lengths.prompt_tokens, state.lengths.prefix_hit_ratio)
    return np.sort(np.concatenate((new - (chunks - 1) * budget, np.full(int((chunks - 1).sum()), budget))))


def _poisson_quantiles(mean: float, levels: Floats) -> NDArray[np.intp]:
    """Counts at these levels, at most MOST_CHUNKS."""
    ratios = np.concatenate(([0.0], np.log(max(mean, 1e-300) / np.arange(1, MOST_CHUNKS))))
    cumulative = np.cumsum(np.exp(np.cumsum(ratios) - mean))
    return np.searchsorted(cumulative, levels)


@lru_cache(maxsize=1)
def _step_sample() -> tuple[Floats, Floats, Floats]:
    """For each sampled step: level of its number of chunks, levels of their sizes, and normal deviate of the others.

    Numbers and deviates are evenly spread, in unrelated orders; all are fixed, so plans repeat.
    """
    shuffle = np.random.default_rng(20240607)
    levels = (np.arange(STEPS) + 0.5) / STEPS
    inverse = NormalDist().inv_cdf
    deviates = np.array([inverse(level) for level in levels])
    return levels, shuffle.random((STEPS, MOST_CHUNKS)), shuffle.permutation(deviates)
