"""Over how many GPUs an engine can split a model."""

from __future__ import annotations

from inferencefleet.domain.model import ModelSpec


def divides(model: ModelSpec, size: int) -> bool:
    """Whether the engine can split this model over `size` GPUs: query heads evenly, KV heads evenly or in copies."""
    if model.heads % size:
        return False
    return model.mla is not None or model.kv_heads % size == 0 or size % model.kv_heads == 0
