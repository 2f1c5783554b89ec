"""What the conditions of a fleet say, each from the plan and what was observed."""

from __future__ import annotations

from collections.abc import Sequence

from inferencefleet.control.report.conditions import Statement
from inferencefleet.control.report.slo import SloReading
from inferencefleet.domain.fleet import Fleet, Mode, Problem
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Replica
from inferencefleet.domain.plan import FleetPlan, Reason

FIRST_SCRAPE_S = 60.0
"""Two scrape intervals of the usual 30 s: missing samples are news only after that."""
CLAMPS = (
    Reason.METRICS_MISSING,
    Reason.NOT_ENOUGH_GPUS,
    Reason.BUDGET,
    Reason.MAX_REPLICAS,
    Reason.RATE_LIMITED,
    Reason.BACKLOG_DRAIN,
    Reason.COOLING_DOWN,
    Reason.STABILIZING,
    Reason.WITHIN_TOLERANCE,
    Reason.MIN_REPLICAS,
    Reason.WAITING_FOR_GPUS,
    Reason.WAITING_FOR_REPLACEMENT,
)
"""Verdicts that kept the number of replicas from what demand alone would have."""


def fleet_statements(
    fleet: Fleet,
    plan: FleetPlan,
    metrics: FleetMetrics | MetricsGap,
    readings: Sequence[SloReading],
    refusal: str | None,
    serving_s: float,
    failing: Sequence[Replica],
) -> list[Statement]:
    """All conditions of a fleet whose spec could be read, in the order an SRE reads them.

    `serving_s` is how long some replica has served without a break.
    """
    ready = sum(pool.ready for pool in plan.pools)
    return [
        _ready(fleet, plan, ready, failing),
        slo_attained(readings),
        _capacity(plan),
        *_budget(fleet, plan),
        metrics_available(metrics, ready, serving_s),
        _recommendation(fleet, plan),
        _scaling_active(fleet, plan, refusal),
        _scaling_limited(plan),
        _stalled(plan.problems if not plan.pools else ()),
    ]


def broken_statements(problems: Sequence[Problem], ready: int) -> list[Statement]:
    """Conditions of a fleet whose spec cannot be read: nothing is changed, what runs keeps running."""
    first = problems[0]
    message = "; ".join(str(problem) for problem in problems)
    return [
        Statement(type="Ready", holds=False, reason=first.code, message=f"{ready} replicas serve unchanged. {message}"),
        Statement(type="RecommendationProvided", holds=False, reason=first.code, message=message),
        Statement(type="ScalingActive", holds=False, reason=first.code, message="replicas stay as they are"),
        _stalled(problems),
    ]


def _ready(fleet: Fleet, plan: FleetPlan, ready: int, failing: Sequence[Replica]) -> Statement:
    least = max(1, fleet.scaling.min_replicas)
    if not plan.pools:
        return Statement(type="Ready", holds=False, reason=plan.reason, message=plan.sentence)
    message = f"{ready} of {plan.replicas} replicas serve, at least {least} must"
    if failing:
        message += f"; {len(failing)} cannot start, {failing[0].name}: {failing[0].message}"
    if ready >= least:
        return Statement(type="Ready", holds=True, reason="Serving", message=message)
    if failing:
        return Statement(type="Ready", holds=False, reason="ReplicasFailing", message=message)
    starting = sum(pool.starting for pool in plan.pools)
    if fleet.scaling.mode is not Mode.AUTO and not starting:
        says = f"{message}; spec.scaling.mode is {fleet.scaling.mode}, so none is started"
        return Statement(type="Ready", holds=False, reason="NotActing", message=says)
    return Statement(type="Ready", holds=False, reason="Starting", message=f"{message}; {starting} are on their way")


def slo_attained(readings: Sequence[SloReading]) -> Statement:
    """Over the rate window: does every percentile hold now?"""
    known = [reading for reading in readings if reading.share is not None]
    if not known:
        return Statement(
            type="SLOAttained", holds=None, reason="NoRequests", message="no request finished in the window"
        )
    missed = [reading for reading in known if not reading.holds]
    message = "; ".join(reading.sentence for reading in (missed or known))
    return Statement(
        type="SLOAttained", holds=not missed, reason="SLOMissed" if missed else "SLOAttained", message=message
    )


