"""A replica under load (sizing physics 1.4): from resident sequences to rate, residence and inter-token latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.prefill import chunk_budget, chunk_count, extension_s, new_tokens
from inferencefleet.physics.speculation import tokens_per_step, verified_tokens
from inferencefleet.physics.step import StepModel

Floats = NDArray[np.float64]

GRID = 24
_GAUSS_NODES = np.array([[0.1127], [0.5], [0.8873]])
_GAUSS_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Load:
    """One replica with fixed numbers of sequences always resident: a grid of them; arrays of shape (k,) unless said.

    So it is where clients send the next request when the last is answered, and where a replica is full. Requests that
    arrive by chance meet other numbers of sequences: see `physics.steps`.
    """

    shape: ReplicaShape
    step: StepModel
    lengths: LengthMix
    """Clipped to the maximum model length."""
    seqs: Floats
    """Resident sequences, ascending, the last is the most the replica holds."""
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
    size = sequence_bytes(shape, prompt + _GAUSS_NODES * output)
    total = output.sum()
    mean, square = _GAUSS_WEIGHTS @ (size @ output), _GAUSS_WEIGHTS @ ((size * size) @ output)
    return float(mean / total), float(np.sqrt(square / total))


def load(shape: ReplicaShape, lengths: LengthMix, scales: Scales, most_seqs: float) -> Load:
    """Steady states for up to `most_seqs` resident sequences.

    R(n) = (O - 1 + c) T_d(n) + n ext and X(n) = n / R(n), with ext averaged over the whole length distribution (it is
    convex in the prompt length). Below one resident sequence the replica idles between requests.
    """
    step = StepModel(shape, scales)
    context, context_rms = resident_context_tokens(lengths)
    seqs = np.concatenate(([most_seqs / 1e6, 0.03, 0.1, 0.3], np.geomspace(1.0, max(1.0, most_seqs), GRID)))
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
        shape=shape,
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
