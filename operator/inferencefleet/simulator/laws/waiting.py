"""Scaling on `sum(vllm:num_requests_waiting)`, an external metric with `averageValue`: what HPA, KEDA and KAITO share.

proposal = ceil(waiting / target), unless waiting / (target x replicas) is within the tolerance
"""

from __future__ import annotations

from inferencefleet.simulator.laws.common import asked, capped, existing
from inferencefleet.simulator.laws.hpa import Behavior, Hpa, from_average_value
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets


class OnWaiting:
    """`empty_is_zero` is KEDA's `ignoreNullValues: true` (its default): a query without a result reads 0.

    The Prometheus adapter answers such a query with an error, and the HorizontalPodAutoscaler holds.
    """

    def __init__(self, *, target: float, behavior: Behavior | None, sync_s: float, empty_is_zero: bool) -> None:
        if target <= 0:
            raise ValueError(f"target={target}: waiting requests for each replica; give more than 0")
        self._target = target
        self._behavior = behavior or Behavior()
        self._hpa = Hpa(behavior, sync_s=sync_s)
        self._empty_is_zero = empty_is_zero

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        scaling = seen.fleet.scaling
        least = max(1, scaling.min_replicas)
        wanted = self._hpa.step(
            seen.at_s,
            current=max(1, asked(seen)),
            proposals=[self._proposal(seen)],
            least=least,
            most=max(least, scaling.max_replicas),
        )
        return {ANY: capped(wanted, seen.fleet)}

    def _proposal(self, seen: Seen) -> int | None:
        if seen.blind or (not seen.pods and not self._empty_is_zero):
            return None
        waiting = sum(pod.waiting for pod in seen.pods)
        return from_average_value(waiting, self._target, replicas=len(existing(seen)), behavior=self._behavior)
