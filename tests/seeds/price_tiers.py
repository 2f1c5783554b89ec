"""What capacity types cost and warn beforehand, as quoted: sources disagree, and all are kept, each with its words."""

from __future__ import annotations

from dataclasses import dataclass

from inferencefleet.domain.pool import CapacityType


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedTier:
    """Price of one capacity type as a share of the on-demand price, and the notice before it is taken away."""

    capacity_type: CapacityType
    low: float
    high: float
    notice_low_s: float | None = None
    """None: not interrupted, or not said."""
    notice_high_s: float | None = None
    source: str


_COST_GUIDE = "inference cost optimisation guide, price tier table, as quoted"
_PLANNING = "LLM compute planning, section 27.5, as quoted"
_CAPACITY = "compute planning, section 57.1, as quoted"
_FORECAST = "token-per-dollar forecasting article, as quoted"
_ON_DEMAND, _RESERVED, _SPOT = CapacityType.ON_DEMAND, CapacityType.RESERVED, CapacityType.SPOT

QUOTED_TIERS: tuple[QuotedTier, ...] = (
    QuotedTier(capacity_type=_ON_DEMAND, low=1.0, high=1.0, source=_COST_GUIDE),
    QuotedTier(capacity_type=_RESERVED, low=0.55, high=0.65, source=f"{_COST_GUIDE}; one year"),
    QuotedTier(capacity_type=_RESERVED, low=0.40, high=0.70, source=f"{_CAPACITY}; 30-60 % off, any term"),
    QuotedTier(capacity_type=_SPOT, low=0.25, high=0.40, notice_low_s=120, notice_high_s=900, source=_COST_GUIDE),
    QuotedTier(capacity_type=_SPOT, low=0.30, high=0.40, source=f"{_PLANNING}; 60-70 % off"),
    # "up to 70 % more tokens per dollar" is a price of 1 / 1.7.
    QuotedTier(capacity_type=_SPOT, low=1 / 1.7, high=1.0, source=f"{_FORECAST}; up to 70 % more tokens per dollar"),
)
