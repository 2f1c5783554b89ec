"""What others predict for the same rows. Each gives seconds of ITL, some of TTFT.

- weights / bandwidth: ITL = bytes of all weights / summed HBM bandwidth; TTFT = 2 P I / peak, P = active parameters
  (the rules of thumb of the sizing seeds);
- constant utilisation: the roofline max(bytes / (MBU bandwidth), FLOPs / (MFU peak)) with MBU 0.7 and MFU 0.5, the KV
  cache counted, over the whole batch; TTFT = 2 P I / (MFU peak);
- linear law: ITL = alpha + beta x batch and TTFT = gamma + delta I x batch (Workload Variant Autoscaler, October 2025),
  least squares on the points that our own calibration sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy_parts.cases import Case
from benchmarks.accuracy_parts.measured import measured
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.quick import peak_bytes_per_s, peak_flop_per_s
from inferencefleet.physics.weights import parameters, weights_bytes

MBU, MFU = 0.7, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Seconds; None where the method says nothing."""

    itl_s: float
    ttft_s: float | None = None


def weights_over_bandwidth(case: Case) -> Guess:
    shape = case.shape
    bandwidth = peak_bytes_per_s(shape)
    work = 2 * parameters(shape.model).active * case.lengths.mean_prompt_tokens
    return Guess(itl_s=weights_bytes(shape.model, shape.weights) / bandwidth, ttft_s=work / peak_flop_per_s(shape))


def constant_utilisation(case: Case, batch: float) -> Guess:
    """`batch` sequences decode together, halfway through their outputs."""
    shape, lengths = case.shape, case.lengths
    bandwidth = peak_bytes_per_s(shape)
    context = lengths.mean_prompt_tokens + lengths.mean_output_tokens / 2
    read = weights_bytes(shape.model, shape.weights) + batch * float(sequence_bytes(shape, context))
    active = 2 * parameters(shape.model).active
    compute = MFU * peak_flop_per_s(shape)
    return Guess(
        itl_s=max(read / (MBU * bandwidth), active * batch / compute),
        ttft_s=active * lengths.mean_prompt_tokens / compute,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearLaw:
    """ITL = alpha + beta n, TTFT = gamma + delta I n."""

    alpha_s: float
    beta_s: float
    gamma_s: float | None
    delta_s: float

    def guess(self, case: Case, batch: float) -> Guess:
        ttft = None if self.gamma_s is None else self.gamma_s + self.delta_s * case.lengths.mean_prompt_tokens * batch
        return Guess(itl_s=self.alpha_s + self.beta_s * batch, ttft_s=ttft)


def linear_law(points: Sequence[Case], batches: Sequence[float]) -> LinearLaw | None:
    """Least squares on the calibration points; None when they have one batch only or a line that falls below 0."""
    seen = [measured(case) for case in points]
    itl = [(batch, value.itl_s) for batch, value in zip(batches, seen, strict=True) if value.itl_s]
    line = _line(itl)
    if line is None:
        return None
    work = [
        (case.lengths.mean_prompt_tokens * batch, value.ttft_s)
        for case, batch, value in zip(points, batches, seen, strict=True)
        if value.ttft_s
    ]
    first = _line(work)
    return LinearLaw(
        alpha_s=line[0],
        beta_s=line[1],
        gamma_s=None if first is None else first[0],
        delta_s=0.0 if first is None else first[1],
    )


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    if len({x for x, _ in points}) < 2:
        return None
    x, y = np.array(points, dtype=np.float64).T
    slope, start = np.polyfit(x, y, 1)
    return float(start), float(slope)
