"""The answer of `size` for programs."""

from __future__ import annotations

from typing import Any

from inferencefleet.cli import documents
from inferencefleet.cli.output import rounded, rounded_or_none
from inferencefleet.cli.size.answer import Fleet, Sized, StepAtCapacity
from inferencefleet.domain.capacity import Sensitivity
from inferencefleet.economics.recommend import PriceTag
from inferencefleet.physics.memory import GIB


def document(sized: Sized) -> dict[str, Any]:
    """Keys as documented in docs/cli.md; `plan`, `step` and `cost` are null when the replica cannot serve."""
    return {
        "kind": "Size",
        "replica": documents.replica(sized.shape),
        "traffic": documents.traffic(sized.workload),
        "slo": documents.objectives(sized.workload.slos),
        "capacity": documents.capacity(sized.capacity),
        "memory": documents.memory(sized.capacity.memory),
        "step": None if sized.step is None else _step(sized.step),
        "plan": None if sized.fleet is None else _plan(sized, sized.fleet),
        "cost": None if sized.fleet is None or sized.price is None else _cost(sized.fleet, sized.price),
        "tensorParallel": [
            {
                "tensorParallelSize": shape.tensor_parallel,
                "requestsPerSecond": rounded(capacity.requests_per_s),
                "requestsPerSecondPerGPU": rounded(capacity.requests_per_s / shape.tensor_parallel),
                "bindingLimit": str(capacity.binding),
            }
            for shape, capacity in sized.alternatives
        ],
        "sensitivities": [_sensitivity(found) for found in sized.sensitivities],
    }


def _step(step: StepAtCapacity) -> dict[str, Any]:
    return {
        "decodeSequences": rounded(step.decode_seqs),
        "contextTokens": rounded(step.context_tokens),
        "termsSeconds": {name: rounded(value) for name, value in step.terms_s.items()},
        "decodeStepSeconds": rounded(step.decode_step_s),
        "prefillSeconds": rounded(step.prefill_s),
        "prefillShare": rounded(step.prefill_share),
        "promptChunks": rounded(step.chunks),
        "residenceSeconds": rounded(step.residence_s),
        "kvCacheGiBPerRequest": rounded(step.resident_bytes / GIB),
    }


def _plan(sized: Sized, fleet: Fleet) -> dict[str, Any]:
    return {
        "headroom": sized.workload.headroom,
        "uncertaintySigmaLog": sized.scales.sigma_log,
        "uncertaintyFactor": rounded(fleet.uncertainty),
        "plannedRequestsPerSecond": rounded(fleet.planned_requests_per_s),
        "replicas": fleet.replicas,
        "replicasWithoutUncertainty": fleet.replicas_without_uncertainty,
        "gpus": fleet.gpus,
        "requestsPerSecondPerReplica": rounded(sized.workload.requests_per_s / fleet.replicas),
        "running": rounded(fleet.each.running),
        "itlMeanSeconds": rounded(fleet.each.itl_mean_s),
        "ttftMeanSeconds": rounded(fleet.each.ttft_mean_s),
    }


def _cost(fleet: Fleet, price: PriceTag) -> dict[str, Any]:
    return {
        "usdPerGPUHour": price.usd_per_gpu_hour,
        "capacityType": str(price.capacity_type),
        "source": price.source,
        **documents.cost(fleet.usd_per_hour, fleet.tokens),
    }


def _sensitivity(found: Sensitivity) -> dict[str, Any]:
    return {
        "input": found.input,
        "unit": found.unit,
        "from": found.from_value,
        "to": found.to_value,
        "elasticity": rounded_or_none(found.elasticity),
        "ratio": rounded_or_none(found.ratio),
        "requestsPerSecond": rounded(found.requests_per_s),
        "bindingLimit": str(found.binding),
        "message": found.sentence,
    }
