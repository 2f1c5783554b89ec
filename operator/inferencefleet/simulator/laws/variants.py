"""Variants of the llm-d Workload Variant Autoscaler: one Deployment for each pool, each behind its own HPA.

Source: llm-d/llm-d-workload-variant-autoscaler (b08b1c7 of 2026-02-19, 2976e4ee of 2026-08-18). The controller only
publishes `wva_desired_replicas`; a HorizontalPodAutoscaler with averageValue 1 acts on it. Its chart (v0.5) stabilises
240 s both ways and moves at most 10 pods in 150 s. The default tolerance of 10 % applies too: from 10 replicas on, one
more or one less is not noticed.

A variant's cost is a number its owner writes; here what one more replica costs an hour, so a reserved pool costs 0.
Each variant's HPA has a minimum of 1 and at most what its pool's declared limit holds. A fleet on fewer than two pools
is one variant that is bound to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.observation import Phase
from inferencefleet.simulator.laws.common import CLOCK_SLACK_S, asked, asked_of, existing, gpus_per_replica, pools_of
from inferencefleet.simulator.laws.hpa import Behavior, Hpa, PolicyType, RatePolicy, Rules, from_average_value
from inferencefleet.simulator.policy import ANY, PodSample, Seen, Sight, Targets

PEAK_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    name: str
    cost_per_hour: float
    hardware: str
    """GPU type and number: variants with the same can stand in for each other's capacity."""
    current: int
    ready: int
    least: int
    most: int
    """minReplicas and maxReplicas of its HPA."""
    pods: tuple[PodSample, ...]
    """Ready ones that answered."""

    @property
    def pending(self) -> int:
        return max(0, self.current - self.ready)


def variants_of(seen: Seen, sight: Sight, pods: tuple[PodSample, ...]) -> tuple[Variant, ...]:
    """By name."""
    pools = pools_of(seen, sight)
    if len(pools) < 2:
        count = sum(1 for replica in seen.replicas if replica.phase is Phase.READY)
        current = max(asked(seen), len(existing(seen)))
        return (
            Variant(
                name=ANY, cost_per_hour=1.0, hardware=ANY, current=current, ready=count, pods=pods,
                least=seen.fleet.scaling.min_replicas, most=seen.fleet.scaling.max_replicas,
            ),
        )  # fmt: skip
    found = []
    for pool in pools:
        gpus = gpus_per_replica(seen, pool.name)
        there = [replica for replica in existing(seen) if replica.pool == pool.name]
        most = seen.fleet.scaling.max_replicas
        found.append(
            Variant(
                name=pool.name,
                cost_per_hour=pool.marginal_price_per_gpu_hour * gpus,
                hardware=f"{gpus} x {pool.gpu.name}",
                current=max(asked_of(seen, pool.name), len(there)),
                ready=sum(1 for replica in there if replica.phase is Phase.READY),
                pods=tuple(pod for pod in pods if pod.pool == pool.name),
                least=1,
                most=max(1, most if pool.max_gpus is None else min(most, pool.max_gpus // gpus)),
            )
        )
    return tuple(found)


class Peaks:
    """`max_over_time(...[1m])` of KV cache usage and queue of each pod."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[float, float, float]]] = {}

    def over(self, seen: Seen) -> tuple[PodSample, ...]:
        kept: dict[str, list[tuple[float, float, float]]] = {}
        peaks = []
        for pod in seen.pods:
            samples = [*self._seen.get(pod.name, []), (seen.at_s, pod.kv_cache_usage, pod.waiting)]
            kept[pod.name] = [s for s in samples if s[0] > seen.at_s - PEAK_WINDOW_S + CLOCK_SLACK_S]
            peaks.append(
                replace(
                    pod, kv_cache_usage=max(s[1] for s in kept[pod.name]), waiting=max(s[2] for s in kept[pod.name])
                )
            )
        self._seen = kept
        return tuple(peaks)


def chart_behavior(*, stabilization_s: float, pods: int, period_s: float, tolerance: float) -> Behavior:
    rules = Rules(
        stabilization_s=stabilization_s,
        policies=(RatePolicy(PolicyType.PODS, pods, period_s),),
        tolerance=tolerance,
    )
    return Behavior(up=rules, down=rules)


class VariantHpas:
    """The HorizontalPodAutoscalers that act on the published numbers."""

    def __init__(self, behavior: Behavior) -> None:
        self._behavior = behavior
        self._hpas: dict[str, Hpa] = {}

    def apply(self, seen: Seen, variants: tuple[Variant, ...], desired: Mapping[str, int] | None) -> Targets:
        """`desired` None = the gauge cannot be read: every HPA holds."""
        targets = {}
        for variant in variants:
            hpa = self._hpas.setdefault(variant.name, Hpa(self._behavior))
            want = None if desired is None else desired.get(variant.name, variant.current)
            asked_now = asked(seen) if variant.name == ANY else asked_of(seen, variant.name)
            targets[variant.name] = hpa.step(
                seen.at_s,
                current=asked_now,
                proposals=[
                    None
                    if want is None
                    else from_average_value(want, 1.0, replicas=variant.current, behavior=self._behavior)
                ],
                least=variant.least,
                most=variant.most,
            )
        return _within_the_fleet(targets, variants, seen.fleet)


def _within_the_fleet(targets: dict[str, int], variants: tuple[Variant, ...], fleet: Fleet) -> Targets:
    """The sum obeys the fleet's bounds as it does under every other policy: the dearest gives, the cheapest takes."""
    by_cost = sorted(variants, key=lambda variant: (variant.cost_per_hour, variant.name))
    excess = sum(targets.values()) - fleet.scaling.max_replicas
    for variant in reversed(by_cost):
        cut = min(targets[variant.name], max(0, excess))
        targets[variant.name] -= cut
        excess -= cut
    targets[by_cost[0].name] += max(0, fleet.scaling.min_replicas - sum(targets.values()))
    return targets
