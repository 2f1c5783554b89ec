"""Why a replica cannot serve, in one sentence with numbers and a way out."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, log10

from inferencefleet.domain.capacity import Limit, MemoryBudget, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.memory import GIB, missing_bytes
from inferencefleet.physics.weights import BYTES_PER_WEIGHT

SIZES = (1, 2, 4, 8)
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
    """What would fit: more GPUs, a smaller weight format, a shorter context."""
    ways = []
    larger = [size for size in SIZES if size > shape.tensor_parallel and shape.gpu.splits_models]
    wider = (replace(shape, tensor_parallel=size) for size in larger)
    for other in wider:
        if shape.model.heads % other.tensor_parallel == 0 and missing_bytes(other) <= 0:
            ways.append(f"tensor parallelism {other.tensor_parallel}")
            break
    for weights in _SMALLER:
        smaller = BYTES_PER_WEIGHT[weights] < BYTES_PER_WEIGHT[shape.weights]
        if smaller and missing_bytes(replace(shape, weights=weights)) <= 0:
            ways.append(f"{weights} weights")
            break
    # Round down: a limit the engine then accepts.
    context = floor(budget.kv_cache_tokens / 1024) * 1024
    if context >= 2048:
        ways.append(f"maxModelLen {context:,}")
    if not ways:
        return "Nothing on this GPU type fits: use a GPU with more memory, or a smaller model."
    return f"It fits with {' or '.join(ways)}."
