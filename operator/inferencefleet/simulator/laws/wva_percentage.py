"""llm-d Workload Variant Autoscaler, saturation V1: percentages, one replica at a time.

Source: llm-d/llm-d-workload-variant-autoscaler (b08b1c7, 2026-02-19), docs/saturation-analyzer.md and
docs/saturation-scaling-config.md; loop 30 s (v0.5.1).

    a replica is saturated         if kv >= 0.80 or queue >= 5
    spare = threshold - value, averaged over the replicas that are not saturated
    up   (+1, cheapest variant)    if spare kv < 0.10 or spare queue < 3, or all are saturated
    down (-1, dearest variant)     if >= 2 are not saturated and the same load on one fewer keeps both spares
    hold the whole model           while a replica of any variant is pending, or a published number is not reached yet
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inferencefleet.simulator.laws.common import Interval, Knobs
from inferencefleet.simulator.laws.variants import Peaks, Variant, VariantHpas, chart_behavior, variants_of
from inferencefleet.simulator.policy import PodSample, Seen, Sight, Targets


class WvaPercentage:
    def __init__(
        self,
        *,
        kv_threshold: float = 0.80,
        queue_threshold: float = 5.0,
        kv_spare_trigger: float = 0.10,
        queue_spare_trigger: float = 3.0,
        interval_s: float = 30.0,
        stabilization_s: float = 240.0,
        hpa_pods: int = 10,
        hpa_period_s: float = 150.0,
        hpa_tolerance: float = 0.1,
    ) -> None:
        if not 0 < kv_spare_trigger <= kv_threshold <= 1:
            raise ValueError(
                f"kv_spare_trigger={kv_spare_trigger}, kv_threshold={kv_threshold}: "
                "the trigger is a part of the threshold; give 0 < trigger <= threshold <= 1"
            )
        self._kv_threshold, self._queue_threshold = kv_threshold, queue_threshold
        self._kv_trigger, self._queue_trigger = kv_spare_trigger, queue_spare_trigger
        self._loop = Interval(interval_s)
        self._peaks = Peaks()
        self._published: dict[str, int] = {}
        self._hpas = VariantHpas(
            chart_behavior(
                stabilization_s=stabilization_s, pods=hpa_pods, period_s=hpa_period_s, tolerance=hpa_tolerance
            )
        )

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        variants = variants_of(seen, sight, self._peaks.over(seen))
        if not seen.blind and self._loop.due(seen.at_s):
            self._published = self.desired(variants, published=self._published)
        return self._hpas.apply(seen, variants, None if seen.blind else self._published)

    def desired(self, variants: Sequence[Variant], *, published: Mapping[str, int]) -> dict[str, int]:
        """Replicas by variant, as the gauge would say."""
        now = {variant.name: variant.current for variant in variants}
        reached = all(published.get(name, current) == current for name, current in now.items())
        if not reached:
            return {name: published.get(name, current) for name, current in now.items()}
        pods = [pod for variant in variants for pod in variant.pods]
        if not pods or any(variant.pending for variant in variants):
            return now
        by_cost = sorted(variants, key=lambda variant: (variant.cost_per_hour, variant.name))
        change = self.step(pods)
        if change > 0:
            movable = [variant for variant in by_cost if variant.current < variant.most]
        else:
            movable = [variant for variant in reversed(by_cost) if variant.current > max(1, variant.least)]
        if change != 0 and movable:
            now[movable[0].name] += change
        return now

    def step(self, pods: Sequence[PodSample]) -> int:
        """+1, 0 or -1 for the model."""
        calm = [p for p in pods if p.kv_cache_usage < self._kv_threshold and p.waiting < self._queue_threshold]
        kv, queue = sum(pod.kv_cache_usage for pod in calm), sum(pod.waiting for pod in calm)
        if not calm or not self._spare(kv, queue, len(calm)):
            return 1
        return -1 if len(calm) >= 2 and self._spare(kv, queue, len(calm) - 1) else 0

    def _spare(self, kv: float, queue: float, replicas: int) -> bool:
        enough_kv = self._kv_threshold - kv / replicas >= self._kv_trigger
        return enough_kv and self._queue_threshold - queue / replicas >= self._queue_trigger

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"kv_threshold": kv, "stabilization_s": stabilization_s, "hpa_tolerance": 0.0}
            for kv in (0.5, 0.65, 0.8)
            for stabilization_s in (0.0, 60.0, 240.0)
        )
