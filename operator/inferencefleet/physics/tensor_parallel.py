"""How many GPUs one replica should span (sizing physics 2.2): the fewest that are nearly the best for each GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferencefleet.domain.capacity import EngineLimits, Limit, ReplicaCapacity, ReplicaShape, Scales, Speculation
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.refusals import SIZES
from inferencefleet.physics.split import divides

Option = tuple[ReplicaShape, ReplicaCapacity]
NEARLY_BEST = 0.9
_PRIOR = Scales()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What shall be served, and on which GPU: everything of a replica but its number of GPUs."""

    model: ModelSpec
    gpu: GpuSpec
    weights: NumberFormat
    kv_cache: NumberFormat
    limits: EngineLimits
    lengths: LengthMix
    slos: Sequence[Slo]
    sizes: Sequence[int] = SIZES
    """Tensor-parallel sizes that may be used; the engine cannot split every model over each of them."""
    scales: Scales = _PRIOR
    speculation: Speculation | None = None

    def shape(self, size: int) -> ReplicaShape:
        """The replica that spans `size` GPUs."""
        return ReplicaShape(
            model=self.model,
            gpu=self.gpu,
            tensor_parallel=size,
            weights=self.weights,
            kv_cache=self.kv_cache,
            limits=self.limits,
            speculation=self.speculation,
        )

    def answer(self, size: int) -> Option:
        """That replica with its capacity."""
        shape = self.shape(size)
        return shape, replica_capacity(shape, self.lengths, self.slos, self.scales)

    def possible(self) -> tuple[int, ...]:
        """The sizes that the engine can split this model over, in the order of `sizes`; over slices never."""
        sizes = self.sizes if self.gpu.splits_models else [size for size in self.sizes if size == 1]
        return tuple(size for size in sizes if divides(self.model, size))


def options(question: Question) -> list[Option]:
    """Every possible size with its capacity, refusals included, in the order of `sizes`."""
    return [question.answer(size) for size in question.possible()]


def choose(question: Question) -> Option:
    """The smallest size within 10 % of the best requests/s for each GPU: smaller replicas scale in finer steps.

    Over PCIe, one GPU when it serves at all, else the smallest size that does. When nothing serves, the option that
    comes closest: one that misses an SLO before one that does not fit, then the largest.

    Raises `ValueError` when the engine can split the model over none of the sizes.
    """
    possible = question.possible()
    if not possible:
        if not question.gpu.splits_models:
            raise ValueError(f"{question.gpu.name} is a slice of a GPU: only one of them, not {list(question.sizes)}")
        raise ValueError(
            f"{question.model.id} has {question.model.heads} heads: none of {list(question.sizes)} GPUs divides them"
        )
    if question.gpu.nvlink:
        return pick(options(question))
    found = []
    for size in sorted(possible):
        found.append(question.answer(size))
        if found[-1][1].serves:
            return found[-1]
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
