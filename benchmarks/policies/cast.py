"""Fleets, pools and true constants that the scenarios share."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits
from inferencefleet.domain.fleet import (
    EngineTerms,
    ExpectedTraffic,
    Fleet,
    FleetKey,
    Routing,
    ScalingTerms,
    SpotPolicy,
    SpotTerms,
)
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.pool import CapacityType, Pool
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.simulator.replay.stage import CloudBehaviour, Delay, StagePool
from inferencefleet.simulator.servers import Arrivals
from inferencefleet.simulator.truth import Truth

ATTAINMENT = 0.99
TTFT_PERCENTILE = 99
ITL_PERCENTILE = 50
"""Scored is the mean token interval of a request (TPOT), which is nearest to the median of all intervals: prefills of
others make a few of them long, and at a high percentile a fleet would be held to something that nobody scores."""
PROVISIONING = Delay(p50_s=90.0, p95_s=180.0)
START_UP = Delay(p50_s=100.0, p95_s=130.0)
NOTICE_S = 120.0
BASE_PRICES = {CapacityType.RESERVED: 2.2, CapacityType.ON_DEMAND: 3.9, CapacityType.SPOT: 1.9}
"""Dollars per H100 and hour; of other GPUs in the proportion of their on-demand price."""
TRUTH_SPREADS = {"memory": (0.97, 0.07), "compute": (1.05, 0.06), "overhead": (0.89, 0.18)}
"""Mean and standard deviation over 47 measured deployments (`simulator.truth`)."""
MOST_DEVIATIONS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which model a fleet serves on what, and what it promises."""

    model: str = "Qwen/Qwen3-32B"
    gpu: str = "H100-SXM"
    tensor_parallel: int = 2
    weights: NumberFormat = NumberFormat.BF16
    limits: EngineLimits = field(default_factory=EngineLimits)
    ttft_s: float = 2.0
    tpot_s: float = 0.1
    itl_percentile: int = ITL_PERCENTILE
    on_demand_price: float = BASE_PRICES[CapacityType.ON_DEMAND]

    @property
    def price_scale(self) -> float:
        return self.on_demand_price / BASE_PRICES[CapacityType.ON_DEMAND]


CHAT = Cut()
LLM_D = Cut(ttft_s=3.0)
MOONCAKE = Cut(
    tensor_parallel=4,
    limits=EngineLimits(max_model_len_tokens=131072, max_num_batched_tokens=2048),
    ttft_s=30.0,
    tpot_s=0.2,
)
"""Targets of Mooncake's own paper (FAST '25): 30 s and 200 ms, for prompts of up to 126,000 tokens."""
WEEKLY = Cut(
    gpu="L40S",
    tensor_parallel=1,
    weights=NumberFormat.FP8,
    limits=EngineLimits(max_model_len_tokens=16384),
    ttft_s=5.0,
    itl_percentile=97,
    on_demand_price=1.86,
)
"""Its answers are short (half of them have fewer than 50 tokens, many 8), so a TPOT is a mean of few intervals: 99 % of
requests keep it only where nearly all intervals do, and a median would promise nothing that is scored."""


def fleet(cut: Cut, traffic: Arrivals, name: str = "chat", *, requests_per_s: float, **overrides: Any) -> Fleet:
    """A fleet whose declared traffic is what its owner would write down: the first rate, mean and p95 of lengths."""
    prompt, output = traffic.prompt_tokens, traffic.output_tokens
    lengths = lognormal_mix(
        prompt_mean=float(prompt.mean()),
        prompt_p95=max(float(np.percentile(prompt, 95)), 1.05 * float(prompt.mean())),
        output_mean=float(output.mean()),
        output_p95=max(float(np.percentile(output, 95)), 1.05 * float(output.mean())),
    )
    values: dict[str, Any] = {
        "key": FleetKey("default", name),
        "uid": f"uid-{name}",
        "generation": 1,
        "model": catalog.model(cut.model),
        "served_name": cut.model,
        "weights": cut.weights,
        "kv_cache": NumberFormat.BF16,
        "engine": EngineTerms(
            image="vllm/vllm-openai:v0.33.0", tensor_parallel=cut.tensor_parallel, limits=cut.limits, drain_s=60.0
        ),
        "slos": (
            Slo(metric=SloMetric.ITL, percentile=cut.itl_percentile, target_s=cut.tpot_s),
            Slo(metric=SloMetric.TTFT, percentile=TTFT_PERCENTILE, target_s=cut.ttft_s),
        ),
        "attainment": ATTAINMENT,
        "expected": ExpectedTraffic(requests_per_s=requests_per_s, lengths=lengths),
        "pools": None,
        "spot": SpotTerms(policy=SpotPolicy.HEDGED, max_fraction=0.5),
        "scaling": ScalingTerms(min_replicas=1, max_replicas=200),
        "routing": Routing.LOAD_AWARE,
    }
    return Fleet(**{**values, **overrides})


def pool(kind: CapacityType, cloud: CloudBehaviour, cut: Cut = CHAT, *, name: str | None = None) -> StagePool:
    """A pool of nodes that hold one replica each."""
    names = {CapacityType.RESERVED: "reserved", CapacityType.ON_DEMAND: "on-demand", CapacityType.SPOT: "spot"}
    most = cloud.nodes if kind is CapacityType.RESERVED else cloud.max_nodes
    return StagePool(
        pool=Pool(
            name=name or names[kind],
            uid=f"uid-{name or names[kind]}",
            generation=1,
            gpu=catalog.gpu(cut.gpu),
            resource_name="nvidia.com/gpu",
            gpus_per_node=cut.tensor_parallel,
            capacity_type=kind,
            price_per_gpu_hour=round(BASE_PRICES[kind] * cut.price_scale, 4),
            currency="USD",
            max_gpus=most * cut.tensor_parallel,
            provision_p50_s=cloud.provisioning.p50_s,
            provision_p95_s=cloud.provisioning.p95_s,
            spot_notice_s=NOTICE_S,
        ),
        cloud=cloud,
    )


def reserved(nodes: int, cut: Cut = CHAT, **cloud: Any) -> StagePool:
    return pool(CapacityType.RESERVED, CloudBehaviour(nodes=nodes, max_nodes=nodes, **cloud), cut)


def on_demand(max_nodes: int, cut: Cut = CHAT, **cloud: Any) -> StagePool:
    behaviour = CloudBehaviour(**{"max_nodes": max_nodes, "provisioning": PROVISIONING, **cloud})
    return pool(CapacityType.ON_DEMAND, behaviour, cut)


def spot(max_nodes: int, cut: Cut = CHAT, **cloud: Any) -> StagePool:
    behaviour = CloudBehaviour(**{"max_nodes": max_nodes, "provisioning": PROVISIONING, **cloud})
    return pool(CapacityType.SPOT, behaviour, cut)


def truth(seed: int, factor: float = 1.0) -> Truth:
    """Constants of this seed, as far off the physics as measured deployments were, times `factor`."""
    chance = Random(seed)

    def drawn(name: str) -> float:
        mean, deviation = TRUTH_SPREADS[name]
        away = max(-MOST_DEVIATIONS, min(MOST_DEVIATIONS, chance.gauss(0.0, 1.0)))
        return factor * (mean + away * deviation)

    return Truth(memory=drawn("memory"), compute=drawn("compute"), overhead=drawn("overhead"))
