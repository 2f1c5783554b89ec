"""What the physics says about a window that was observed: latencies at the batch as it was, without a queue model.

ITL = T_d(n) / (1 - lambda ext), where `lambda ext` is the share of time that prompt chunks take from decoding (sizing
physics, section 6.3). The batch is an input, so errors of a queue model do not mix with errors of the step time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.calibration import PROMPT_GROUPS, ShapeKey, Window
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.prefill import chunk_budget, chunk_count, extension_s, new_tokens
from inferencefleet.physics.step import StepModel

Floats = NDArray[np.float64]

BUSIEST = 0.9
"""Largest share of prefill that is believed: beyond, an engine would not be in a steady state."""


class Observed:
    """Windows as arrays of shape (n,), so that one question answers for all.

    `prompt_shape` is the spread of prompt lengths around the mean of each window: prefill is not linear in them.
    """

    def __init__(self, shape: ReplicaShape, windows: Sequence[Window], prompt_shape: Sequence[float]) -> None:
        self._shape = shape
        # Whoever decodes sees itself beside the mean number of others, as Poisson arrivals do.
        self._seqs = 1.0 + np.array([window.decode_seqs for window in windows])
        self._context = self._seqs * np.array([window.context_tokens for window in windows])
        self._prompts_per_s = np.array([window.prompts_per_s for window in windows])
        self._hits = np.array([window.prefix_hit_ratio for window in windows])[:, None]
        self._prompts = np.array([window.prompt_tokens for window in windows])[:, None] * np.array(prompt_shape)
        self._budget = chunk_budget(shape.limits.max_num_batched_tokens, self._seqs)[:, None]
        self._chunks = chunk_count(new_tokens(self._prompts, self._hits), self._budget).mean(axis=1)

    def itl_s(self, scales: Scales) -> Floats:
        """Mean inter-token latency, seconds, shape (n,)."""
        decode, extension = self._step_and_extension(scales)
        return np.asarray(decode / (1 - np.minimum(BUSIEST, self._prompts_per_s * extension)))

    def factor_log(self, scales: Scales, itl_s: Floats) -> Floats:
        """Log of the factor on all constants at which the model gives these mean inter-token latencies, shape (n,).

        Both the step and what prompts add to it grow in proportion to the factor f, so that f step / (1 - lambda f ext)
        is solved for f. The ratio of latencies is larger than f wherever prompts take much of the time: an engine that
        is 40 % faster than modelled is twice as quick under a load that would all but saturate the modelled one.
        """
        decode, extension = self._step_and_extension(scales)
        return np.asarray(np.log(itl_s / (decode + self._prompts_per_s * extension * itl_s)))

    def prefill_s(self, scales: Scales) -> Floats:
        """Mean time from being scheduled to the first token, seconds, shape (n,): own chunks, and others' beside."""
        decode, extension = self._step_and_extension(scales)
        busy = np.minimum(BUSIEST, self._prompts_per_s * extension)
        return np.asarray((self._chunks * decode + extension) * (1 + busy))

    def _step_and_extension(self, scales: Scales) -> tuple[Floats, Floats]:
        """Seconds of a step without prefill, and what a prompt adds on average to the steps that carry it."""
        step = StepModel(self._shape, scales)
        decode = step.seconds_array(self._seqs, self._context)
        extension = extension_s(step, self._seqs[:, None], self._prompts, self._hits, self._budget)
        return decode, np.asarray(extension.mean(axis=1))


def prompt_shape(lengths: LengthMix) -> tuple[float, ...]:
    """The spread of prompts for `Observed`: means of equally likely groups over the mean of all, ascending."""
    groups = np.array_split(np.sort(lengths.prompt_tokens), min(PROMPT_GROUPS, lengths.prompt_tokens.size))
    return tuple(round(float(group.mean() / lengths.mean_prompt_tokens), 3) for group in groups)


@lru_cache(maxsize=4096)
def shape_key(shape: ReplicaShape) -> ShapeKey:
    """Which shape it is. The fingerprint follows the modelled step times: whatever changes them is another shape."""
    seqs, prefill = np.array([1.0, 32.0, 256.0, 32.0]), np.array([0.0, 0.0, 0.0, 2048.0])
    times = StepModel(shape).seconds_array(seqs, 1000.0 * seqs, prefill, 1024.0)
    budget = shape.limits.max_num_batched_tokens
    said = f"{shape.weights} {shape.kv_cache} {budget} {shape.speculation} " + " ".join(f"{time:.3e}" for time in times)
    return ShapeKey(
        model=shape.model.id,
        gpu=shape.gpu.name,
        tensor_parallel=shape.tensor_parallel,
        fingerprint=blake2b(said.encode(), digest_size=4).hexdigest(),
    )
