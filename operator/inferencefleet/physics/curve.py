"""Latency versus load of one replica, for charts: what users feel between an idle replica and a full one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.capacity import host_requests_per_s, operating_latencies_s
from inferencefleet.physics.memory import memory_budget, missing_bytes
from inferencefleet.physics.refusals import too_large

Floats = NDArray[np.float64]

NEAR_ZERO = 0.01
"""First point, as a share of the last."""
LAST = 0.98
"""Utilisation of the last point: at 1 the queue for admission has no end."""
_PRIOR = Scales()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadCurve:
    """One replica under Poisson arrivals of growing rate; arrays of shape (points,), ascending in rate."""

    requests_per_s: Floats
    running: Floats
    """Mean requests in the batch."""
    itl_mean_s: Floats
    itl_s: Mapping[int, Floats]
    """Inter-token latency by percentile."""
    ttft_mean_s: Floats
    ttft_s: Mapping[int, Floats]
    """Time to first token by percentile."""
    output_tokens_per_s: Floats


def load_curve(
    shape: ReplicaShape,
    lengths: LengthMix,
    scales: Scales = _PRIOR,
    points: int = 32,
    percentiles: Sequence[int] = (50, 95, 99),
) -> LoadCurve:
    """Latencies at `points` arrival rates, evenly spaced from near 0 to the most the replica holds.

    The most is the full KV cache or all sequence slots on average, or what the host can stream: SLOs play no part.
    Beyond about 80 % of it tails of TTFT are mostly longer (benchmarks/results/tails.md). ITL is the time between
    steps, which with speculative decoding give several tokens.

    Raises `ValueError` with the way out when the model does not fit, and for fewer than two points.
    """
    if points < 2:
        raise ValueError(f"a curve needs at least 2 points, got {points}")
    budget, missing = memory_budget(shape), missing_bytes(shape)
    if missing > 0:
        raise ValueError(too_large(shape, budget, missing).sentence)
    whole = operating_latencies_s(shape, lengths, [1.0], percentiles, scales)
    top = min(LAST / float(whole["utilisation"][0]), host_requests_per_s(lengths))
    rates = np.linspace(NEAR_ZERO * top, top, points)
    found = operating_latencies_s(shape, lengths, rates, percentiles, scales)
    return LoadCurve(
        requests_per_s=rates,
        running=found["running"],
        itl_mean_s=found["itl_mean"],
        itl_s=MappingProxyType({level: found[f"itl_p{level}"] for level in percentiles}),
        ttft_mean_s=found["ttft_mean"],
        ttft_s=MappingProxyType({level: found[f"ttft_p{level}"] for level in percentiles}),
        output_tokens_per_s=rates * lengths.mean_output_tokens,
    )
