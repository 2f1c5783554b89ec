"""What one replica is and what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from inferencefleet.domain.hardware import GpuSpec, NumberFormat
from inferencefleet.domain.model import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """vLLM flags that change capacity; always passed explicitly because their defaults differ by version and GPU."""

    gpu_memory_utilization: float = 0.90
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    max_model_len_tokens: int = 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaShape:
    """One vLLM server: a model on `tensor_parallel` GPUs of one type."""

    model: ModelSpec
    gpu: GpuSpec
    tensor_parallel: int
    weights: NumberFormat
    kv_cache: NumberFormat
    limits: EngineLimits

    def __str__(self) -> str:
        return f"{self.model.id} {self.weights} on {self.tensor_parallel} x {self.gpu.name}"


class Limit(StrEnum):
    """What stops one replica from taking more."""

    KV_MEMORY = "KVCacheMemory"
    MAX_SEQS = "MaxNumSeqs"
    ITL = "InterTokenLatency"
    TTFT = "TimeToFirstToken"
    E2E = "EndToEndLatency"
    HOST = "HostCPU"
    MODEL_TOO_LARGE = "ModelTooLarge"
    """The weights do not fit, or fit and leave too little KV cache to serve one request."""
    SLO_UNREACHABLE = "SLOUnreachable"
    """Even one request alone misses an SLO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Corrections of the physics by measurement: 1.0 is the prior. Multiply memory, compute and overhead time."""

    memory: float = 1.0
    compute: float = 1.0
    overhead: float = 1.0
    ttft: float = 1.0
    """Multiplies the modelled TTFT."""
    sigma_log: float = 0.20
    """Standard deviation of log(measured / modelled): uncertainty that planning must carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """Bytes of one replica, summed over its GPUs."""

    total_bytes: float
    """GPU memory x gpu_memory_utilization."""
    weights_bytes: float
    overhead_bytes: float
    kv_cache_bytes: float
    """What is left for the KV cache; negative when the weights do not fit."""
    kv_bytes_per_token: float
    kv_cache_tokens: float

    @property
    def fits(self) -> bool:
        return self.kv_cache_bytes > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCapacity:
    """The largest arrival rate at which every SLO holds, and why it is not larger."""

    requests_per_s: float
    """0 when the replica cannot serve at all; see `binding`."""
    binding: Limit
    sentence: str
    """The binding limit in words with its numbers, and for refusals a way out."""
    limits_requests_per_s: Mapping[Limit, float] = field(default_factory=lambda: MappingProxyType({}))
    """Arrival rate at which each limit alone would bind."""
    concurrency: float = 0.0
    """Running requests at `requests_per_s`."""
    memory: MemoryBudget | None = None
    latencies_s: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Modelled latency at `requests_per_s`, keyed `ttft_p95`, `itl_p95`, `itl_mean`, ..."""
    floors_s: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """The same latencies for one request alone: no fleet size gets below these."""

    @property
    def serves(self) -> bool:
        return self.requests_per_s > 0
