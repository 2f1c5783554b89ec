"""llm-d's SLO-aware KEDA law: the peer with a published result (95.8 % of requests at 5.93 mean replicas).

Source: llm-d/llm-d, guides/workload-autoscaling/README.slo-aware.md (d38c9f0c) and slo-aware/README.md (1860df22).
Recording rules, every 15 s, over 1 min bucket rates:

    s_raw = max(P90 TTFT / SLO_ttft, P90 TPOT / SLO_tpot); no traffic = 0
    s     = avg_over_time(min(s_raw, 2.0))[45 s]

Formula, with n provisioned and r ready replicas, c = r / n where 0 < r < n, else 1:

    d = n + ceil(n (s c / 0.55 - 1))    if s > 0.55     (c: what warms already is not asked for again)
      = n - floor(n (1 - s / 0.40))     if s < 0.40
      = n                               between

Its HorizontalPodAutoscaler takes d as it is (averageValue 1): up max(100 %, 4 pods) in 60 s with 30 s stabilization,
down 1 pod in 120 s with 180 s stabilization. Taken literally, a small s with a small c asks for less than n; the
stabilization window of the way down, longer than a warm-up, hides it. The published run read the latencies that its
gateway predicts; the law falls back to measured ones, and those are what is seen here.
"""

from __future__ import annotations

import math

from inferencefleet.domain.observation import Histogram
from inferencefleet.domain.slo import SloMetric
from inferencefleet.simulator.laws.common import (
    CLOCK_SLACK_S,
    Interval,
    Knobs,
    asked,
    capped,
    existing,
    needs_latency_slo,
    ready,
    slo_target_s,
)
from inferencefleet.simulator.laws.hpa import SYNC_S, Behavior, Hpa, PolicyType, RatePolicy, Rules, from_average_value
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets

RULE_INTERVAL_S = 15.0


class LlmdSlo:
    def __init__(
        self,
        *,
        quantile: float = 0.9,
        clamp: float = 2.0,
        smoothing_s: float = 45.0,
        up_at: float = 0.55,
        down_at: float = 0.40,
        up_percent: int = 100,
        up_pods: int = 4,
        up_period_s: float = 60.0,
        up_stabilization_s: float = 30.0,
        down_period_s: float = 120.0,
        down_stabilization_s: float = 180.0,
    ) -> None:
        if not 0 < down_at <= up_at < clamp:
            raise ValueError(
                f"down_at={down_at}, up_at={up_at}, clamp={clamp}: the band is inverted; "
                "give 0 < down_at <= up_at < clamp"
            )
        self._quantile, self._clamp, self._smoothing_s = quantile, clamp, smoothing_s
        self._up_at, self._down_at = up_at, down_at
        self._behavior = Behavior(
            up=Rules(
                stabilization_s=up_stabilization_s,
                policies=(
                    RatePolicy(PolicyType.PERCENT, up_percent, up_period_s),
                    RatePolicy(PolicyType.PODS, up_pods, up_period_s),
                ),
            ),
            down=Rules(stabilization_s=down_stabilization_s, policies=(RatePolicy(PolicyType.PODS, 1, down_period_s),)),
        )
        self._hpa = Hpa(self._behavior, sync_s=SYNC_S)
        self._rules = Interval(RULE_INTERVAL_S)
        self._recorded: list[tuple[float, float]] = []

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        needs_latency_slo(seen.fleet, "the llm-d law")
        if not seen.blind and self._rules.due(seen.at_s):
            self._recorded.append((seen.at_s, min(self.raw_saturation(seen), self._clamp)))
        cutoff_s = seen.at_s - self._smoothing_s + CLOCK_SLACK_S
        self._recorded = [(when_s, value) for when_s, value in self._recorded if when_s > cutoff_s]
        scaling = seen.fleet.scaling
        wanted = self._hpa.step(
            seen.at_s,
            current=asked(seen),
            proposals=[self._proposal(seen)],
            least=scaling.min_replicas,
            most=scaling.max_replicas,
        )
        return {ANY: capped(wanted, seen.fleet)}

    def raw_saturation(self, seen: Seen) -> float:
        """Worst of both tails as a share of its SLO; an SLO that the fleet does not declare does not count."""
        return max(
            self._share(seen.ttft_s, slo_target_s(seen.fleet, SloMetric.TTFT)),
            self._share(seen.tpot_s, slo_target_s(seen.fleet, SloMetric.ITL)),
        )

    def desired(self, saturation: float, *, provisioned: int, ready_replicas: int) -> int:
        """The formula of the ScaledObject."""
        n = provisioned
        if saturation > self._up_at:
            credit = ready_replicas / n if 0 < ready_replicas < n else 1.0
            return n + math.ceil(n * (saturation * credit / self._up_at - 1))
        if saturation < self._down_at:
            return n - math.floor(n * (1 - saturation / self._down_at))
        return n

    def _share(self, histogram: Histogram | None, target_s: float | None) -> float:
        tail = histogram.quantile(self._quantile) if histogram is not None else None
        return tail / target_s if tail is not None and target_s else 0.0

    def _proposal(self, seen: Seen) -> int | None:
        if seen.blind or not self._recorded:
            return None
        saturation = sum(value for _, value in self._recorded) / len(self._recorded)
        provisioned = len(existing(seen))
        desired = self.desired(saturation, provisioned=provisioned, ready_replicas=ready(seen))
        return from_average_value(desired, 1.0, replicas=provisioned, behavior=self._behavior)

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"up_at": up_at, "down_at": down_at, "down_period_s": period_s}
            for up_at, down_at in ((0.40, 0.25), (0.55, 0.40), (0.75, 0.55))
            for period_s in (60.0, 120.0)
        )
