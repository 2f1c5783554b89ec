"""Models and GPUs that the sources talk about, from the catalogue."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from inferencefleet.catalog import gpu, model
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.seed_question import SeedQuestion
from inferencefleet.physics.seed_sizing import sizing_chain

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"
LLAMA_405B = "meta-llama/Meta-Llama-3.1-405B"
MIXTRAL = "mistralai/Mixtral-8x7B-v0.1"
QWEN_7B = "Qwen/Qwen2.5-7B-Instruct"

BF16, FP8, INT8, INT4 = NumberFormat.BF16, NumberFormat.FP8, NumberFormat.INT8, NumberFormat.INT4


@lru_cache
def shape(
    id: str,
    gpu_name: str,
    tensor_parallel: int = 1,
    weights: NumberFormat = BF16,
    kv_cache: NumberFormat = BF16,
    max_model_len_tokens: int = 8192,
) -> ReplicaShape:
    return ReplicaShape(
        model=model(id),
        gpu=gpu(gpu_name),
        tensor_parallel=tensor_parallel,
        weights=weights,
        kv_cache=kv_cache,
        limits=EngineLimits(max_model_len_tokens=max_model_len_tokens),
    )


def with_all_heads_cached(spec: ModelSpec) -> ModelSpec:
    """The model as if every query head had its own KV head: what S4's formula takes for granted."""
    return replace(spec, kv_heads=spec.heads)


def fixed(prompt_tokens: float, output_tokens: float) -> LengthMix:
    """Requests that all look the same."""
    return LengthMix(prompt_tokens=np.array([float(prompt_tokens)]), output_tokens=np.array([float(output_tokens)]))


@lru_cache
def s2_question(**changes: float) -> SeedQuestion:
    """The worked sizing example of S2: an 8B model on H100s at 50 requests/s."""
    question = SeedQuestion(
        model=model(LLAMA_8B),
        gpu=gpu("H100-SXM"),
        requests_per_s=50,
        context_tokens=8000,
        output_tokens=256,
        batch=48,
        step_s=0.018,
        nominal_parameters=8e9,
        nominal_memory_bytes=80e9,
    )
    return replace(question, **changes)  # type: ignore[arg-type]


def seed_step(name: str) -> float:
    """A step of the textbook chain for S2's question."""
    return sizing_chain(s2_question(), "seed").step(name).value


def physics_step(name: str) -> float:
    """A step of the product's answer to S2's question."""
    return sizing_chain(s2_question(), "physics").step(name).value


TOKENS_PER_WORD = 1 / 0.75
"""S3's rule for English."""
