"""What a placement is worth, lacks and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inferencefleet.domain.fleet import Routing
from inferencefleet.planning.placement.case import HEDGE_SHARE, MIXED_SHARE, Case


def worth(case: Case, counts: Sequence[float]) -> float:
    """Planned requests/s of so many replicas in each option, as the fleet's routing spreads its requests."""
    used = [(option.speed, n) for option, n in zip(case.options, counts, strict=True) if n > 0]
    if not used:
        return 0.0
    speeds = [speed for speed, _ in used]
    if case.claim.routing is Routing.UNIFORM:
        return sum(n for _, n in used) * min(speeds)
    share = 1.0 if min(speeds) == max(speeds) else MIXED_SHARE
    return share * sum(speed * n for speed, n in used)


def after_loss(case: Case, counts: Sequence[int]) -> float:
    """Requests/s after the worst plausible loss of one spot pool; infinite without spot. Survivors keep the way in
    which they are counted: a slow replica that is left still slows the rest, and one that is gone did so before."""
    lost = [
        worth(case, counts) - _share_lost(case, counts, index)
        for index, option in enumerate(case.options)
        if option.spot and min(counts[index], option.loss) > 0
    ]
    return min(lost, default=math.inf)


def _share_lost(case: Case, counts: Sequence[int], index: int) -> float:
    gone = min(counts[index], case.options[index].loss)
    if case.claim.routing is Routing.UNIFORM:
        return worth(case, counts) * gone / sum(counts)
    speeds = {option.speed for option, n in zip(case.options, counts, strict=True) if n > 0}
    return case.options[index].speed * gone * (1.0 if len(speeds) == 1 else MIXED_SHARE)


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
    return sum(
        option.cost * n + option.start * max(0, n - option.current)
        for option, n in zip(case.options, counts, strict=True)
    )


def spent(case: Case, counts: Sequence[int]) -> float:
    """Dollars per hour at list prices, as budgets count."""
    return sum(option.price * n for option, n in zip(case.options, counts, strict=True))
