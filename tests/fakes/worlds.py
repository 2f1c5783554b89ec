"""Small, complete domain objects for tests; every function takes what the test is about and fills in the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.fleet import EngineTerms, ExpectedTraffic, Fleet, FleetKey
from inferencefleet.domain.hardware import Efficiency, GpuSpec, NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.plan import FleetPlan, PoolPlan, Reason
from inferencefleet.domain.pool import CapacityType, Pool
from inferencefleet.domain.slo import Slo, SloMetric

GPU = GpuSpec(
    name="H100-SXM",
    memory_bytes=85e9,
    bandwidth_bytes_per_s=3.35e12,
    peak_flops={NumberFormat.BF16: 989e12},
    efficiency={
        NumberFormat.BF16: Efficiency(bandwidth=0.8, compute=0.6, moe_bandwidth=0.6, moe_compute=0.4),
    },
    kv_bandwidth_efficiency=0.7,
    attention_compute_efficiency=0.5,
)

MODEL = ModelSpec(
    id="Qwen/Qwen3-32B",
    layers=64,
    hidden=5120,
    heads=64,
    kv_heads=8,
    head_dim=128,
    ffn_hidden=25600,
    vocab=151936,
    tied_embeddings=False,
    max_context_tokens=40960,
    native_weights=NumberFormat.BF16,
)


def a_fleet(name: str = "chat", namespace: str = "prod", *, uid: str = "fleet-uid", **changes: Any) -> Fleet:
    """Fields of `EngineTerms` may be given directly: `a_fleet(image=..., drain_s=...)`."""
    engine_fields = EngineTerms.__dataclass_fields__.keys()
    engine = replace(
        EngineTerms(image="vllm/vllm-openai:v0.20.2"),
        **{key: changes.pop(key) for key in list(changes) if key in engine_fields},
    )
    fleet = Fleet(
        key=FleetKey(namespace, name),
        uid=uid,
        generation=1,
        model=MODEL,
        served_name="qwen3-32b",
        weights=NumberFormat.BF16,
        kv_cache=NumberFormat.BF16,
        engine=engine,
        slos=(Slo(metric=SloMetric.TTFT, percentile=95, target_s=2.0),),
        attainment=0.99,
        expected=ExpectedTraffic(
            requests_per_s=4.0,
            lengths=LengthMix(prompt_tokens=np.array([1000.0]), output_tokens=np.array([250.0])),
        ),
        pools=None,
    )
    return replace(fleet, **changes)


def a_pool(name: str = "h100-spot", **changes: Any) -> Pool:
    pool = Pool(
        name=name,
        uid=f"uid-of-{name}",
        generation=1,
        gpu=GPU,
        resource_name="nvidia.com/gpu",
        gpus_per_node=8,
        capacity_type=CapacityType.ON_DEMAND,
        price_per_gpu_hour=3.9,
        currency="USD",
        max_gpus=None,
        node_selector={"inferencefleet.io/pool": name},
        tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    )
    return replace(pool, **changes)


def a_shape(tensor_parallel: int = 1, **changes: Any) -> ReplicaShape:
    shape = ReplicaShape(
        model=MODEL,
        gpu=GPU,
        tensor_parallel=tensor_parallel,
        weights=NumberFormat.BF16,
        kv_cache=NumberFormat.BF16,
        limits=EngineLimits(),
    )
    return replace(shape, **changes)


def a_pool_plan(pool: str = "h100-spot", replicas: int = 1, *, victims: tuple[str, ...] = (), **shape: Any) -> PoolPlan:
    return PoolPlan(
        pool=pool,
        shape=a_shape(**shape),
        replicas=replicas,
        placed=replicas,
        ready=0,
        starting=0,
        blocked=0,
        doomed=0,
        reason=Reason.DEMAND_MET,
        sentence="a test says so",
        victims=victims,
    )


def a_plan(fleet: Fleet, *pools: PoolPlan, retire: tuple[str, ...] = (), act: bool = True) -> FleetPlan:
    return FleetPlan(
        key=fleet.key,
        pools=pools,
        demand=None,
        forecast=None,
        sizings=(),
        verdicts=(),
        reason=Reason.DEMAND_MET,
        sentence="a test says so",
        act=act,
        retire=retire,
    )
