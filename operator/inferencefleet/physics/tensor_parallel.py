"""How many GPUs one replica should span (sizing physics 2.2): the fewest that are nearly the best for each GPU."""

from __future__ import annotations

from collections.abc import Sequence

from inferencefleet.domain.capacity import EngineLimits, Limit, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.refusals import SIZES

Option = tuple[ReplicaShape, ReplicaCapacity]
NEARLY_BEST = 0.9
_PRIOR = Scales()


def divides(model: ModelSpec, size: int) -> bool:
    """Whether the engine can split this model over `size` GPUs: query heads evenly, KV heads evenly or in copies."""
    if model.heads % size:
        return False
    return model.mla is not None or model.kv_heads % size == 0 or size % model.kv_heads == 0


def options(
    model: ModelSpec,
    gpu: GpuSpec,
    weights: NumberFormat,
    kv: NumberFormat,
    limits: EngineLimits,
    lengths: LengthMix,
    slos: Sequence[Slo],
    sizes: Sequence[int] = SIZES,
    scales: Scales = _PRIOR,
) -> list[Option]:
    """Every possible size with its capacity, refusals included, in the order of `sizes`."""
    found = []
    for size in sizes:
        if divides(model, size):
            shape = ReplicaShape(
                model=model, gpu=gpu, tensor_parallel=size, weights=weights, kv_cache=kv, limits=limits
            )
            found.append((shape, replica_capacity(shape, lengths, slos, scales)))
    return found


def choose(
    model: ModelSpec,
    gpu: GpuSpec,
    weights: NumberFormat,
    kv: NumberFormat,
    limits: EngineLimits,
    lengths: LengthMix,
    slos: Sequence[Slo],
    sizes: Sequence[int] = SIZES,
    scales: Scales = _PRIOR,
) -> Option:
    """The smallest size within 10 % of the best requests/s for each GPU: smaller replicas scale in finer steps.

    Over PCIe, one GPU when it serves at all, else the smallest size that does. When nothing serves, the option that
    comes closest: one that misses an SLO before one that does not fit, then the largest.
    """
    if not gpu.nvlink:
        for size in sorted(sizes):
            for option in options(model, gpu, weights, kv, limits, lengths, slos, (size,), scales):
                if option[1].serves:
                    return option
    found = options(model, gpu, weights, kv, limits, lengths, slos, sizes, scales)
    if not found:
        raise ValueError(f"{model.id} has {model.heads} heads: none of {list(sizes)} GPUs divides them")
    return pick(found)


def pick(found: Sequence[Option]) -> Option:
    """The choice among evaluated options."""
    serving = [option for option in found if option[1].serves]
    if not serving:
        return max(
            found, key=lambda option: (option[1].binding is not Limit.MODEL_TOO_LARGE, option[0].tensor_parallel)
        )
    best = max(per_gpu(option) for option in serving)
    good = [option for option in serving if per_gpu(option) >= NEARLY_BEST * best]
    return min(good, key=lambda option: option[0].tensor_parallel)


def per_gpu(option: Option) -> float:
    """Requests/s for each GPU."""
    return option[1].requests_per_s / option[0].tensor_parallel
