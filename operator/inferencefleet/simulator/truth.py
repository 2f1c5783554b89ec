"""How far the real engine is off the operator's prior: the constants that only the simulation knows."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from random import Random

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.physics.memory import memory_budget, missing_bytes
from inferencefleet.physics.step import StepModel
from inferencefleet.simulator.engine import Engine, EngineConfig

BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Factors on the physics.

    Over 47 measured vLLM deployments: memory 0.97 +- 0.07, compute 1.05 +- 0.06, overhead 0.89 +- 0.18.
    """

    memory: float = 1.0
    compute: float = 1.0
    overhead: float = 1.0
    kv_cache: float = 1.0
    """On the size of the KV cache; predicted within 3 % on average, 5 % at worst."""
    replica_spread: float = 0.01
    """Standard deviation of log(step time) between replicas: no two GPUs clock alike."""
    step_noise: float = 0.03
    """The same between steps of one replica."""
    watermark: float = 0.01
    frontend_s: float = 0.015


class DoesNotStart(Exception):
    """vLLM would exit during start-up; the message is what it would say."""


def build_engine(shape: ReplicaShape, truth: Truth, seed: int, itl_target_s: float = float("inf")) -> Engine:
    """A replica of this shape as it really is. Raises `DoesNotStart` where vLLM would refuse."""
    if missing_bytes(shape) > 0:
        raise DoesNotStart(
            f"To serve at least one request with the models's max seq len ({shape.limits.max_model_len_tokens}), "
            "more KV cache memory is needed than is available. Try increasing `gpu_memory_utilization` or decreasing "
            "`max_model_len` when initializing the engine."
        )
    tokens = memory_budget(shape).kv_cache_tokens * truth.kv_cache
    # The draw comes before the engine takes the seed over for its own steps.
    spread = exp(Random(seed).gauss(0.0, truth.replica_spread))
    scales = Scales(
        memory=truth.memory * spread, compute=truth.compute * spread, overhead=truth.overhead * spread, sigma_log=0.0
    )
    config = EngineConfig(
        kv_blocks=max(1, int(tokens) // BLOCK_TOKENS),
        block_size=BLOCK_TOKENS,
        max_num_seqs=min(shape.limits.max_num_seqs, shape.limits.max_num_batched_tokens),
        max_num_batched_tokens=shape.limits.max_num_batched_tokens,
        max_model_len_tokens=shape.limits.max_model_len_tokens,
        watermark=truth.watermark,
        step_noise=truth.step_noise,
        frontend_s=truth.frontend_s,
        itl_target_s=itl_target_s,
    )
    return Engine(config, StepModel(shape, scales), seed)
