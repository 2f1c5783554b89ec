"""Building a `LengthMix`: from declared means and percentiles, or from histograms of a running server.

Everything is deterministic: samples are low-discrepancy points, so the same inputs give the same plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.lengths import LengthMix

Floats = NDArray[np.float64]

SAMPLE = 512
"""Points of a joint sample: percentiles to 0.2 %, and one capacity in about a millisecond."""
DEFAULT_SIGMA = sqrt(log(2.0))
"""Lognormal with a coefficient of variation of 1, when only a mean is declared."""
OPEN_BUCKET_RATIO = 2.0
"""Width of a histogram's infinite last bucket, as a multiple of its lower bound: the 1-2-5 bounds grow about so."""


def lognormal_mix(
    *,
    prompt_mean: float,
    output_mean: float,
    prompt_p95: float | None = None,
    prompt_p99: float | None = None,
    output_p95: float | None = None,
    output_p99: float | None = None,
    prefix_hit_ratio: float = 0.0,
    sample: int = SAMPLE,
) -> LengthMix:
    """A declared mix: lognormal prompts and outputs, independent, with these means and p95 (or else p99), in tokens.

    Real prompt lengths have p95/mean of 3.3-3.6, near the largest ratio a lognormal can have (3.87); beyond it
    the tail is as heavy as that, and the mean is kept.
    """
    first, second = _points(sample)
    prompt = _lognormal("prompt", first, prompt_mean, prompt_p95, prompt_p99)
    output = _lognormal("output", second, output_mean, output_p95, output_p99)
    return LengthMix(prompt_tokens=prompt, output_tokens=output, prefix_hit_ratio=prefix_hit_ratio)


def mix_from_histograms(
    prompt_bounds: Sequence[float],
    prompt_counts: Sequence[float],
    output_bounds: Sequence[float],
    output_counts: Sequence[float],
    *,
    prefix_hit_ratio: float = 0.0,
    prompt_mean: float | None = None,
    output_mean: float | None = None,
    sample: int = SAMPLE,
) -> LengthMix:
    """An observed mix from Prometheus histograms: `bounds` are the `le` values (the last may be infinite) and `counts`
    the cumulative rates or counts of those buckets.

    Lengths are log-uniform inside a bucket. The means (rate of `_sum` over rate of `_count`), when given, correct
    what the bucket shape gets wrong. Both marginals are exact; the dependence between them is unknown, so none.
    """
    first, second = _points(sample)
    prompt = _quantiles(prompt_bounds, prompt_counts, first)
    output = _quantiles(output_bounds, output_counts, second)
    return LengthMix(
        prompt_tokens=_scaled(prompt, prompt_mean),
        output_tokens=_scaled(output, output_mean),
        prefix_hit_ratio=prefix_hit_ratio,
        source="observed",
    )


def percentile_sigma(mean: float, value: float, percentile: float) -> float:
    """The lognormal sigma with this mean and percentile; capped where no lognormal has so large a ratio."""
    z = NormalDist().inv_cdf(percentile / 100)
    return z - sqrt(max(0.0, z * z - 2 * log(value / mean)))


def _lognormal(name: str, points: Floats, mean: float, p95: float | None, p99: float | None) -> Floats:
    if mean < 1:
        raise ValueError(f"{name} tokens: the mean must be at least 1, got {mean:g}")
    sigma = DEFAULT_SIGMA
    for percentile, value in ((95, p95), (99, p99)):
        if value is None:
            continue
        if value < mean:
            raise ValueError(f"{name} tokens: p{percentile} ({value:g}) is below the mean ({mean:g})")
        sigma = percentile_sigma(mean, value, percentile)
        break
    tokens = np.exp(sigma * _normal(points))
    return _scaled(tokens, mean)


def _scaled(tokens: Floats, mean: float | None) -> Floats:
    """Scaled to the mean; whole requests only (at least one token)."""
    if mean is not None and mean > 0:
        tokens = tokens * (mean / tokens.mean())
    return np.maximum(tokens, 1.0)


def _quantiles(bounds: Sequence[float], counts: Sequence[float], points: Floats) -> Floats:
    upper = np.asarray(bounds, dtype=np.float64)
    cumulative = np.maximum.accumulate(np.asarray(counts, dtype=np.float64))
    if upper.shape != cumulative.shape or upper.size == 0 or not cumulative[-1] > 0:
        raise ValueError("a length histogram needs as many counts as bounds, and at least one request")
    lower = np.concatenate(([1.0], upper[:-1]))
    upper = np.where(np.isinf(upper), lower * OPEN_BUCKET_RATIO, upper)
    level = points * cumulative[-1]
    bucket = np.minimum(np.searchsorted(cumulative, level), upper.size - 1)
    below = np.concatenate(([0.0], cumulative[:-1]))[bucket]
    share = (level - below) / (cumulative[bucket] - below)
    low, high = np.maximum(lower, 1.0)[bucket], np.maximum(upper, 1.0)[bucket]
    return np.asarray(low * (high / low) ** share)


@lru_cache(maxsize=8)
def _points(sample: int) -> tuple[Floats, Floats]:
    """Two coordinates in (0, 1) of a rank-1 lattice: each is exactly stratified, together they fill the square."""
    index = np.arange(sample)
    step = _golden_step(sample)
    # The shift by a quarter keeps the corners (both longest, both shortest) as rare as they should be.
    first, second = (index + 0.5) / sample, ((index * step + sample // 4) % sample + 0.5) / sample
    first.setflags(write=False)
    second.setflags(write=False)
    return first, second


def _golden_step(sample: int) -> int:
    """The odd step nearest sample / golden ratio that shares no factor with the sample size."""
    step = round(sample * 0.6180339887498949) | 1
    while np.gcd(step, sample) != 1:
        step += 2
    return step


def _normal(points: Floats) -> Floats:
    return np.asarray(_normal_quantiles(points.tobytes()))


@lru_cache(maxsize=16)
def _normal_quantiles(points: bytes) -> Floats:
    inverse = NormalDist().inv_cdf
    return np.array([inverse(value) for value in np.frombuffer(points)])
