"""Builders of domain objects with defaults that are right for most tests; override what the test is about."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from inferencefleet import catalog
from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.fleet import (
    EngineTerms,
    ExpectedTraffic,
    Fleet,
    FleetKey,
    ScalingTerms,
    SpotPolicy,
    SpotTerms,
)
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import (
    FleetMetrics,
    Histogram,
    MetricsGap,
    Phase,
    PoolMetrics,
    Replica,
    WorkloadState,
)
from inferencefleet.domain.plan import Reason, Sizing
from inferencefleet.domain.pool import CapacityType, Exhaustion, NodeState, Pool, PoolState
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.domain.snapshot import FleetMemory, FleetState, PlannerSettings, Snapshot
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.planning.rooms import Room

NOW_S = 1_800_000_000.0
TTFT = Slo(metric=SloMetric.TTFT, percentile=95, target_s=2.0)
ITL = Slo(metric=SloMetric.ITL, percentile=95, target_s=0.06)


@lru_cache
def a_mix(prompt: float = 1155, output: float = 211) -> LengthMix:
    return lognormal_mix(prompt_mean=prompt, prompt_p95=3.3 * prompt, output_mean=output, output_p95=2.4 * output)


def a_fleet(name: str = "chat", *, rps: float = 10.0, **overrides: Any) -> Fleet:
    values: dict[str, Any] = {
        "key": FleetKey("default", name),
        "uid": f"uid-{name}",
        "generation": 1,
        "model": catalog.model("Qwen/Qwen3-32B"),
        "served_name": "Qwen/Qwen3-32B",
        "weights": NumberFormat.BF16,
        "kv_cache": NumberFormat.BF16,
        "engine": EngineTerms(image="vllm/vllm-openai:v0.33.0"),
        "slos": (ITL, TTFT),
        "attainment": 0.9,
        "expected": ExpectedTraffic(requests_per_s=rps, lengths=a_mix()),
        "pools": None,
        "spot": SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=0.5),
        "scaling": ScalingTerms(max_replicas=40, scale_down_stabilization_s=300.0),
    }
    return Fleet(**{**values, **overrides})


def a_pool(name: str = "reserved", kind: CapacityType = CapacityType.RESERVED, **overrides: Any) -> Pool:
    values: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "gpu": catalog.gpu("H100-SXM"),
        "resource_name": "nvidia.com/gpu",
        "gpus_per_node": 8,
        "capacity_type": kind,
        "price_per_gpu_hour": {CapacityType.RESERVED: 2.1, CapacityType.ON_DEMAND: 3.9, CapacityType.SPOT: 1.9}[kind],
        "currency": "USD",
        "max_gpus": 16,
        "provision_p50_s": 60.0,
        "provision_p95_s": 180.0,
    }
    return Pool(**{**values, **overrides})


def a_pool_state(pool: Pool, *, nodes: int = 2, doomed: int = 0, exhaustion: Exhaustion | None = None) -> PoolState:
    return PoolState(
        pool=pool,
        nodes=tuple(
            NodeState(name=f"{pool.name}-{i}", pool=pool.name, gpus=pool.gpus_per_node, ready=True, doomed=i < doomed)
            for i in range(nodes)
        ),
        exhaustion=exhaustion,
    )


def three_pools(**limits: int) -> tuple[PoolState, ...]:
    """On-demand, reserved and spot H100s, 16 GPUs each unless `limits` says otherwise."""
    kinds = {
        "on-demand": CapacityType.ON_DEMAND,
        "reserved": CapacityType.RESERVED,
        "spot": CapacityType.SPOT,
    }
    return tuple(
        a_pool_state(a_pool(name, kind, max_gpus=limits.get(name.replace("-", "_"), 16)))
        for name, kind in kinds.items()
    )


def replicas(
    pool: str, count: int, *, phase: Phase = Phase.READY, size: int = 2, **overrides: Any
) -> tuple[Replica, ...]:
    values: dict[str, Any] = {
        "phase": phase,
        "node": None if phase is Phase.UNSCHEDULED else f"{pool}-0",
        "created_s": NOW_S - 3600,
        "since_s": NOW_S - 3600 + 60,
        "tensor_parallel": size,
    }
    prefix = overrides.pop("prefix", phase.lower())
    return tuple(Replica(name=f"{pool}-{prefix}-{i}", pool=pool, **{**values, **overrides}) for i in range(count))


def a_workload(pool: str, count: int, size: int = 2) -> WorkloadState:
    return WorkloadState(pool=pool, replicas=count, tensor_parallel=size)


def a_histogram(value: float, total: float = 1000.0) -> Histogram:
    """Everything in one bucket around `value`."""
    return Histogram(
        bounds=(value * 0.9, value * 1.1, float("inf")), counts=(0.0, total, 0.0), total=total, sum=total * value
    )


def metrics(
    *, rps: float, waiting: float = 0.0, growth: float = 0.0, engines: int = 1, **overrides: Any
) -> FleetMetrics:
    """What a fleet reports in which every request that is in the system and does not wait has its first token."""
    begun = 60.0 * (rps + (growth if math.isfinite(growth) else 0.0))
    values: dict[str, Any] = {
        "at_s": NOW_S - 2,
        "window_s": 60.0,
        "pools": {
            "reserved": PoolMetrics(
                engines=engines, running=20, waiting=waiting, kv_cache_usage_mean=0.3, kv_cache_usage_max=0.4
            )
        },
        "completions_per_s": rps,
        "in_system_growth_per_s": growth,
        "output_tokens_per_s": rps * 211,
        "ttft_s": a_histogram(0.3, max(0.0, begun)),
        "itl_s": a_histogram(0.03),
        "ttft_long_s": a_histogram(0.3),
        "itl_long_s": a_histogram(0.03),
    }
    return FleetMetrics(**{**values, **overrides})


GAP = MetricsGap(code="PrometheusUnreachable", sentence="Prometheus does not answer")


def a_state(
    fleet: Fleet, *groups: tuple[Replica, ...], seen: FleetMetrics | MetricsGap | None = None, size: int = 2
) -> FleetState:
    """The fleet with these replicas and a Deployment for each pool that asks for exactly those."""
    mine = tuple(replica for group in groups for replica in group)
    pools = sorted({replica.pool for replica in mine})
    gap = MetricsGap(code="NoSamples", sentence="no engine reports")
    return FleetState(
        fleet=fleet,
        metrics=seen or gap,
        replicas=mine,
        workloads=tuple(a_workload(pool, sum(r.pool == pool for r in mine), size) for pool in pools),
    )


def a_snapshot(
    *states: FleetState,
    pools: tuple[PoolState, ...] | None = None,
    memory: dict[FleetKey, FleetMemory] | None = None,
    at_s: float = NOW_S,
    **settings: Any,
) -> Snapshot:
    return Snapshot(
        at_s=at_s,
        fleets=tuple(sorted(states, key=lambda state: state.fleet.key)),
        pools=three_pools() if pools is None else pools,
        memory=memory or {},
        settings=PlannerSettings(**settings),
    )


def a_sizing(pool: Pool, rps: float = 4.0, *, size: int = 2) -> Sizing:
    """One replica in `pool` that the plan counts on for `rps`; physics is not asked."""
    fleet = a_fleet()
    return Sizing(
        pool=pool.name,
        shape=ReplicaShape(
            model=fleet.model,
            gpu=pool.gpu,
            tensor_parallel=size,
            weights=fleet.weights,
            kv_cache=fleet.kv_cache,
            limits=fleet.engine.limits,
        ),
        capacity=ReplicaCapacity(requests_per_s=1.7 * rps, binding=Limit.ITL, sentence="itl p95 is 60ms"),
        planned_requests_per_s=rps,
        marginal_price_per_hour=pool.marginal_price_per_gpu_hour * size,
        price_per_hour=pool.price_per_gpu_hour * size,
    )


def a_room(
    name: str, kind: CapacityType = CapacityType.RESERVED, *, most: int = 8, rps: float = 4.0, per_node: int = 4
) -> Room:
    return Room(
        sizing=a_sizing(a_pool(name, kind), rps),
        capacity_type=kind,
        most=most,
        limited_by=Reason.POOL_LIMIT,
        limit_sentence=f"pool {name} has room for {most} replicas",
        replicas_per_node=per_node,
    )
