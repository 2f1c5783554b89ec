"""How the prefix hit ratio changes with the number of replicas: learnt from the fleet's own history.

A router that does not look at prefixes spreads the turns of a session over all replicas, so a prefix that an earlier
turn left is met with a chance of about 1/N; what all requests share (a system prompt) is met everywhere. The ratio is
therefore taken as straight in 1/N, with a slope that is learnt as the fleet grows and shrinks. A router that follows
prefixes keeps sessions at home: its prior slope is 0.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, isfinite

from inferencefleet.domain.fleet import Routing
from inferencefleet.domain.routing import HitRecord

MEMORY_S = 6 * 3600.0
"""What was seen so long ago counts 1/e."""
SESSION_SHARE = 0.5
"""Prior: half of what is hit was left by the same session, the rest is shared by all."""
PRIOR_SPREAD2 = 0.01
"""The prior slope counts as much as observations with this variance of 1/N: about one doubling from 4 to 8."""
QUANTUM = 0.02
"""Predictions move in steps, so that capacities can be remembered."""


def remember(record: HitRecord, *, replicas: int, hit_ratio: float, at_s: float) -> HitRecord:
    """`record` after one more look at `replicas` engines that hit `hit_ratio` (0..1) of their prompt tokens."""
    if replicas < 1 or not isfinite(hit_ratio):
        return record
    kept = exp(-max(0.0, at_s - record.at_s) / MEMORY_S) if record.weight else 0.0
    x = 1.0 / replicas
    return replace(
        record,
        at_s=at_s,
        weight=kept * record.weight + 1.0,
        share=kept * record.share + x,
        hit=kept * record.hit + hit_ratio,
        share2=kept * record.share2 + x * x,
        share_hit=kept * record.share_hit + x * hit_ratio,
    )


def predict(record: HitRecord, routing: Routing, *, now: int, then: int, hit_ratio: float) -> float:
    """The ratio when `then` replicas serve, from that of `now` replicas."""
    if hit_ratio <= 0.0 or now < 1 or then < 1 or now == then:
        return hit_ratio
    slope = _slope(record, routing, now, hit_ratio)
    found = min(1.0, max(0.0, hit_ratio + slope * (1.0 / then - 1.0 / now)))
    return round(found / QUANTUM) * QUANTUM


def _slope(record: HitRecord, routing: Routing, now: int, hit_ratio: float) -> float:
    """Least squares of hits on 1/N, drawn to the prior; never negative, for more caches do not remember more."""
    prior = 0.0 if routing is Routing.PREFIX_AWARE else SESSION_SHARE * hit_ratio * now
    if not record.weight:
        return prior
    mean_share, mean_hit = record.share / record.weight, record.hit / record.weight
    spread2 = max(0.0, record.share2 / record.weight - mean_share * mean_share)
    together = record.share_hit / record.weight - mean_share * mean_hit
    return max(0.0, (together + PRIOR_SPREAD2 * prior) / (spread2 + PRIOR_SPREAD2))
