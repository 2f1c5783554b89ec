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
    cuda_graph_tokens: int = 512
    """Steps with more tokens are not replayed from a captured CUDA graph (vLLM's default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """Speculative decoding: each step drafts some tokens and verifies them all at once."""

    draft_tokens: int
    """Tokens drafted for each sequence and step, at least 1."""
    acceptance: float
    """Probability that one drafted token is accepted, given that those before it were, 0..1."""
    draft_cost_ratio: float = 0.0
    """Time of drafting one token as a share of the model's own decode step at the same batch; 0 for n-gram lookup."""
    draft_weights_bytes: float = 0.0
    """Weights of the drafter, summed over a replica's GPUs."""
    draft_kv_ratio: float = 0.0
    """KV cache of the drafter as a share of the model's, token for token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaShape:
    """One vLLM server: a model on `tensor_parallel` GPUs of one type."""

    model: ModelSpec
    gpu: GpuSpec
    tensor_parallel: int
    weights: NumberFormat
    kv_cache: NumberFormat
    limits: EngineLimits
    speculation: Speculation | None = None
    """None = one token for each sequence and step."""

    def __hash__(self) -> int:
        """By names: capacities are looked up by shape all the time, and a model has many layers to go through."""
        return hash((self.model.id, self.gpu.name, self.tensor_parallel, self.weights, self.kv_cache))

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
    """Standard deviation of log(measured / modelled): uncertainty that planning must carry. The default is cautious for
    any replica; `physics.confidence.prior_sigma_log` knows that of a given one."""


class Confidence(StrEnum):
    """How far a modelled capacity can be trusted before it is calibrated."""

    HIGH = "High"
    """Dense model on a GPU whose constants were measured: ITL within about 10 % in the median."""
    MEDIUM = "Medium"
    LOW = "Low"
    """The model was not checked against measurements of this kind of replica, or was found wrong for some."""


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
    confidence: Confidence = Confidence.HIGH
    caveats: tuple[str, ...] = ()
    """Why confidence is not higher, and what else to know; sentences, the weightiest first."""

    @property
    def serves(self) -> bool:
        return self.requests_per_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What one replica's capacity becomes when one input changes and all others stay."""

    input: str
    """`prompt_tokens`, `gpu_bandwidth`, `slo itl p95`, ..."""
    unit: str
    """Unit of both values; empty for formats and plain numbers."""
    from_value: float | str
    to_value: float | str
    """Continuous inputs change by a stated step; discrete ones (formats, tensor parallelism) to the next choice."""
    elasticity: float | None
    """d log capacity / d log input; None for discrete inputs, and when the replica does not serve before or after."""
    ratio: float | None
    """Capacity after over capacity before; None when the replica does not serve before."""
    requests_per_s: float
    """Capacity after the change."""
    binding: Limit
    """What binds after the change."""
    sentence: str
    """Says the same in words: `10 % longer prompts cost 12 % of capacity.`"""
