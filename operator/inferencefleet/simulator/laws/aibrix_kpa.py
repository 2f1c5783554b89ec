"""AIBrix's KPA: Knative's stable and panic windows on KV cache usage.

Source: vllm-project/aibrix, docs/source/features/autoscaling/metric-based-autoscaling.rst (044ac334),
samples/autoscaling/kpa.yaml (69829593: gpu_cache_usage_perc, target 0.5), pkg/controller/podautoscaler/scaler/kpa.go
and context/context.go. With M the metric summed over the pods and averaged over a window, r ready pods:

    stable = ceil(M over 180 s / target), panic = ceil(M over 60 s / target), both within floor(r / 2) .. ceil(2 r)
    panicking starts when ceil(M over 60 s / target) / r >= 2 and ends when that was not so for a stable window
    panicking: the largest number asked for since it began; else: stable
    unchanged while M is within 10 % of target x r
    down: the largest of the last 300 s; up: at once
"""

from __future__ import annotations

import math
from typing import TypeVar

from inferencefleet.simulator.laws.common import CLOCK_SLACK_S, Interval, Knobs, asked, capped, ready
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets

RECONCILE_S = 10.0
MAX_SCALE_RATE = 2.0

Number = TypeVar("Number", int, float)


class AibrixKpa:
    def __init__(
        self,
        *,
        target: float = 0.5,
        stable_window_s: float = 180.0,
        panic_window_s: float = 60.0,
        panic_threshold: float = 2.0,
        up_tolerance: float = 0.1,
        down_tolerance: float = 0.1,
        down_cooldown_s: float = 300.0,
    ) -> None:
        if target <= 0:
            raise ValueError(f"target={target}: KV cache usage of one pod; give more than 0, at most 1")
        if panic_window_s > stable_window_s:
            raise ValueError(
                f"panic_window_s={panic_window_s}: must not exceed stable_window_s={stable_window_s}; shorten it"
            )
        self._target = target
        self._stable_s, self._panic_s, self._panic_threshold = stable_window_s, panic_window_s, panic_threshold
        self._up_tolerance, self._down_tolerance = up_tolerance, down_tolerance
        self._cooldown_s = down_cooldown_s
        self._reconciles = Interval(RECONCILE_S)
        self._samples: list[tuple[float, float]] = []
        self._asked: list[tuple[float, int]] = []
        self._panic_since_s: float | None = None
        self._panic_pods = 0

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        current = asked(seen)
        if seen.blind or not seen.pods or not self._reconciles.due(seen.at_s):
            return {ANY: capped(current, seen.fleet)}
        self._samples.append((seen.at_s, sum(pod.kv_cache_usage for pod in seen.pods)))
        self._samples = _younger(self._samples, seen.at_s - self._stable_s)
        wanted = self.decide(seen.at_s, pods=max(1, ready(seen)), current=current)
        self._asked = [*_younger(self._asked, seen.at_s - self._cooldown_s), (seen.at_s, wanted)]
        if wanted < current:
            wanted = min(current, max(count for _, count in self._asked))
        return {ANY: capped(wanted, seen.fleet)}

    def decide(self, at_s: float, *, pods: int, current: int) -> int:
        """Before the cooldown."""
        least, most = math.floor(pods / MAX_SCALE_RATE), math.ceil(pods * MAX_SCALE_RATE)
        stable_load = self._mean(at_s - self._stable_s)
        panic_wants = math.ceil(self._mean(at_s - self._panic_s) / self._target - 1e-9)
        stable = max(least, min(math.ceil(stable_load / self._target - 1e-9), most))
        panic = max(least, min(panic_wants, most))
        if panic_wants / pods >= self._panic_threshold:
            self._panic_since_s = at_s
        elif self._panic_since_s is not None and at_s - self._panic_since_s > self._stable_s:
            self._panic_since_s, self._panic_pods = None, 0
        if self._panic_since_s is not None:
            self._panic_pods = max(self._panic_pods, stable, panic)
            return self._panic_pods
        ratio = stable_load / (self._target * pods)
        if 1 - self._down_tolerance <= ratio <= 1 + self._up_tolerance:
            return current
        return stable

    def _mean(self, cutoff_s: float) -> float:
        values = [value for _, value in _younger(self._samples, cutoff_s)]
        return sum(values) / len(values)

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"target": target, "stable_window_s": window_s, "down_cooldown_s": window_s}
            for target in (0.15, 0.3, 0.5)
            for window_s in (60.0, 180.0, 300.0)
        )


def _younger(samples: list[tuple[float, Number]], cutoff_s: float) -> list[tuple[float, Number]]:
    return [sample for sample in samples if sample[0] > cutoff_s + CLOCK_SLACK_S]
