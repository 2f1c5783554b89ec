"""vLLM production-stack's KEDA ScaledObject.

Source: vllm-project/production-stack, docs/source/use_cases/autoscaling-keda.rst (a6c01db0, 2026-08-05): threshold 5 on
`vllm:num_requests_waiting`, pollingInterval 15 s, cooldownPeriod 360 s, no `behavior`, so the plain rules of the
HorizontalPodAutoscaler that KEDA creates: at most max(2 x, 4) at once, down to the largest proposal of 300 s.
The page says of the cooldown that it delays every scale-down. KEDA's own reference says that it only delays the step
to zero, and that is what happens: it counts here only for a fleet whose minimum is 0, with the keep-alive trigger that
the page adds for that case (requests arrive).
"""

from __future__ import annotations

from inferencefleet.simulator.laws.common import Interval, Knobs, asked
from inferencefleet.simulator.laws.hpa import SYNC_S
from inferencefleet.simulator.laws.waiting import OnWaiting
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets


class KedaProductionStack(OnWaiting):
    def __init__(
        self, *, threshold: float = 5.0, cooldown_s: float = 360.0, polling_s: float = 15.0, sync_s: float = SYNC_S
    ) -> None:
        super().__init__(target=threshold, behavior=None, sync_s=sync_s, empty_is_zero=True)
        self._cooldown_s = cooldown_s
        self._poll = Interval(polling_s)
        self._active_s: float | None = None
        self._awake = True

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        if seen.fleet.scaling.min_replicas > 0:
            return super().targets(seen, sight)
        if not seen.blind and self._poll.due(seen.at_s):
            if self._active_s is None or self._wanted_by_anyone(seen):
                self._active_s = seen.at_s
            self._awake = seen.at_s - self._active_s < self._cooldown_s
        if not self._awake:
            return {ANY: 0}
        return super().targets(seen, sight) if asked(seen) > 0 else {ANY: 1}

    @staticmethod
    def _wanted_by_anyone(seen: Seen) -> bool:
        return (seen.arrivals_per_s or 0.0) > 0 or any(pod.waiting > 0 for pod in seen.pods)

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple({"threshold": threshold} for threshold in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0))
