"""NVIDIA Dynamo planner, throughput mode: a forecast divided by a profile.

Source: ai-dynamo/dynamo, docs/design-docs/planner-design.md (320e674b, "Throughput-Based Scaling"),
planner-config-reference.mdx (08db9ac2) and core/throughput_scaling.py. Every 180 s:

    requests of the next interval = predictor(requests of the intervals before)      (arima is the default)
    replicas = max(min_endpoint, ceil(requests / 180 s / requests per second of one engine within the SLA))

The engine's rate is the profile that a replay hands to peers: the planner's own comes from hours of measuring.
"""

from __future__ import annotations

import math

from inferencefleet.simulator.laws.common import Interval, Knobs, asked, capped, profiled_per_s
from inferencefleet.simulator.laws.dynamo_predict import PREDICTORS
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets


class DynamoThroughput:
    def __init__(self, *, interval_s: float = 180.0, predictor: str = "arima") -> None:
        if predictor not in PREDICTORS:
            raise ValueError(f"predictor={predictor!r}: not one of {', '.join(PREDICTORS)}; choose one of them")
        self._interval_s = interval_s
        self._decides = Interval(interval_s)
        self._predictor = PREDICTORS[predictor]()
        self._rates: list[float] = []
        self._target: int | None = None

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        floor = self.floor(seen)
        return {ANY: capped(asked(seen) if floor is None else floor, seen.fleet)}

    def floor(self, seen: Seen) -> int | None:
        """The newest number of replicas, before the bounds; None = nothing was decided yet."""
        if not seen.blind and seen.arrivals_per_s is not None:
            self._rates.append(seen.arrivals_per_s)
        rate = profiled_per_s(seen)
        if self._decides.due(seen.at_s) and self._rates and rate is not None:
            self._predictor.add(sum(self._rates) / len(self._rates) * self._interval_s)
            self._rates = []
            self._target = math.ceil(self._predictor.next() / self._interval_s / rate - 1e-9)
        return self._target

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"interval_s": interval_s, "predictor": predictor}
            for interval_s in (60.0, 180.0)
            for predictor in PREDICTORS
        )
