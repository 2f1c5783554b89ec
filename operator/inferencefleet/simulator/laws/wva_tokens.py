"""llm-d Workload Variant Autoscaler, saturation V2: tokens (its default since v0.9).

Source: llm-d/llm-d-workload-variant-autoscaler (2976e4ee, 2026-08-18), internal/engines/analyzers/saturation_v2 and
internal/engines/pipeline, whose Go code was run to check the figures in the tests. Of one replica, with I prompt and
O output tokens on average:

    cap    = tokens of KV cache
    demand = kv x cap + queue (I + O)
    k1     = 0.80 cap
    k2     = kv x cap, if queue >= 5                               (P1, remembered)
           | mean of the last 10 such values                       (P2, by hardware and output length)
           | n (I + O/2), n = min(B O / (I + O), S)                (P3, B = max-num-batched-tokens, S = max-num-seqs)
           | k1                                                    (P4)
    prc    = median of min(k1, k2) over the variant's replicas

Of the model, with q requests waiting at the gateway:

    D  = sum of demand + q (I + O)
    RC = max(0, D / 0.85 - sum (ready + pending) prc)
    SC = max(0, sum ready prc - D / 0.70)

Up: variants by cost / prc, ceil(rest / prc) each up to its maximum. Down: the dearest first, floor(SC / prc), the
cheapest keeps one. A variant without replicas is left out. A variant whose pods are all pending is read as free,
because costs come with metrics. The prefix hit ratio is taken as 0: the controller asks for a counter without its
`_total`, so it finds none.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferencefleet.domain.capacity import EngineLimits
from inferencefleet.simulator.laws.common import Interval, Knobs
from inferencefleet.simulator.laws.variants import Peaks, Variant, VariantHpas, chart_behavior, variants_of
from inferencefleet.simulator.policy import PodSample, Seen, Sight, Targets

MEMORY = 10
"""Observations of k2 that are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Tokens that the model lacks or has to spare, and what one replica of each variant holds."""

    demand: float
    required: float
    spare: float
    per_replica: Mapping[str, float]


class TokenAnalyzer:
    """Remembers observed capacities between rounds."""

    def __init__(self, *, kv_threshold: float, queue_threshold: float, up_at: float, down_at: float) -> None:
        self._kv_threshold, self._queue_threshold = kv_threshold, queue_threshold
        self._up_at, self._down_at = up_at, down_at
        self._observed: dict[tuple[str, str], deque[float]] = {}
        self._known: dict[str, float] = {}

    def balance(self, variants: Sequence[Variant], *, gateway_waiting: int, limits: EngineLimits) -> Balance:
        pods = [pod for variant in variants for pod in variant.pods]
        prompt, output = _mean_lengths(pods)
        demand = sum(_demand(pod) for pod in pods) + gateway_waiting * (prompt + output)
        measured: dict[str, float] = {}
        for variant in variants:
            if variant.pods:
                effective = [self._effective(pod, variant.hardware, limits) for pod in variant.pods]
                measured[variant.name] = self._known[variant.name] = statistics.median(effective)
        by_hardware = {variant.hardware: measured[variant.name] for variant in variants if variant.pods}
        per_replica = {
            variant.name: measured.get(variant.name)
            or self._stored(variant, by_hardware.get(variant.hardware), prompt, output, limits)
            for variant in variants
        }
        anticipated = sum((v.ready + v.pending) * per_replica[v.name] for v in variants)
        supply = sum(variant.ready * per_replica[variant.name] for variant in variants)
        return Balance(
            demand=demand,
            required=max(0.0, demand / self._up_at - anticipated),
            spare=max(0.0, supply - demand / self._down_at),
            per_replica=per_replica,
        )

    def _effective(self, pod: PodSample, hardware: str, limits: EngineLimits) -> float:
        memory_bound = pod.kv_cache_tokens * self._kv_threshold
        return min(memory_bound, self._compute_bound(pod, hardware, limits, memory_bound))

    def _compute_bound(self, pod: PodSample, hardware: str, limits: EngineLimits, memory_bound: float) -> float:
        key = (hardware, _length_class(pod.output_tokens_mean))
        in_use = float(round(pod.kv_cache_usage * pod.kv_cache_tokens))
        if pod.waiting >= self._queue_threshold and in_use > 0:
            self._observed.setdefault(key, deque(maxlen=MEMORY)).append(in_use)
            return in_use
        if key in self._observed:
            return statistics.fmean(self._observed[key])
        return _derived(pod.prompt_tokens_mean, pod.output_tokens_mean, limits) or memory_bound

    def _stored(
        self, variant: Variant, twin: float | None, prompt: float, output: float, limits: EngineLimits
    ) -> float:
        """Of a variant whose pods are all pending: what was measured of it, else what its arguments promise."""
        if variant.name in self._known:
            return self._known[variant.name]
        derived = _derived(prompt, output, limits)
        if derived <= 0:
            return float(limits.max_num_batched_tokens)
        return min(derived, twin) if twin is not None else derived


def _demand(pod: PodSample) -> float:
    per_request = pod.prompt_tokens_mean + pod.output_tokens_mean
    return round(pod.kv_cache_usage * pod.kv_cache_tokens) + pod.waiting * per_request


def _mean_lengths(pods: Sequence[PodSample]) -> tuple[float, float]:
    known = [pod for pod in pods if pod.prompt_tokens_mean > 0 or pod.output_tokens_mean > 0]
    if not known:
        return 0.0, 0.0
    prompt = statistics.fmean(pod.prompt_tokens_mean for pod in known)
    return prompt, statistics.fmean(pod.output_tokens_mean for pod in known)


def _derived(prompt: float, output: float, limits: EngineLimits) -> float:
    if output <= 0:
        return 0.0
    sequences = min(limits.max_num_batched_tokens * output / (prompt + output), limits.max_num_seqs)
    return sequences * (prompt + output / 2)


def _length_class(output: float) -> str:
    return "short" if output < 100 else "medium" if output < 500 else "long"


def cost_aware(balance: Balance, variants: Sequence[Variant]) -> dict[str, int]:
    """Replicas by variant that cover what is required, or give back what is spare."""
    targets = {variant.name: variant.current for variant in variants}
    cost = {variant.name: variant.cost_per_hour if variant.pods else 0.0 for variant in variants}
    most = {variant.name: variant.most for variant in variants}
    sizes = {name: size for name, size in balance.per_replica.items() if size > 0}
    if balance.required > 0:
        rest = balance.required
        for name in sorted(sizes, key=lambda name: (cost[name] / sizes[name], name)):
            added = max(0, min(math.ceil(rest / sizes[name]), most[name] - targets[name])) if rest > 0 else 0
            targets[name] += added
            rest -= added * sizes[name]
    elif balance.spare > 0:
        rest = balance.spare
        cheapest = min(targets, key=lambda name: (cost[name], name))
        for name in sorted(sizes, key=lambda name: (-cost[name], name)):
            removable = targets[name] - (1 if name == cheapest else 0)
            removed = max(0, min(math.floor(rest / sizes[name]), removable))
            targets[name] -= removed
            rest -= removed * sizes[name]
    return targets


class WvaTokens:
    def __init__(
        self,
        *,
        up_at: float = 0.85,
        down_at: float = 0.70,
        kv_threshold: float = 0.80,
        queue_threshold: float = 5.0,
        interval_s: float = 15.0,
        stabilization_s: float = 240.0,
        hpa_pods: int = 10,
        hpa_period_s: float = 150.0,
        hpa_tolerance: float = 0.1,
    ) -> None:
        if not 0 < down_at < up_at:
            raise ValueError(f"down_at={down_at}, up_at={up_at}: the band is inverted; give 0 < down_at < up_at")
        self._analyzer = TokenAnalyzer(
            kv_threshold=kv_threshold, queue_threshold=queue_threshold, up_at=up_at, down_at=down_at
        )
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
            alive = [variant for variant in variants if variant.current > 0]
            if any(variant.pods for variant in alive):
                balance = self._analyzer.balance(
                    alive, gateway_waiting=seen.gateway_waiting, limits=seen.fleet.engine.limits
                )
                self._published = cost_aware(balance, alive)
            else:
                self._published = {variant.name: variant.current for variant in alive}
        return self._hpas.apply(seen, variants, None if seen.blind else self._published)

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"up_at": up_at, "down_at": down_at, "stabilization_s": stabilization_s, "hpa_tolerance": 0.0}
            for up_at, down_at in ((0.5, 0.35), (0.7, 0.5), (0.85, 0.7))
            for stabilization_s in (0.0, 60.0, 240.0)
        )
