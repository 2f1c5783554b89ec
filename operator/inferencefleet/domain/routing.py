"""What is remembered of how a fleet's size changes what its prefix caches hit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRecord:
    """Sums of a straight line of hit ratio (0..1) on 1 / replicas that forgets; five numbers whatever the history."""

    at_s: float = 0.0
    """Time of the newest observation (epoch seconds)."""
    weight: float = 0.0
    """Observations."""
    share: float = 0.0
    """Of 1 / replicas, as all below weighted."""
    hit: float = 0.0
    share2: float = 0.0
    share_hit: float = 0.0
