"""Why a placement is what it is: the sum that leads to it, what stood in the way of cheaper, and what is lacking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inferencefleet.domain.fleet import FleetKey, Routing
from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.place import Placement
from inferencefleet.planning.placement.case import MIXED_SHARE, Case, Mode, Option, limit_load
from inferencefleet.planning.placement.measure import Shortage, after_loss, spent, worth
from inferencefleet.planning.placement.solve import mode_of


@dataclass(slots=True)
class Holders:
    """Fleets of one priority in one pool."""

    gpus: int = 0
    fleets: int = 0
    first: FleetKey | None = None
    """The one that holds most."""
    most: int = 0

    def add(self, key: FleetKey, gpus: int) -> None:
        self.gpus += gpus
        self.fleets += 1
        if gpus > self.most:
            self.first, self.most = key, gpus


@dataclass(slots=True)
class Around:
    """What a fleet's own numbers do not say: who holds the pools that are full."""

    limited: Mapping[str, float]
    used: dict[str, float] = field(default_factory=dict)
    holders: dict[str, dict[int, Holders]] = field(default_factory=dict)
    """By pool and priority."""

    @classmethod
    def of(cls, cases: Sequence[Case], counts: Sequence[Sequence[int]], limited: Mapping[str, float]) -> Around:
        around = cls(limited=limited)
        for case, mine in zip(cases, counts, strict=True):
            for option, n in zip(case.options, mine, strict=True):
                if n and option.pool in limited:
                    gpus = n * limit_load(option.gpus, option.offer)
                    around.used[option.pool] = around.used.get(option.pool, 0.0) + gpus
                    levels = around.holders.setdefault(option.pool, {})
                    levels.setdefault(case.claim.priority, Holders()).add(case.claim.key, n * option.gpus)
        return around

    def is_full(self, option: Option) -> bool:
        """Not one replica more fits into what all fleets together may hold."""
        pool = option.pool
        if pool not in self.limited:
            return False
        return self.used.get(pool, 0.0) + limit_load(option.gpus, option.offer) > self.limited[pool] + 1e-6


def told(case: Case, counts: Sequence[int], around: Around, lacking: Shortage) -> Placement:
    """The placement with its derivation."""
    replicas = {room.pool: 0 for room in case.claim.rooms}
    for option, n in zip(case.options, counts, strict=True):
        replicas[option.pool] = n
    verdicts: list[Verdict] = []
    if case.modes:
        mode = mode_of(case, counts)[1]
        verdicts = [*_passed_over(case, counts, mode, around), *_hedge(case, counts, mode, lacking)]
        if lacking.survival_requests_per_s > 1e-9:
            verdicts.append(_unhedged(case, counts))
    if lacking.requests_per_s > 0 or lacking.replicas > 0:
        verdicts += _short(case, counts, around)
    return Placement(replicas=replicas, verdicts=tuple(verdicts), sized=sized(case, counts))


def sized(case: Case, counts: Sequence[int]) -> Verdict:
    """The sum that anybody can do again."""
    need, total = case.claim.need, sum(counts)
    used = [(option, n) for option, n in zip(case.options, counts, strict=True) if n > 0]
    where = ", ".join(
        f"{n} in {option.pool} (${option.room.sizing.marginal_price_per_hour:.2f}/h more each)" for option, n in used
    )
    speeds = {option.speed for option, _ in used}
    each = f"at {min(speeds, default=0.0):.2f} planned for a replica"
    if len(speeds) > 1 and case.claim.routing is not Routing.UNIFORM:
        parts = " + ".join(f"{n} x {option.speed:.2f}" for option, n in used)
        each = f"at {MIXED_SHARE} x ({parts}) behind a gateway that learns who is slower"
    return Verdict(
        code=Reason.SIZED,
        sentence=(
            f"{need.requests_per_s:.2f} req/s {each}, at least {need.floor}: {total} replicas, cheapest first: "
            f"{where or 'none'}"
        ),
        after=total,
    )


