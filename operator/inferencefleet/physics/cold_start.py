"""How long a new replica takes until it serves: the prior, until pod timestamps teach better (sizing physics 1.7)."""

from __future__ import annotations

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.physics.weights import weights_bytes

ENGINE_START_S = 90.0
"""Imports, compilation, graph capture, profiling, without a compile cache: 52 s for 0.6B and 72B alike (vLLM 0.20 on
B200, ai-dynamo), 92 s for 70B and 170 s for 235B (vLLM 0.11 on H100), 96 s for gpt-oss-120b on two H200 (vLLM 0.22)."""
LOAD_START_S = 10.0
"""Before the first weight is read: 16 s for all of a 1 GB model (llm-d benchmark, H100)."""
IMAGE_BYTES = 10e9
PULL_BYTES_PER_S = 150e6
"""A 10 GB image took 69 s (llm-d, Qwen3-32B on H100)."""
STORAGE_BYTES_PER_S = 1.5e9
"""Between 0.7 GB/s (llm-d benchmark), 1.4-3.3 (ai-dynamo), 1.5 (gpt-oss-120b on H200) and 7-9 from local NVMe."""
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
    load_start_s: float = LOAD_START_S,
) -> float:
    """Seconds from the decision to readiness: node + image pull + engine start + reading the weights."""
    pull = 0.0 if image_cached else image_bytes / pull_bytes_per_s
    read = weights_bytes(shape.model, shape.weights) / min(storage_bytes_per_s, loader_bytes_per_s)
    return provision_s + pull + engine_start_s + load_start_s + read