def _capacity(plan: FleetPlan) -> Statement:
    if not plan.pools:
        return Statement(type="CapacityAvailable", holds=None, reason=plan.reason, message=plan.sentence)
    for verdict in plan.verdicts:
        if verdict.code is Reason.NOT_ENOUGH_GPUS:
            return Statement(type="CapacityAvailable", holds=False, reason=verdict.code, message=verdict.sentence)
    blocked = [pool for pool in plan.pools if pool.blocked]
    if blocked:
        message = "; ".join(f"{pool.blocked} replicas find no node in {pool.pool}" for pool in blocked)
        return Statement(type="CapacityAvailable", holds=False, reason=Reason.POOL_EXHAUSTED, message=message)
    return Statement(
        type="CapacityAvailable", holds=True, reason="Placed", message=f"{plan.replicas} replicas have a place"
    )


def _budget(fleet: Fleet, plan: FleetPlan) -> list[Statement]:
    """Only where there is one: a condition that says nothing would hide those that do."""
    most = fleet.most_per_hour
    if most is None or not plan.pools:
        return []
    costs = f"{plan.hourly_cost:.2f} of at most {most:.2f} an hour"
    for verdict in plan.verdicts:
        if verdict.code is Reason.BUDGET:
            message = f"{verdict.sentence}; {costs}"
            return [Statement(type="WithinBudget", holds=False, reason=Reason.BUDGET, message=message)]
    if plan.hourly_cost > most:
        message = f"{costs}; replicas that are being replaced, or that others do not stand in for yet, are paid twice"
        return [Statement(type="WithinBudget", holds=False, reason="Overspending", message=message)]
    return [Statement(type="WithinBudget", holds=True, reason="WithinBudget", message=costs)]


def metrics_available(metrics: FleetMetrics | MetricsGap, ready: int, serving_s: float) -> Statement:
    """Unknown until a replica has served for as long as a first scrape may take: nobody can report before."""
    if isinstance(metrics, FleetMetrics):
        return Statement(
            type="MetricsAvailable", holds=True, reason="Fresh", message=f"{metrics.engines} engines report"
        )
    if metrics.code == "NoSamples" and (ready == 0 or serving_s < FIRST_SCRAPE_S):
        message = "no replica serves yet" if ready == 0 else "the first replica has just begun to serve"
        return Statement(type="MetricsAvailable", holds=None, reason="WaitingForSamples", message=message)
    return Statement(type="MetricsAvailable", holds=False, reason=metrics.code, message=metrics.sentence)


def _recommendation(fleet: Fleet, plan: FleetPlan) -> Statement:
    if not plan.pools:
        return Statement(type="RecommendationProvided", holds=False, reason=plan.reason, message=plan.sentence)
    if fleet.scaling.mode is Mode.OFF:
        message = "spec.scaling.mode is Off: nothing is recommended"
        return Statement(type="RecommendationProvided", holds=False, reason="Off", message=message)
    warning = "".join(f"; {problem}" for problem in plan.problems)
    placed = sum(pool.placed for pool in plan.pools)
    return Statement(
        type="RecommendationProvided",
        holds=True,
        reason=plan.problems[0].code if plan.problems else "Planned",
        message=f"{placed} replicas: {plan.sentence}{warning}",
    )


def _scaling_active(fleet: Fleet, plan: FleetPlan, refusal: str | None) -> Statement:
    if refusal is not None:
        return Statement(type="ScalingActive", holds=False, reason="ApplyRefused", message=refusal)
    if not plan.pools:
        return Statement(type="ScalingActive", holds=False, reason=plan.reason, message="replicas stay as they are")
    if fleet.scaling.mode is Mode.OFF:
        message = "spec.scaling.mode is Off: replicas stay as they are"
        return Statement(type="ScalingActive", holds=False, reason="Off", message=message)
    if fleet.scaling.mode is not Mode.AUTO:
        message = f"spec.scaling.mode is {fleet.scaling.mode}: the plan is shown and not carried out"
        return Statement(type="ScalingActive", holds=False, reason=Reason.RECOMMEND_ONLY, message=message)
    return Statement(type="ScalingActive", holds=True, reason="Acting", message="the plan is carried out")


def _scaling_limited(plan: FleetPlan) -> Statement:
    for clamp in CLAMPS:
        for verdict in plan.verdicts:
            if verdict.code is clamp:
                return Statement(type="ScalingLimited", holds=True, reason=clamp, message=verdict.sentence)
    return Statement(type="ScalingLimited", holds=False, reason="WithinLimits", message="demand alone decides the size")


def _stalled(problems: Sequence[Problem]) -> Statement:
    """True only for what a human must correct; GitOps tools read it as failed."""
    if not problems:
        return Statement(type="Stalled", holds=False, reason="Accepted", message="the spec can be planned")
    message = "; ".join(str(problem) for problem in problems)
    return Statement(type="Stalled", holds=True, reason=problems[0].code, message=message)
