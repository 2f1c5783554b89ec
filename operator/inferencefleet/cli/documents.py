"""Parts of documents that several commands share; keys are explained in docs/cli.md."""

from __future__ import annotations

from typing import Any

from inferencefleet.cli.output import rounded, rounded_or_none
from inferencefleet.cli.workload import Workload
from inferencefleet.domain.capacity import MemoryBudget, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.slo import Slo
from inferencefleet.economics.dollars import TokenPrices
from inferencefleet.physics.memory import GIB


def replica(shape: ReplicaShape) -> dict[str, Any]:
    return {
        "model": shape.model.id,
        "gpu": shape.gpu.name,
        "tensorParallelSize": shape.tensor_parallel,
        "weights": str(shape.weights),
        "kvCache": str(shape.kv_cache),
        "maxModelLenTokens": shape.limits.max_model_len_tokens,
        "maxNumSeqs": shape.limits.max_num_seqs,
        "maxNumBatchedTokens": shape.limits.max_num_batched_tokens,
        "gpuMemoryUtilization": shape.limits.gpu_memory_utilization,
    }


def traffic(workload: Workload) -> dict[str, Any]:
    return {
        "requestsPerSecond": rounded(workload.requests_per_s),
        "promptTokensMean": rounded(workload.lengths.mean_prompt_tokens),
        "outputTokensMean": rounded(workload.lengths.mean_output_tokens),
        "prefixHitRatio": rounded(workload.lengths.prefix_hit_ratio),
    }


def objectives(slos: tuple[Slo, ...]) -> list[dict[str, Any]]:
    return [
        {"metric": str(slo.metric), "percentile": slo.percentile, "targetSeconds": rounded(slo.target_s)}
        for slo in slos
    ]


def capacity(found: ReplicaCapacity) -> dict[str, Any]:
    return {
        "requestsPerSecond": rounded(found.requests_per_s),
        "bindingLimit": str(found.binding),
        "message": found.sentence,
        "concurrency": rounded(found.concurrency),
        "limitsRequestsPerSecond": {str(limit): rounded(rate) for limit, rate in found.limits_requests_per_s.items()},
        "latencySeconds": {name: rounded(value) for name, value in found.latencies_s.items()},
        "floorSeconds": {name: rounded(value) for name, value in found.floors_s.items()},
        "confidence": str(found.confidence),
        "caveats": list(found.caveats),
    }


def cost(usd_per_hour: float | None, tokens: TokenPrices | None) -> dict[str, Any]:
    million, everything, per_usd = (
        (None, None, None)
        if tokens is None
        else (tokens.usd_per_million_output_tokens, tokens.usd_per_million_tokens, tokens.output_tokens_per_usd)
    )
    return {
        "usdPerHour": rounded_or_none(usd_per_hour),
        "usdPerMillionOutputTokens": rounded_or_none(million),
        "usdPerMillionTokens": rounded_or_none(everything),
        "outputTokensPerUSD": rounded_or_none(per_usd),
    }


def memory(budget: MemoryBudget | None) -> dict[str, Any] | None:
    if budget is None:
        return None
    return {
        "usableGiB": round(budget.total_bytes / GIB, 2),
        "weightsGiB": round(budget.weights_bytes / GIB, 2),
        "overheadGiB": round(budget.overhead_bytes / GIB, 2),
        "kvCacheGiB": round(max(0.0, budget.kv_cache_bytes) / GIB, 2),
        "kvCacheTokens": round(budget.kv_cache_tokens),
        "kvBytesPerToken": round(budget.kv_bytes_per_token),
    }