def _passed_over(case: Case, counts: Sequence[int], mode: Mode, around: Around) -> list[Verdict]:
    """Each cheaper option that is not used although a dearer one is, with what stood in the way."""
    verdicts = []
    used = [i for i in mode.members if counts[i] > 0]
    dearest = max((case.options[i].cost for i in used), default=0.0)
    for i in mode.members:
        option = case.options[i]
        if option.cost >= dearest - 1e-9:
            continue
        verdict = _obstacle(case, counts, i, mode, around, dearest)
        if verdict is not None:
            verdicts.append(verdict)
    return verdicts


def _obstacle(case: Case, counts: Sequence[int], i: int, mode: Mode, around: Around, dearest: float) -> Verdict | None:
    option, here = case.options[i], counts[i]
    if here >= option.most:
        return Verdict(code=option.room.limited_by, sentence=option.room.limit_sentence, before=here, after=option.most)
    if around.is_full(option):
        return _held(case, option, here, around)
    on_spot = sum(counts[j] for j in mode.members if case.options[j].spot)
    if option.spot and on_spot >= mode.spot_most:
        return Verdict(
            code=Reason.SPOT_LIMIT,
            sentence=f"spec.placement.spot.maxFraction allows {mode.spot_most} spot replicas",
            before=here,
            after=mode.spot_most,
        )
    staying = [
        (other, n)
        for other, n in zip(case.options, counts, strict=True)
        if n > 0 and other.cost > option.cost and min(n, other.current) > 0
    ]
    if here >= option.current and staying and option.start >= staying[0][0].cost - option.cost:
        other, n = staying[0]
        return Verdict(
            code=Reason.STAYING,
            sentence=(
                f"{min(n, other.current)} replicas stay in {other.pool}: {option.pool} saves "
                f"${other.cost - option.cost:.2f}/h each, and starting one there wastes ${option.start:.2f}"
            ),
            before=here,
            after=here,
        )
    return _hedged_out(case, counts, i) if option.spot and case.hedged else None


def _hedged_out(case: Case, counts: Sequence[int], i: int) -> Verdict | None:
    """Would one replica more on spot, in place of the dearest elsewhere, be too many to lose?"""
    option, survival = case.options[i], case.claim.need.survival_requests_per_s
    elsewhere = max((j for j, n in enumerate(counts) if n > 0 and not case.options[j].spot), default=None)
    if elsewhere is None:
        return None
    moved = list(counts)
    moved[i] += 1
    moved[elsewhere] -= 1
    left = after_loss(case, moved)
    if left >= survival - 1e-9:
        return None
    return Verdict(
        code=Reason.SPOT_HEDGE,
        sentence=(
            f"no more than {counts[i]} replicas on {option.pool}: with one more, the loss of "
            f"{_worst_loss(case, moved)} would leave {left:.2f} req/s of {survival:.2f} that must survive"
        ),
        before=counts[i] + 1,
        after=counts[i],
    )


def _held(case: Case, option: Option, here: int, around: Around) -> Verdict:
    """The pool is full: whom do its GPUs serve?"""
    levels, limit = around.holders.get(option.pool, {}), around.limited[option.pool]
    above = [levels[priority] for priority in sorted(levels, reverse=True) if priority > case.claim.priority]
    if above:
        gpus, fleets = sum(holders.gpus for holders in above), sum(holders.fleets for holders in above)
        return Verdict(
            code=Reason.PRIORITY,
            sentence=(
                f"{gpus} of {limit:.0f} GPUs of {option.pool} serve {fleets} fleet(s) of higher priority, "
                f"{above[0].first} first; this fleet has priority {case.claim.priority}"
            ),
            before=here,
            after=here,
        )
    gpus = sum(holders.gpus for holders in levels.values()) - here * option.gpus
    fleets = sum(holders.fleets for holders in levels.values()) - (1 if here else 0)
    return Verdict(
        code=Reason.SHARED_POOL,
        sentence=(
            f"{gpus} of {limit:.0f} GPUs of {option.pool} serve {fleets} other fleet(s), where they save or serve "
            f"more; {here} replicas of this one fit"
        ),
        before=here,
        after=here,
    )


