"""Why a replica cannot serve, in one sentence with numbers and a way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, floor, log10

import numpy as np

from inferencefleet.domain.capacity import Limit, MemoryBudget, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import GIB, memory_budget, missing_bytes
from inferencefleet.physics.split import divides
from inferencefleet.physics.weights import BYTES_PER_WEIGHT

SIZES = (1, 2, 4, 8)
LEAST_CONTEXT_TOKENS = 2048
"""A shorter maximum length is no way out."""
_SMALLER = (NumberFormat.FP8, NumberFormat.INT4)


def too_large(shape: ReplicaShape, budget: MemoryBudget, missing: float) -> ReplicaCapacity:
    """The refusal of a replica that lacks `missing` bytes."""
    gpus = f"{shape.tensor_parallel} x {shape.gpu.name}"
    if budget.kv_cache_bytes <= 0:
        have = budget.total_bytes - budget.overhead_bytes
        reason = (
            f"{shape.model.id} in {shape.weights} needs {budget.weights_bytes / GIB:.1f} GiB for weights, "
            f"and {gpus} offers {have / GIB:.1f} GiB: {missing / GIB:.1f} GiB are missing"
        )
    else:
        reason = (
            f"{shape.model.id} in {shape.weights} on {gpus} leaves {budget.kv_cache_bytes / GIB:.1f} GiB of KV cache "
            f"({budget.kv_cache_tokens:,.0f} tokens), and one request of maxModelLen "
            f"{shape.limits.max_model_len_tokens:,} needs {missing / GIB:.1f} GiB more"
        )
    return ReplicaCapacity(
        requests_per_s=0.0,
        binding=Limit.MODEL_TOO_LARGE,
        sentence=f"{reason}. {_way_out(shape, budget)}",
        memory=budget,
    )


def out_of_reach(slo: Slo, floor_s: float) -> str:
    """The sentence for an SLO below what one request alone gets."""
    return (
        f"{slo} cannot be met: one request alone already has {slo.metric} p{slo.percentile} = {seconds(floor_s)}. "
        f"Set a target of at least {seconds(nearest_target_s(floor_s))}, or use a faster GPU, "
        "more tensor parallelism or smaller weights."
    )


def nearest_target_s(floor_s: float) -> float:
    """A round target that leaves room above the floor: 20 %, rounded up to two digits."""
    value = floor_s * 1.2
    unit = 10.0 ** (floor(log10(value)) - 1)
    return ceil(value / unit - 1e-9) * unit


def seconds(value: float) -> str:
    """`18.2 ms` or `2.4 s`."""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def _way_out(shape: ReplicaShape, budget: MemoryBudget) -> str:
    """What would fit: more GPUs, a smaller weight format, a shorter context; two of them only where none does alone."""
    wider = [replace(shape, tensor_parallel=size) for size in _larger_sizes(shape)]
    lighter = [
        replace(shape, weights=weights)
        for weights in _SMALLER
        if BYTES_PER_WEIGHT[weights] < BYTES_PER_WEIGHT[shape.weights]
    ]
    both = [replace(other, tensor_parallel=each.tensor_parallel) for other in lighter for each in wider]
    ways = [f"tensor parallelism {other.tensor_parallel}" for other in _first_that_fits(wider)]
    ways += [f"{other.weights} weights" for other in _first_that_fits(lighter)]
    context = _longest_context_tokens(shape, budget)
    if context >= LEAST_CONTEXT_TOKENS:
        ways.append(f"maxModelLen {context:,}")
    if not ways:
        for other in _first_that_fits(both):
            ways.append(f"{other.weights} weights and tensor parallelism {other.tensor_parallel}")
    if not ways:
        for other in [*wider, *lighter, *both]:
            context = _longest_context_tokens(other, memory_budget(other))
            if context >= LEAST_CONTEXT_TOKENS:
                ways = [
                    f"{other.weights} weights, tensor parallelism {other.tensor_parallel} and maxModelLen {context:,}"
                ]
                break
    if not ways:
        return "Nothing on this GPU type fits: use a GPU with more memory, or a smaller model."
    return f"It fits with {' or '.join(ways)}."


def _larger_sizes(shape: ReplicaShape) -> list[int]:
    """Larger groups of GPUs that the engine can split the model over."""
    if not shape.gpu.splits_models:
        return []
    return [size for size in SIZES if size > shape.tensor_parallel and divides(shape.model, size)]


def _first_that_fits(shapes: Sequence[ReplicaShape]) -> list[ReplicaShape]:
    return [shape for shape in shapes if missing_bytes(shape) <= 0][:1]


def _longest_context_tokens(shape: ReplicaShape, budget: MemoryBudget) -> int:
    """The longest sequence that fits, constant state included, rounded down to a limit that people write."""
    lengths = np.arange(1024, shape.limits.max_model_len_tokens + 1, 1024)
    fitting = lengths[sequence_bytes(shape, lengths) <= budget.kv_cache_bytes]
    return int(fitting[-1]) if fitting.size else 0
