"""What a placement is worth, lacks and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inferencefleet.domain.fleet import Routing
from inferencefleet.planning.placement.case import HEDGE_SHARE, MIXED_SHARE, Case


def worth(case: Case, counts: Sequence[float]) -> float:
    """Planned requests/s of so many replicas in each option, as the fleet's routing spreads its requests."""
    slowest, fastest, total, served = math.inf, 0.0, 0.0, 0.0
    for option, n in zip(case.options, counts, strict=True):
        if n > 0:
            speed = option.speed
            total += n
            served += speed * n
            slowest = min(slowest, speed)
            fastest = max(fastest, speed)
    if total == 0:
        return 0.0
    if case.claim.routing is Routing.UNIFORM:
        return total * slowest
    return served if slowest == fastest else MIXED_SHARE * served


def after_loss(case: Case, counts: Sequence[int]) -> float:
    """Requests/s after the worst plausible loss of one spot pool; infinite without spot. Survivors keep the way in
    which they are counted: a slow replica that is left still slows the rest, and one that is gone did so before."""
    lost = [
        (option.speed, min(n, option.loss))
        for option, n in zip(case.options, counts, strict=True)
        if n > 0 and option.spot and option.loss > 0
    ]
    if not lost:
        return math.inf
    whole = worth(case, counts)
    if case.claim.routing is Routing.UNIFORM:
        return whole * (1.0 - max(gone for _, gone in lost) / sum(counts))
    served = sum(option.speed * n for option, n in zip(case.options, counts, strict=True))
    return whole * (1.0 - max(speed * gone for speed, gone in lost) / served)


@dataclass(slots=True)
class Shortage:
    """What a placement lacks."""

    requests_per_s: float
    replicas: int
    """Below the floor."""
    survival_requests_per_s: float
    """That a plausible loss of spot nodes would leave unserved."""

    @property
    def any(self) -> bool:
        return self.requests_per_s > 1e-7 or self.replicas > 0 or self.survival_requests_per_s > 1e-7


def shortage(case: Case, counts: Sequence[int]) -> Shortage:
    need = case.claim.need
    lacking = max(0.0, need.requests_per_s - worth(case, counts))
    survival = min(need.survival_requests_per_s, need.requests_per_s)
    return Shortage(
        requests_per_s=lacking if lacking > 1e-9 * (1.0 + need.requests_per_s) else 0.0,
        replicas=max(0, case.floor - sum(counts)),
        survival_requests_per_s=max(0.0, survival - after_loss(case, counts)) if case.hedged else 0.0,
    )


def priced(case: Case, lacking: Shortage) -> float:
    """Dollars per hour of requests that are not served and of replicas that were declared and are not there."""
    fastest = max((option.speed for option in case.options), default=0.0)
    return case.price * (lacking.requests_per_s + fastest * lacking.replicas)


def missing(case: Case, counts: Sequence[int]) -> float:
    """Dollars per hour of all that is lacking, with what only a loss of spot nodes would make missing."""
    lacking = shortage(case, counts)
    unsafe = HEDGE_SHARE * case.price * lacking.survival_requests_per_s
    return priced(case, lacking) + unsafe


def cost(case: Case, counts: Sequence[int]) -> float:
    """Dollars per hour, with what starting wastes; nodes by their share."""
    dollars = 0.0
    for option, n in zip(case.options, counts, strict=True):
        if n:
            dollars += option.cost * n
            if n > option.current:
                dollars += option.start * (n - option.current)
    return dollars


def spent(case: Case, counts: Sequence[int]) -> float:
    """Dollars per hour at list prices, as budgets count."""
    return sum(option.price * n for option, n in zip(case.options, counts, strict=True))
