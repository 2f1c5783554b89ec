"""Time to first token and end-to-end latency (sizing physics 1.5): a queue of prefill work, sampled.

Requests arrive as a Poisson stream; the engine prefills first come, first served. The whole distribution comes from a
Lindley recursion on a fixed sample, so that percentiles of the real length mix are kept and plans repeat exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inferencefleet.physics.prefill import host_s, new_tokens
from inferencefleet.physics.residence import Load

Floats = NDArray[np.float64]

ARRIVALS = 4096
_TAIL = ((50, 0.28), (90, 0.45), (95, 0.55), (99, 0.55))
"""Percentile and rise with the square of utilisation: what the recursion misses against a discrete-event simulation
of the scheduler, where batches and residents fluctuate. Refitted from 1.5 (0.95 at p95), because the work below counts
all chunks of a prompt; over four workloads at utilisation 0.3-0.85 p95 is then within about 20 %."""
MEAN_TAIL = 0.42
E2E_TAIL = 0.20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Latencies:
    """Sampled requests at one arrival rate; arrays of shape (ARRIVALS,), seconds."""

    ttft_s: Floats
    e2e_s: Floats
    utilisation: float
    scale: float

    def ttft_percentile_s(self, percentile: float) -> float:
        return self.ttft_percentiles_s((percentile,))[0]

    def ttft_percentiles_s(self, percentiles: Sequence[float]) -> list[float]:
        values = np.percentile(self.ttft_s, percentiles)
        return [
            float(value) * (self.scale * tail_factor(percentile, self.utilisation))
            for percentile, value in zip(percentiles, values, strict=True)
        ]

    def ttft_mean_s(self) -> float:
        return float(self.ttft_s.mean()) * self.scale * (1 + MEAN_TAIL * self.utilisation**2)

    def e2e_percentile_s(self, percentile: float) -> float:
        return self.e2e_percentiles_s((percentile,))[0]

    def e2e_percentiles_s(self, percentiles: Sequence[float]) -> list[float]:
        factor = 1 + E2E_TAIL * self.utilisation**2
        return [float(value) * factor for value in np.percentile(self.e2e_s, percentiles)]


def latencies(state: Load, rate: float, ttft_scale: float = 1.0) -> Latencies:
    """Sampled time to first token and end-to-end latency at `rate` requests/s.

    TTFT = request overhead + wait for the prefill queue + rest of the running step + own chunks. The work that a
    request brings to the queue is its extension, and the steps (or the share of one) that its chunks fill.
    """
    unit_gaps, order, phase = _arrival_sample(state.lengths.prompt_tokens.size)
    decode = float(state.at(rate, state.decode_step_s))
    extension = state.at(rate, state.extension_s)
    chunks = state.at(rate, state.chunks)
    budget = float(state.at(rate, state.budget))
    new = new_tokens(state.lengths.prompt_tokens, state.lengths.prefix_hit_ratio)
    work = extension + decode * new / budget
    own = extension + chunks * decode
    waits = _waits(work[order], unit_gaps, rate)
    running = -np.expm1(-float(state.at(rate, state.seqs)))
    host = host_s(state.lengths.prompt_tokens)
    ttft = waits + phase * decode * running + (own + host)[order]
    itl = float(state.at(rate, state.itl_mean_s))
    after_first = np.maximum(state.lengths.output_tokens - 1.0, 0.0) / state.tokens_per_step * itl
    return Latencies(
        ttft_s=ttft,
        e2e_s=ttft * ttft_scale + after_first[order],
        utilisation=min(1.0, rate / float(state.rate[-1])),
        scale=ttft_scale,
    )


def alone(state: Load, ttft_scale: float = 1.0) -> Latencies:
    """The same for requests that meet an empty replica: the floor."""
    return latencies(state, 0.0, ttft_scale)


def tail_factor(percentile: float, utilisation: float) -> float:
    """How much longer the tail is than the recursion says."""
    rise = np.interp(percentile, [level for level, _ in _TAIL], [value for _, value in _TAIL])
    return float(1.0 + rise * utilisation**2)


def percentile_keys(values: Latencies, percentiles: Sequence[int]) -> dict[str, float]:
    """`ttft_p95`, `e2e_p95`, ... and `ttft_mean`, seconds."""
    found = {"ttft_mean": values.ttft_mean_s()}
    ttft, e2e = values.ttft_percentiles_s(percentiles), values.e2e_percentiles_s(percentiles)
    for percentile, ttft_s, e2e_s in zip(percentiles, ttft, e2e, strict=True):
        found[f"ttft_p{percentile}"] = ttft_s
        found[f"e2e_p{percentile}"] = e2e_s
    return found


def _waits(work: Floats, unit_gaps: Floats, rate: float) -> Floats:
    """W(k+1) = max(0, W(k) + work(k) - gap(k)), as a running minimum: the same recursion without a loop."""
    if rate <= 0:
        return np.zeros_like(work)
    level = np.concatenate(([0.0], np.cumsum(work[:-1] - unit_gaps[:-1] / rate)))
    return np.asarray(level - np.minimum.accumulate(level))


@lru_cache(maxsize=8)
def _arrival_sample(requests: int) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Exponential gaps of mean 1, which request arrives, and at which phase of a step.

    Values are stratified (so means and percentiles are exact) and only their order is shuffled, by a fixed seed.
    """
    shuffle = np.random.default_rng(20240611)
    levels = (np.arange(ARRIVALS) + 0.5) / ARRIVALS
    gaps = shuffle.permutation(-np.log1p(-levels))
    order = shuffle.permutation((levels * requests).astype(np.intp))
    return gaps / gaps.mean(), order, shuffle.permutation(levels)
