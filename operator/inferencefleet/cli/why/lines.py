"""The ten lines of `why`: what is decided, what led there, and what would change it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferencefleet.api.status_fleet import FleetStatus, PlanStatus, SizingStatus
from inferencefleet.api.times import from_timestamp
from inferencefleet.cli.output import dollars, number
from inferencefleet.cli.why.boundaries import Boundaries, boundaries
from inferencefleet.cli.why.sentences import WIDTH, fitted, moment, plural, rate, span
from inferencefleet.domain.fleet import Fleet, Mode
from inferencefleet.domain.plan import Reason

TOPIC_COLUMNS = 10
CLAMPS = (
    Reason.METRICS_MISSING, Reason.NOT_ENOUGH_GPUS, Reason.BUDGET, Reason.MAX_REPLICAS, Reason.RATE_LIMITED,
    Reason.COOLING_DOWN, Reason.STABILIZING, Reason.WITHIN_TOLERANCE, Reason.BACKLOG_DRAIN,
    Reason.WAITING_FOR_REPLACEMENT, Reason.WAITING_FOR_GPUS, Reason.MIN_REPLICAS,
)  # fmt: skip
"""What holds a number up or down, the most urgent first."""
ELSEWHERE = (
    Reason.POOL_EXHAUSTED, Reason.REPLACING_DOOMED, Reason.PRIORITY, Reason.SHARED_POOL, Reason.POOL_LIMIT,
    Reason.SPOT_LIMIT, Reason.SPOT_HEDGE, Reason.STAYING,
)  # fmt: skip
"""Why replicas are not where they would be cheapest."""


WORDS = {
    Reason.DEMAND_MET: "as many as demand needs",
    Reason.SCALED_UP: "demand needs more than there were",
    Reason.SCALED_DOWN: "demand needs fewer than there were",
    Reason.RAMP_AHEAD: "demand rises, and replicas must be there before it does",
    Reason.BACKLOG_DRAIN: "a backlog has to be worked off",
    Reason.DECLARED_TRAFFIC: "no engine reports, so the declared traffic counts",
    Reason.METRICS_MISSING: "metrics are missing, so nothing shrinks",
    Reason.NOT_ENOUGH_GPUS: "demand needs more than the pools have room for",
    Reason.BUDGET: "demand needs more than the budget pays for",
    Reason.REPLACING_DOOMED: "nodes are about to go, and what they hold is replaced first",
    Reason.MAX_REPLICAS: "demand needs more than maxReplicas",
    Reason.MIN_REPLICAS: "demand needs fewer than minReplicas",
    Reason.STABILIZING: "fewer would do, and a window holds them for a while",
    Reason.RATE_LIMITED: "more or fewer are wanted than may change at once",
    Reason.COOLING_DOWN: "fewer would do, but the fleet has just grown",
}
"""What the reason says to somebody who does not know the word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One topic; `text` fits behind it on a line, `clauses` are everything there is to say."""

    topic: str
    clauses: tuple[str, ...]

    @property
    def text(self) -> str:
        return fitted(self.clauses, WIDTH - TOPIC_COLUMNS)


def lines(
    fleet: Fleet, status: FleetStatus, limits: Mapping[str, tuple[int, int]], *, now_s: float | None
) -> tuple[Line, ...]:
    """At most ten. `limits`: by pool, GPUs planned by all fleets and its limit; `now_s` None = nobody knows how old."""
    plan = status.plan or PlanStatus.model_validate({})
    found = boundaries(fleet, status, limits)
    said = (
        ("size", _headline(fleet, status, now_s)),
        ("why", _reason(status, plan)),
        ("arrives", _arrives(status, plan)),
        ("expected", _expected(plan)),
        ("replica", _replica(status)),
        ("placed", _placed(status, plan)),
        ("held", _held(fleet, status, plan)),
        ("next", _next(fleet, plan, found)),
        ("risk", _risk(status, plan)),
        ("inputs", _inputs(status, now_s)),
    )
    kept = ((topic, tuple(clause for clause in clauses if clause)) for topic, clauses in said)
    return tuple(Line(topic=topic, clauses=clauses) for topic, clauses in kept if clauses)


Clauses = list[str | None]


def _headline(fleet: Fleet, status: FleetStatus, now_s: float | None) -> Clauses:
    wanted, ready = status.replicas or 0, status.ready_replicas or 0
    last = status.history[0] if status.history else None
    moving = sum(pool.starting for pool in status.pools or ()), sum(pool.blocked for pool in status.pools or ())
    waiting = ", ".join(f"{n} {word}" for n, word in zip(moving, ("starting", "blocked"), strict=True) if n)
    cost = status.cost
    return [
        f"{fleet.key}: {plural(wanted, 'replica')} wanted, {ready} ready{f' ({waiting})' if waiting else ''}",
        f"{dollars(cost.hourly)}/h" if cost and cost.hourly is not None else None,
        f"since {moment(from_timestamp(last.at), now_s)}, before {last.from_}" if last else None,
        f"{dollars(cost.per_million_output_tokens)} per million output tokens"
        if cost and cost.per_million_output_tokens
        else None,
    ]


def _reason(status: FleetStatus, plan: PlanStatus) -> Clauses:
    stalled = _condition(status, "Stalled", "True")
    if stalled is not None:
        return [f"cannot be planned, its replicas stay as they are: {stalled[1]}"]
    summary = status.summary
    reason = (summary and summary.reason) or plan.reason or "-"
    message = (summary and summary.message) or plan.message or "-"
    words = WORDS.get(Reason(reason)) if reason in set(Reason) else None
    return [f"{reason}: {words}", message] if words else [f"{reason}: {message}"]


def _arrives(status: FleetStatus, plan: PlanStatus) -> Clauses:
    if plan.demand_requests_per_second is None:
        return []
    seen = status.observed
    source = "observed" if plan.demand_observed else "not observed: declared, or as last seen"
    tokens = None
    if seen and seen.prompt_tokens_mean and seen.output_tokens_mean:
        means = number(seen.prompt_tokens_mean), number(seen.output_tokens_mean)
        tokens = f"prompts {means[0]}, outputs {means[1]} tokens on average"
    queue = None
    if seen and seen.running is not None:
        backlog = f" ({number(plan.backlog_requests)} too many)" if plan.backlog_requests else ""
        queue = f"{number(seen.running)} run, {number(seen.waiting or 0)} wait{backlog}"
    return [f"{rate(plan.demand_requests_per_second)} now ({source})", queue, tokens]


def _expected(plan: PlanStatus) -> Clauses:
    if plan.upper_requests_per_second is None or plan.horizon_seconds is None:
        return []
    sure = f", {100 * plan.quantile:.4g} % sure" if plan.quantile and plan.demand_observed else ""
    ways = sorted(plan.forecasters or (), key=lambda way: -way.weight)
    by = ", ".join(f"{way.name} {100 * way.weight:.0f} %" for way in ways[:3] if way.weight >= 0.1)
    trend = plan.trend_requests_per_second_per_minute or 0.0
    return [
        f"at most {rate(plan.upper_requests_per_second)} within {span(plan.horizon_seconds)} (until a new replica "
        f"serves){sure}",
        f"{trend:+.2g} a minute" if abs(trend) >= 0.005 else None,
        f"by {by}" if by else None,
        f"{rate(plan.floor_requests_per_second)} announced" if plan.floor_requests_per_second else None,
    ]


def _replica(status: FleetStatus) -> Clauses:
    used = {pool.name for pool in status.pools or () if pool.placed or pool.desired}
    rows = sorted(status.sizing or (), key=lambda row: row.pool not in used)
    said: dict[str, None] = {}
    for row in rows:
        said.setdefault(_one(row), None)
    return [*said]


def _one(row: SizingStatus) -> str:
    planned = row.planned_requests_per_second
    if not row.requests_per_second:
        return f"{row.tensor_parallel_size} x {row.gpu} serves nothing: {row.binding_limit}"
    share = f", planned with {number(planned)}" if planned is not None else ""
    return (
        f"{row.tensor_parallel_size} x {row.gpu} takes {rate(row.requests_per_second)}{share}; "
        f"{row.binding_limit} binds first ({(row.confidence or 'unknown').lower()} confidence)"
    )


def _placed(status: FleetStatus, plan: PlanStatus) -> Clauses:
    price = {row.pool: row.marginal_price_per_hour for row in status.sizing or ()}
    said = []
    for pool in status.pools or ():
        if pool.placed or pool.desired:
            more = price.get(pool.name)
            cost = "" if more is None else " (paid already)" if more == 0 else f" ({dollars(more)}/h each)"
            said.append(f"{pool.placed if pool.placed is not None else pool.desired} in {pool.name}{cost}")
    if not said:
        return []
    there = {pool.name for pool in status.pools or ()}
    unused = sorted((more, name) for name, more in price.items() if more and name not in there)
    cheapest = f"cheapest first; next {unused[0][1]} at {dollars(unused[0][0])}/h each" if unused else "cheapest first"
    return [", ".join(said), _step(plan, ELSEWHERE) or cheapest]


def _held(fleet: Fleet, status: FleetStatus, plan: PlanStatus) -> Clauses:
    recommended = status.recommendation
    alone = None
    if recommended and recommended.uncapped is not None and recommended.uncapped != recommended.target:
        alone = f"demand alone would have {recommended.uncapped}"
    paused = _condition(status, "Paused", "True")
    mode = f"mode {fleet.scaling.mode}: nothing is changed" if fleet.scaling.mode is not Mode.AUTO else None
    clamp = _step(plan, CLAMPS)
    if not (mode or clamp or paused):
        return ["nothing: no limit, window or rate policy holds the number", alone]
    return [mode, f"paused: {paused[1]}" if paused else None, clamp, alone]


def _step(plan: PlanStatus, codes: tuple[Reason, ...]) -> str | None:
    """The first of these that was said, with its numbers."""
    for code in codes:
        for step in plan.steps or ():
            if step.code == code:
                numbers = "" if step.before is None or step.after is None else f" {step.before:g} -> {step.after:g}"
                return f"{code}{numbers}: {step.message}"
    return None


def _next(fleet: Fleet, plan: PlanStatus, found: Boundaries | None) -> Clauses:
    if found is None:
        return []
    window = fleet.scaling.scale_down_stabilization_s
    holds = any(step.code == Reason.STABILIZING for step in plan.steps or ())
    lets_go = f"the window lets go within {span(window)} unless demand returns" if holds else None
    more, fewer = found.more_at_per_s, found.fewer_below_per_s
    up = f"no more: maxReplicas={fleet.scaling.max_replicas}"
    if more is not None:
        change = found.change(more)
        up = f"one more at about {100 * change:+.0f} % traffic" if change > 0 else "one more is wanted already"
    down = f"no fewer: minReplicas={fleet.scaling.min_replicas}"
    if fewer is not None:
        down = f"one fewer under {100 * found.change(fewer):+.0f} %"
        down += f" for {span(window)}" if window and not holds else ""
    room = None
    if found.full:
        first = found.full[0]
        room = f"{first.pool} has room for {first.replicas} more"
    return [lets_go, up, down, room]


def _risk(status: FleetStatus, plan: PlanStatus) -> Clauses:
    if plan.risk:
        return [f"spot: {plan.risk}"]
    spot = any(pool.capacity_type == "Spot" and pool.desired for pool in status.pools or ())
    return ["unknown: replicas live on spot and nothing is said of their loss" if spot else "no replica lives on spot"]


def _inputs(status: FleetStatus, now_s: float | None) -> Clauses:
    missing = _condition(status, "MetricsAvailable", "False")
    seen = status.observed
    if missing is not None:
        metrics = f"metrics missing: {missing[1]}"
    elif seen and seen.as_of:
        at_s = from_timestamp(seen.as_of)
        metrics = f"metrics of {moment(at_s, None)}" if now_s is None else f"metrics {span(max(0.0, now_s - at_s))} old"
    else:
        metrics = "no metrics yet"
    learnt = status.summary.calibration if status.summary else None
    attained = None
    if seen and seen.attainment is not None:
        attained = f"SLO kept by {100 * seen.attainment:.1f} % in the last hour"
    return [metrics, f"speed of engines: {learnt}" if learnt else None, attained]


def _condition(status: FleetStatus, kind: str, holds: str) -> tuple[str, str] | None:
    """(reason, message) when it is so."""
    for condition in status.conditions or ():
        if condition.type == kind and condition.status == holds:
            return condition.reason, condition.message
    return None
