"""What capacity types cost and warn beforehand, as quoted by public guides: orders of magnitude, never a price.

Plans use the prices of the pools. These ranges answer "is my spot price unusual?" and fill a gap only where a person
says so. Sources disagree; all are kept, each with its own words in `source`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedTier:
    """Price of one capacity type as a share of the on-demand price, and the notice before it is taken away."""

    capacity_type: str
    """`OnDemand`, `Reserved` or `Spot`, as in a GPUPool."""
    low: float
    high: float
    notice_low_s: float | None = None
    """None: not interrupted, or not said."""
    notice_high_s: float | None = None
    source: str = ""

    def usd_per_gpu_hour(self, on_demand_usd_per_gpu_hour: float) -> tuple[float, float]:
        """Range of prices that this quote expects for a GPU of this on-demand price."""
        return on_demand_usd_per_gpu_hour * self.low, on_demand_usd_per_gpu_hour * self.high


_COST_GUIDE = "inference cost optimisation guide, price tier table, as quoted"
_PLANNING = "LLM compute planning, section 27.5, as quoted"
_CAPACITY = "compute planning, section 57.1, as quoted"
_FORECAST = "token-per-dollar forecasting article, as quoted"

QUOTED_TIERS: tuple[QuotedTier, ...] = (
    QuotedTier(capacity_type="OnDemand", low=1.0, high=1.0, source=_COST_GUIDE),
    QuotedTier(capacity_type="Reserved", low=0.55, high=0.65, source=f"{_COST_GUIDE}; one year"),
    QuotedTier(capacity_type="Reserved", low=0.40, high=0.70, source=f"{_CAPACITY}; 30-60 % off, any term"),
    QuotedTier(capacity_type="Spot", low=0.25, high=0.40, notice_low_s=120, notice_high_s=900, source=_COST_GUIDE),
    QuotedTier(capacity_type="Spot", low=0.30, high=0.40, source=f"{_PLANNING}; 60-70 % off"),
    # "up to 70 % more tokens per dollar" is a price of 1 / 1.7.
    QuotedTier(capacity_type="Spot", low=1 / 1.7, high=1.0, source=f"{_FORECAST}; up to 70 % more tokens per dollar"),
)


def quoted_tiers(capacity_type: str) -> tuple[QuotedTier, ...]:
    """Every quote for a capacity type; ValueError names those that exist."""
    found = tuple(tier for tier in QUOTED_TIERS if tier.capacity_type == capacity_type)
    if not found:
        known = ", ".join(sorted({tier.capacity_type for tier in QUOTED_TIERS}))
        raise ValueError(f"capacity_type = {capacity_type!r}: no quotes; use one of {known}")
    return found