def _hedge(case: Case, counts: Sequence[int], mode: Mode, lacking: Shortage) -> list[Verdict]:
    total = sum(counts)
    spare = total - mode.target
    if not mode.whole:
        slowest = MIXED_SHARE * min(case.options[i].speed for i in mode.members if counts[i] > 0)
        spare = int((worth(case, counts) - case.claim.need.requests_per_s) / slowest)
    left = after_loss(case, counts) if case.hedged else math.inf
    if math.isinf(left) or spare <= 0 or lacking.survival_requests_per_s > 1e-9:
        return []
    return [
        Verdict(
            code=Reason.SPOT_HEDGE,
            sentence=(
                f"{spare} more than demand needs, so that the loss of {_worst_loss(case, counts)} leaves "
                f"{left:.2f} req/s of {case.claim.need.survival_requests_per_s:.2f} that must "
                "survive"
            ),
            before=total - spare,
            after=total,
        )
    ]


def _worst_loss(case: Case, counts: Sequence[int]) -> str:
    losses = [
        (min(n, option.loss) * option.speed, option.pool, min(n, option.loss))
        for option, n in zip(case.options, counts, strict=True)
        if option.spot and n > 0
    ]
    _, pool, lost = max(losses, default=(0.0, "spot", 0))
    return f"{lost} replicas of {pool} at once"


def _unhedged(case: Case, counts: Sequence[int]) -> Verdict:
    return Verdict(
        code=Reason.SPOT_HEDGE,
        sentence=(
            f"the loss of {_worst_loss(case, counts)} would leave {after_loss(case, counts):.2f} req/s of "
            f"{case.claim.need.survival_requests_per_s:.2f} that must survive; more needs room off spot, budget or "
            "maxReplicas"
        ),
        before=sum(counts),
        after=sum(counts),
    )


def _short(case: Case, counts: Sequence[int], around: Around) -> list[Verdict]:
    need, total, got = case.claim.need, sum(counts), worth(case, counts)
    wanted = _wanted(case)
    if total >= case.ceiling:
        sentence = f"maxReplicas={need.ceiling} is worth {got:.2f} req/s of {need.requests_per_s:.2f}; raise it"
        return [Verdict(code=Reason.MAX_REPLICAS, sentence=sentence, before=wanted, after=total)]
    short = f"{total} replicas are worth {got:.2f} req/s of {need.requests_per_s:.2f}"
    if got >= need.requests_per_s:
        short = f"{total} replicas are fewer than minReplicas={need.floor}"
    budget = _beyond_budget(case, counts, around)
    if budget is not None:
        sentence = (
            f"{short}; one more costs ${budget:.2f}/h and exceeds spec.budget of ${case.claim.budget_per_hour:.2f}/h"
        )
        return [Verdict(code=Reason.BUDGET, sentence=f"{sentence}; raise it", before=wanted, after=total)]
    held = [
        _held(case, option, n, around)
        for option, n in zip(case.options, counts, strict=True)
        if around.is_full(option) and n < option.most
    ]
    first = [verdict for verdict in held if verdict.code is Reason.PRIORITY][:1]
    sentence = (
        f"{short} and no pool has room for more; raise spec.limits.gpus of a GPUPool, allow more spot, or add a pool"
    )
    return [*first, Verdict(code=Reason.NOT_ENOUGH_GPUS, sentence=sentence, before=wanted, after=total)]


def _wanted(case: Case) -> int:
    """Replicas that demand asks for, room, money and maxReplicas or not, where they are counted by the slowest."""
    return max((case.claim.need.floor, *(math.ceil(mode.need_units) for mode in case.modes)))


def _beyond_budget(case: Case, counts: Sequence[int], around: Around) -> float | None:
    """Price of the cheapest replica that there is room for and no money."""
    budget = case.claim.budget_per_hour
    if budget is None:
        return None
    prices = [
        option.price
        for option, n in zip(case.options, counts, strict=True)
        if n < option.most and not around.is_full(option)
    ]
    cheapest = min(prices, default=0.0)
    return cheapest if spent(case, counts) + cheapest > budget + 1e-9 else None
