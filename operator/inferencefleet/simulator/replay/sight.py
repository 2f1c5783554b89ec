"""What a policy is shown at one tick: the snapshot that the operator would gather, and what peers would query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inferencefleet.domain.capacity import Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Phase, Replica, WorkloadState
from inferencefleet.domain.pool import PoolState
from inferencefleet.domain.slo import SloMetric
from inferencefleet.domain.snapshot import FleetState, PlannerSettings, Snapshot
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.simulator.histogram import ITL_BOUNDS, PHASE_BOUNDS, TTFT_BOUNDS, token_bounds
from inferencefleet.simulator.policy import ANY, PodSample, Seen, Sight
from inferencefleet.simulator.replay.cluster import Cluster
from inferencefleet.simulator.replay.pods import Tenant
from inferencefleet.simulator.replay.prometheus import UNREACHABLE, Prometheus
from inferencefleet.simulator.replay.stage import Stage, StageFleet
from inferencefleet.simulator.servers import Buckets

PROFILE_SAMPLE = 512
"""Requests of the trace, evenly picked, that a profile by physics is computed for."""


def buckets_of(stage_fleet: StageFleet) -> Buckets:
    """vLLM's bounds, with one exactly on each SLO target as the operator configures engines."""
    targets: dict[SloMetric, set[float]] = {metric: set() for metric in SloMetric}
    for slo in stage_fleet.fleet.slos:
        targets[slo.metric].add(slo.target_s)
    tokens = token_bounds(stage_fleet.fleet.engine.limits.max_model_len_tokens)
    return Buckets(
        prompt_tokens=tokens,
        output_tokens=tokens,
        ttft_s=tuple(sorted({*TTFT_BOUNDS, *targets[SloMetric.TTFT]})),
        itl_s=tuple(sorted({*ITL_BOUNDS, *targets[SloMetric.ITL]})),
        e2e_s=tuple(sorted({*PHASE_BOUNDS, *targets[SloMetric.E2E]})),
    )


def profile_of(stage_fleet: StageFleet) -> Mapping[str, float]:
    """By pool: requests/s of one replica within the SLO, by physics at the true constants and the trace's lengths."""
    if stage_fleet.profiled_requests_per_s is not None:
        return stage_fleet.profiled_requests_per_s
    arrivals = stage_fleet.arrivals
    lengths = stage_fleet.fleet.expected.lengths
    if len(arrivals):
        picked = np.linspace(0, len(arrivals) - 1, min(len(arrivals), PROFILE_SAMPLE)).astype(np.int64)
        lengths = LengthMix(
            prompt_tokens=arrivals.prompt_tokens[picked].astype(np.float64),
            output_tokens=arrivals.output_tokens[picked].astype(np.float64),
            prefix_hit_ratio=lengths.prefix_hit_ratio,
            source="observed",
        )
    found = {}
    for pool, kind in stage_fleet.kinds.items():
        truth = Scales(
            memory=kind.truth.memory, compute=kind.truth.compute, overhead=kind.truth.overhead, sigma_log=0.0
        )
        found[pool] = replica_capacity(kind.shape, lengths, stage_fleet.fleet.slos, truth).requests_per_s
    return found


