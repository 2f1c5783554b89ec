"""What one replica's GPU memory holds (sizing physics 1.2)."""

from __future__ import annotations

from inferencefleet.domain.capacity import MemoryBudget, ReplicaShape
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.kv import full_bytes_per_token, sequence_bytes, sliding_bytes_per_token
from inferencefleet.physics.weights import weights_bytes

GIB = float(2**30)
RUNTIME_BYTES = 0.35 * GIB
"""CUDA context, graphs, NCCL: 0.1-0.4 GiB measured (llm-d benchmark, vLLM 0.22 logs)."""
ACTIVATION_BYTES = 2.5 * GIB
SAMPLER_BYTES = 38.6
"""For each sequence slot x vocabulary entry: vLLM profiles its peak with every slot sampling at once."""


def overhead_bytes_per_gpu(model: ModelSpec, max_num_seqs: int) -> float:
    """Memory of one GPU that is neither weights nor KV cache.

    3.0 GiB has 3.0 % mean error on nine real vLLM deployments, 7B..235B, TP 1-8 (1.2). The peak is the sampler instead
    when there are many sequence slots: about 10 float32 copies of slots x vocabulary, 5.6 GiB at 1024 slots and 152k.
    """
    return RUNTIME_BYTES + max(ACTIVATION_BYTES, SAMPLER_BYTES * max_num_seqs * model.vocab)


def memory_budget(shape: ReplicaShape) -> MemoryBudget:
    """Bytes for weights, overhead and KV cache, summed over the GPUs."""
    total = shape.tensor_parallel * shape.gpu.memory_bytes * shape.limits.gpu_memory_utilization
    weights = weights_bytes(shape.model, shape.weights)
    if shape.speculation is not None:
        weights += shape.speculation.draft_weights_bytes
    overhead = shape.tensor_parallel * overhead_bytes_per_gpu(shape.model, shape.limits.max_num_seqs)
    kv_cache = total - overhead - weights
    # vLLM counts a token in all its layers, sliding ones included; `sequence_bytes` knows about the windows.
    per_token = full_bytes_per_token(shape) + sliding_bytes_per_token(shape)
    return MemoryBudget(
        total_bytes=total,
        weights_bytes=weights,
        overhead_bytes=overhead,
        kv_cache_bytes=kv_cache,
        kv_bytes_per_token=per_token,
        kv_cache_tokens=max(0.0, kv_cache) / per_token if per_token else 0.0,
    )


def missing_bytes(shape: ReplicaShape) -> float:
    """How many bytes the replica lacks to hold one sequence of `max_model_len_tokens`; 0 or less when it fits.

    vLLM refuses to start when one sequence of the maximum length does not fit, so this is the real test of "fits".
    """
    need = float(sequence_bytes(shape, shape.limits.max_model_len_tokens))
    return need - memory_budget(shape).kv_cache_bytes
