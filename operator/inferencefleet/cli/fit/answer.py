"""Which replicas hold a model: memory of every GPU type, size and format, and the verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from inferencefleet.cli.workload import Serving
from inferencefleet.domain.capacity import MemoryBudget, ReplicaShape
from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.economics.formats import Checkpoint, checkpoint_of
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import GIB, memory_budget, missing_bytes
from inferencefleet.physics.quick import QuickFit, quick_fit
from inferencefleet.physics.refusals import SIZES
from inferencefleet.physics.split import divides


class Verdict(StrEnum):
    """Whether a replica can serve, as vLLM decides it: one request of maxModelLen must fit into its KV cache."""

    FITS = "fits"
    CANNOT_SERVE = "loads, cannot serve"
    DOES_NOT_FIT = "does not fit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One replica."""

    shape: ReplicaShape
    memory: MemoryBudget
    verdict: Verdict
    missing_bytes: float
    """What weights and one request of maxModelLen lack; 0 or less when it fits."""
    requests: int
    """Requests of the asked length whose KV cache fits at the same time."""
    quick: QuickFit
    checkpoint: Checkpoint

    @property
    def total_bytes(self) -> float:
        return self.shape.tensor_parallel * self.shape.gpu.memory_bytes

    def __str__(self) -> str:
        if self.verdict is Verdict.FITS:
            return "fits"
        return f"{self.verdict}, {self.missing_bytes / GIB:.1f} GiB missing"


def fit(
    serving: Serving, gpus: Iterable[GpuSpec], formats: Sequence[NumberFormat], request_tokens: float
) -> tuple[Row, ...]:
    """Every possible replica, smallest total memory first, then in the order of `formats`.

    Sizes over which the engine cannot split the model are left out, and more than one slice of a GPU.
    """
    sizes = SIZES if serving.tensor_parallel is None else (serving.tensor_parallel,)
    rows = [
        _row(
            ReplicaShape(
                model=serving.model,
                gpu=gpu,
                tensor_parallel=size,
                weights=weights,
                kv_cache=serving.kv_cache,
                limits=serving.limits,
            ),
            request_tokens,
        )
        for gpu in gpus
        for weights in formats
        for size in sizes
        if divides(serving.model, size) and (size == 1 or gpu.splits_models)
    ]
    return tuple(sorted(rows, key=lambda row: (row.total_bytes, row.shape.gpu.name, formats.index(row.shape.weights))))


def _row(shape: ReplicaShape, request_tokens: float) -> Row:
    memory = memory_budget(shape)
    missing = missing_bytes(shape)
    verdict = Verdict.FITS
    if missing > 0:
        verdict = Verdict.CANNOT_SERVE if memory.kv_cache_bytes > 0 else Verdict.DOES_NOT_FIT
    requests = int(memory.kv_cache_bytes // float(sequence_bytes(shape, request_tokens))) if missing <= 0 else 0
    return Row(
        shape=shape,
        memory=memory,
        verdict=verdict,
        missing_bytes=missing,
        requests=requests,
        quick=quick_fit(memory.weights_bytes, shape.tensor_parallel * shape.gpu.memory_bytes),
        checkpoint=checkpoint_of(shape.model, shape.weights),
    )


def smallest(rows: Iterable[Row]) -> Row | None:
    """The fitting replica with the least GPU memory; None when none fits. `rows` as `fit` orders them."""
    return next((row for row in rows if row.verdict is Verdict.FITS), None)


def shortlist(rows: Iterable[Row]) -> tuple[Row, ...]:
    """For each GPU type and format one row: the smallest size that fits, else the largest, which misses least."""
    chosen: dict[tuple[str, NumberFormat], Row] = {}
    for row in rows:
        key = (row.shape.gpu.name, row.shape.weights)
        if key not in chosen or chosen[key].verdict is not Verdict.FITS:
            chosen[key] = row
    fitting = [row for row in chosen.values() if row.verdict is Verdict.FITS]
    return (*fitting, *(row for row in chosen.values() if row.verdict is not Verdict.FITS))
