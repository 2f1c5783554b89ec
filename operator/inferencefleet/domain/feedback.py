"""What the measured attainment of a fleet has made of the utilisation that it is planned with."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp


@dataclass(frozen=True, slots=True)
class Feedback:
    """One number that follows the misses, and when it was last moved."""

    factor_log: float = 0.0
    """Log of the factor on utilisation: below 0 more care than the models ask for."""
    looked_s: float | None = None
    """End of the last window that counted (epoch seconds)."""

    @property
    def factor(self) -> float:
        return exp(self.factor_log)
