"""NVIDIA Dynamo planner, load mode: one engine more when all are over the SLA, one fewer when all would stay under it.

Source: ai-dynamo/dynamo, docs/design-docs/planner-design.md (320e674b, "Load-Based Scaling") and core/load_scaling.py
(0c6da1ec) for engines that prefill and decode ("agg"). Every 5 s, with N engines and sensitivity 80 %:

    +1   if every engine's estimated TTFT > SLA, or every engine's estimated ITL > SLA
    -1   if on every engine, with its load x N / (N - 1):
             TTFT - own prefill < sensitivity x (SLA - own prefill),
             ITL < sensitivity x SLA, and the KV cache holds it
    hold while a change is not complete, below 5 observations, or on fewer engines reporting than there are

Estimates: see `dynamo_regression`. `DynamoBoth` adds the throughput mode's number as a floor, as when both are enabled.
"""

from __future__ import annotations

import math

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.slo import SloMetric
from inferencefleet.simulator.laws.common import (
    Interval,
    Knobs,
    asked,
    capped,
    existing,
    needs_latency_slo,
    ready,
    slo_target_s,
)
from inferencefleet.simulator.laws.dynamo_regression import IterationModel, observe
from inferencefleet.simulator.laws.dynamo_throughput import DynamoThroughput
from inferencefleet.simulator.policy import ANY, PodSample, Seen, Sight, Targets


class DynamoLoad:
    def __init__(self, *, interval_s: float = 5.0, sensitivity: float = 0.80) -> None:
        if not 0 <= sensitivity <= 1:
            raise ValueError(f"sensitivity={sensitivity}: a share of the SLA; give 0 (never shrink) to 1")
        self._decides = Interval(interval_s)
        self._sensitivity = sensitivity
        self._model = IterationModel()

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        needs_latency_slo(seen.fleet, "Dynamo's load mode")
        current = asked(seen)
        if not seen.blind and self._decides.due(seen.at_s):
            for pod in seen.pods:
                iteration = observe(pod)
                if iteration is not None:
                    self._model.add(iteration)
            if ready(seen) == len(existing(seen)) == len(seen.pods) == current:
                current += self._step(seen)
        return {ANY: capped(current, seen.fleet)}

    def _step(self, seen: Seen) -> int:
        prompts = [pod.prompt_tokens_mean for pod in seen.pods if pod.prompt_tokens_mean > 0]
        if not seen.pods or not self._model.ready:
            return 0
        prompt = sum(prompts) / len(prompts) if prompts else 0.0
        ttft_sla, itl_sla = _slas(seen.fleet)
        chunk = seen.fleet.engine.limits.max_num_batched_tokens
        ttfts = [
            self._model.ttft_s(pod.waiting * prompt, _decoding(pod), prompt_tokens=prompt, chunk=chunk)
            for pod in seen.pods
        ]
        itls = [self._model.itl_s(_decoding(pod)) for pod in seen.pods]
        if all(ttft > ttft_sla for ttft in ttfts) or all(itl > itl_sla for itl in itls):
            return 1
        return -1 if len(seen.pods) > 1 and all(self._fits_on_fewer(seen, pod, prompt) for pod in seen.pods) else 0

    def _fits_on_fewer(self, seen: Seen, pod: PodSample, prompt: float) -> bool:
        more = len(seen.pods) / (len(seen.pods) - 1)
        ttft_sla, itl_sla = _slas(seen.fleet)
        chunk = seen.fleet.engine.limits.max_num_batched_tokens
        queued, decoding = pod.waiting * prompt * more, _decoding(pod) * more
        own = self._model.ttft_s(0.0, decoding, prompt_tokens=prompt, chunk=chunk)
        with_queue = self._model.ttft_s(queued, decoding, prompt_tokens=prompt, chunk=chunk)
        room = (ttft_sla - own) * self._sensitivity
        if room <= 0 or with_queue - own >= room:
            return False
        held = queued + decoding
        return held < pod.kv_cache_tokens and self._model.itl_s(held) < itl_sla * self._sensitivity

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple({"sensitivity": sensitivity} for sensitivity in (0.2, 0.4, 0.6, 0.8))


class DynamoBoth:
    def __init__(
        self,
        *,
        load_interval_s: float = 5.0,
        sensitivity: float = 0.80,
        interval_s: float = 180.0,
        predictor: str = "arima",
    ) -> None:
        self._floor = DynamoThroughput(interval_s=interval_s, predictor=predictor)
        self._load = DynamoLoad(interval_s=load_interval_s, sensitivity=sensitivity)

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        floor = self._floor.floor(seen) or 0
        return {ANY: capped(max(floor, self._load.targets(seen, sight)[ANY]), seen.fleet)}

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"sensitivity": sensitivity, "interval_s": interval_s}
            for sensitivity in (0.4, 0.6, 0.8)
            for interval_s in (60.0, 180.0)
        )


def _decoding(pod: PodSample) -> float:
    return pod.kv_cache_usage * pod.kv_cache_tokens


def _slas(fleet: Fleet) -> tuple[float, float]:
    """TTFT and ITL; one that is not declared is never exceeded."""
    ttft, itl = slo_target_s(fleet, SloMetric.TTFT), slo_target_s(fleet, SloMetric.ITL)
    return (math.inf if ttft is None else ttft), (math.inf if itl is None else itl)
