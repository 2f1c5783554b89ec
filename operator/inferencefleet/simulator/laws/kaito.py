"""KAITO's KEDA scaler.

Source: kaito-project/kaito, website/docs/keda-autoscaler-inference.md (056b8280b, 2026-08-21), as its
HorizontalPodAutoscaler is described there: `vllm:num_requests_waiting`, threshold 10, Scale Up stabilization 60 s and
1 pod in 300 s, Scale Down stabilization 300 s and 1 pod in 600 s, selectPolicy Max.
"""

from __future__ import annotations

from inferencefleet.simulator.laws.common import Knobs
from inferencefleet.simulator.laws.hpa import SYNC_S, Behavior, PolicyType, RatePolicy, Rules
from inferencefleet.simulator.laws.waiting import OnWaiting


class Kaito(OnWaiting):
    def __init__(
        self,
        *,
        threshold: float = 10.0,
        up_stabilization_s: float = 60.0,
        up_period_s: float = 300.0,
        down_stabilization_s: float = 300.0,
        down_period_s: float = 600.0,
    ) -> None:
        behavior = Behavior(
            up=Rules(stabilization_s=up_stabilization_s, policies=(RatePolicy(PolicyType.PODS, 1, up_period_s),)),
            down=Rules(stabilization_s=down_stabilization_s, policies=(RatePolicy(PolicyType.PODS, 1, down_period_s),)),
        )
        super().__init__(target=threshold, behavior=behavior, sync_s=SYNC_S, empty_is_zero=True)

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"threshold": threshold, "up_period_s": up_s, "down_period_s": down_s}
            for threshold in (1.0, 10.0)
            for up_s in (60.0, 300.0)
            for down_s in (120.0, 600.0)
        )
