"""The grid of everything the catalogue holds: model x GPU x tensor parallelism x weight format."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from itertools import product

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.memory import missing_bytes
from inferencefleet.physics.refusals import SIZES
from inferencefleet.physics.split import divides

KV_FORMATS = (NumberFormat.BF16, NumberFormat.FP8)
LONGEST_TOKENS = 32_768
SEED = 20261121


def cells(kv_cache: NumberFormat | None = None, names: Collection[str] = ()) -> Iterator[ReplicaShape]:
    """Every cell (of the models named), also those that the engine could not split; see `possible`.

    Without a KV format, both take turns.
    """
    models = [model for model in catalog.models().values() if not names or model.id in names]
    gpus = catalog.gpus().values()
    for (i, model), (j, gpu), (k, size), (m, weights) in product(
        enumerate(models), enumerate(gpus), enumerate(SIZES), enumerate(NumberFormat)
    ):
        turn = (i + j + k + m) % len(KV_FORMATS)
        yield ReplicaShape(
            model=model,
            gpu=gpu,
            tensor_parallel=size,
            weights=weights,
            kv_cache=kv_cache or KV_FORMATS[turn],
            limits=EngineLimits(max_model_len_tokens=min(model.max_context_tokens, LONGEST_TOKENS)),
        )


def possible(shape: ReplicaShape) -> bool:
    """Whether the engine can split the model so."""
    return divides(shape.model, shape.tensor_parallel)


def some_cells(count: int, *, fit: bool, seed: int = SEED) -> list[ReplicaShape]:
    """A fixed sample of possible cells whose memory holds the model (`fit`), or does not."""
    everything = [shape for shape in cells() if possible(shape)]
    random.Random(seed).shuffle(everything)
    found = []
    for shape in everything:
        if (missing_bytes(shape) <= 0) is fit:
            found.append(shape)
        if len(found) == count:
            break
    return found