class Onlooker:
    """Gathers one `Sight` after the other."""

    def __init__(self, stage: Stage, cluster: Cluster, prometheus: Mapping[str, Prometheus]) -> None:
        self._stage = stage
        self._cluster = cluster
        self._prometheus = prometheus
        self._settings = stage.settings or PlannerSettings(period_s=stage.period_s)
        self._profiles = {str(tenant.key): profile_of(tenant.stage) for tenant in cluster.tenants}

    def look(self, now_s: float) -> Sight:
        blind = any(span.holds(now_s) for span in self._stage.blind)
        states, seen = [], []
        for tenant in self._cluster.tenants:
            prometheus = self._prometheus[str(tenant.key)]
            metrics = prometheus.read(now_s)
            if blind:
                metrics = UNREACHABLE
            replicas = tuple(pod.shown(self._stage.start_epoch_s) for pod in tenant.pods)
            states.append(self._state(tenant, metrics, replicas, now_s))
            seen.append(self._seen(tenant, metrics, replicas, prometheus, now_s))
        pools = tuple(PoolState(pool=cloud.pool, nodes=cloud.states()) for cloud in self._cluster.clouds.values())
        snapshot = Snapshot(
            at_s=self._stage.start_epoch_s + now_s, fleets=tuple(states), pools=pools, settings=self._settings
        )
        return Sight(at_s=now_s, period_s=self._stage.period_s, fleets=tuple(seen), snapshot=snapshot)

    def _state(
        self, tenant: Tenant, metrics: FleetMetrics | MetricsGap, replicas: tuple[Replica, ...], now_s: float
    ) -> FleetState:
        workloads = tuple(
            WorkloadState(pool=pool, replicas=count, tensor_parallel=tenant.gpus_in(pool))
            for pool, count in tenant.wanted.items()
            if pool != ANY
        )
        return FleetState(
            fleet=tenant.fleet,
            metrics=metrics,
            replicas=replicas,
            workloads=workloads,
            schedule=tenant.floors(self._stage.start_epoch_s + now_s),
        )

    def _seen(
        self,
        tenant: Tenant,
        metrics: FleetMetrics | MetricsGap,
        replicas: tuple[Replica, ...],
        prometheus: Prometheus,
        now_s: float,
    ) -> Seen:
        blind = metrics is UNREACHABLE
        told = metrics if isinstance(metrics, FleetMetrics) else None
        window_s = self._stage.rate_window_s
        arrived = np.searchsorted(tenant.stage.arrivals.arrival_s, [now_s - window_s, now_s], side="right")
        return Seen(
            at_s=now_s,
            fleet=tenant.fleet,
            wanted=dict(tenant.wanted),
            replicas=replicas,
            blind=blind,
            pods=() if blind else _samples(tenant, prometheus, now_s, window_s),
            completions_per_s=None if told is None else told.completions_per_s,
            arrivals_per_s=None if blind else float(arrived[1] - arrived[0]) / min(window_s, now_s),
            gateway_waiting=0 if blind else tenant.servers.gateway_waiting(),
            ttft_s=None if told is None else told.ttft_s,
            itl_s=None if told is None else told.itl_s,
            tpot_s=None if told is None else prometheus.histogram("tpot", now_s),
            e2e_s=None if told is None else told.e2e_s,
            profiled_requests_per_s=self._profiles[str(tenant.key)],
        )


def _samples(tenant: Tenant, prometheus: Prometheus, now_s: float, window_s: float) -> tuple[PodSample, ...]:
    scrapes = prometheus.scrapes
    means, rates = prometheus.pod_means(now_s), prometheus.rates(now_s)
    tokens = rates.increases[:, scrapes.columns.at["output_tokens"]] / window_s
    tokens_per_s = dict(zip(rates.rows.tolist(), tokens.tolist(), strict=True))
    shown = scrapes.last_gauges.tolist()
    seen = set(scrapes.visible(now_s).tolist())
    samples = []
    for pod in tenant.pods:
        if pod.phase is not Phase.READY or pod.slot is None or (row := scrapes.row(pod.slot)) not in seen:
            continue
        running, waiting, usage, cache = shown[row]
        prompt, output = means.get(row, (0.0, 0.0))
        samples.append(
            PodSample(
                name=pod.name,
                pool=pod.pool,
                ready_s=pod.ready_s or 0.0,
                running=running,
                waiting=waiting,
                kv_cache_usage=usage,
                kv_cache_tokens=cache,
                prompt_tokens_mean=prompt,
                output_tokens_mean=output,
                output_tokens_per_s=tokens_per_s.get(row, 0.0),
            )
        )
    return tuple(samples)
