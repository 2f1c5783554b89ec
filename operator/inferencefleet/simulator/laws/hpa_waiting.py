"""A HorizontalPodAutoscaler on the queue, as the seed document "inference cost optimisation" prints it.

Its YAML: External metric, averageValue 50 requests for each pod; scaleUp stabilization 60 s and 2 Pods in 120 s,
scaleDown stabilization 300 s and no policy of its own (so 100 % in 15 s); minReplicas 2, maxReplicas 8, which are the
fleet's here. Its metric name is a placeholder for vLLM's `vllm:num_requests_waiting`. Its second metric, GPU
utilisation (averageValue 75 %), is left out: it reads near 100 % whenever one request runs, so it asks for the maximum
at all times, and a replica on two GPUs counts twice.
"""

from __future__ import annotations

from inferencefleet.simulator.laws.common import Knobs
from inferencefleet.simulator.laws.hpa import DEFAULT_DOWN, SYNC_S, Behavior, PolicyType, RatePolicy, Rules
from inferencefleet.simulator.laws.waiting import OnWaiting


class HpaOnWaiting(OnWaiting):
    def __init__(
        self,
        *,
        average_waiting: float = 50.0,
        up_stabilization_s: float = 60.0,
        up_pods: int = 2,
        up_period_s: float = 120.0,
        down_stabilization_s: float = 300.0,
    ) -> None:
        behavior = Behavior(
            up=Rules(stabilization_s=up_stabilization_s, policies=(RatePolicy(PolicyType.PODS, up_pods, up_period_s),)),
            down=Rules(stabilization_s=down_stabilization_s, policies=DEFAULT_DOWN.policies),
        )
        super().__init__(target=average_waiting, behavior=behavior, sync_s=SYNC_S, empty_is_zero=False)

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"average_waiting": waiting, "up_stabilization_s": stabilization_s, "up_pods": 8}
            for waiting in (1.0, 5.0, 20.0)
            for stabilization_s in (0.0, 60.0)
        )
