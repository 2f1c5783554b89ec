"""Service level objectives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SloMetric(StrEnum):
    """`ttft`: time to first token. `itl`: inter-token latency. `e2e`: the whole request."""

    TTFT = "ttft"
    ITL = "itl"
    E2E = "e2e"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Slo:
    """`percentile` percent of all values of `metric` are at most `target_s` seconds."""

    metric: SloMetric
    percentile: int
    target_s: float

    def __str__(self) -> str:
        target = f"{self.target_s * 1000:.0f}ms" if self.target_s < 1 else f"{self.target_s:g}s"
        return f"{self.metric} p{self.percentile} <= {target}"
