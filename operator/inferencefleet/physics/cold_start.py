"""How long a new replica takes until it serves: the prior, until pod timestamps teach better (sizing physics 1.7)."""

from __future__ import annotations

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.physics.weights import weights_bytes

ENGINE_START_S = 52.0
"""Imports, compilation, graph capture, profiling: about the same for 0.6B and 72B (vLLM 0.20 on B200, ai-dynamo)."""
IMAGE_BYTES = 10e9
PULL_BYTES_PER_S = 150e6
"""A 10 GB image took 69 s (llm-d, Qwen3-32B on H100)."""
STORAGE_BYTES_PER_S = 2e9
"""0.3-0.7 s per GB of weights on fast storage (ai-dynamo); gp3 volumes give 1.0 GiB/s."""
LOADER_BYTES_PER_S = 3.5e9
"""What a streaming loader reaches from object storage (Run:ai model streamer)."""


def cold_start_s(
    shape: ReplicaShape,
    *,
    provision_s: float = 0.0,
    image_cached: bool = False,
    image_bytes: float = IMAGE_BYTES,
    pull_bytes_per_s: float = PULL_BYTES_PER_S,
    storage_bytes_per_s: float = STORAGE_BYTES_PER_S,
    loader_bytes_per_s: float = LOADER_BYTES_PER_S,
    engine_start_s: float = ENGINE_START_S,
) -> float:
    """Seconds from the decision to readiness: node + image pull + engine start + reading the weights."""
    pull = 0.0 if image_cached else image_bytes / pull_bytes_per_s
    read = weights_bytes(shape.model, shape.weights) / min(storage_bytes_per_s, loader_bytes_per_s)
    return provision_s + pull + engine_start_s + read
