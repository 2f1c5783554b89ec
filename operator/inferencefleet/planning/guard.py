"""Step 5: the ordered chain of guards on the number of replicas. Each says what it did, with a code and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.observation import MetricsGap
from inferencefleet.domain.plan import Reason, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardContext:
    """What guards may look at."""

    fleet: Fleet
    at_s: float
    current: int
    """Replicas asked for at the last tick."""
    ready: int
    gap: MetricsGap | None
    recommendations: tuple[tuple[float, int], ...]


Guard = Callable[[int, GuardContext], Verdict | None]
"""(proposed replicas, context) -> verdict with `after` as the new proposal, or None when the guard has no objection."""


def run_guards(proposed: int, context: GuardContext) -> tuple[int, tuple[Verdict, ...]]:
    """The proposal after every guard, in the order of `GUARDS`, with the verdicts of those that spoke."""
    verdicts = []
    for guard in GUARDS:
        verdict = guard(proposed, context)
        if verdict is not None and verdict.after is not None:
            verdicts.append(verdict)
            proposed = int(verdict.after)
    return proposed, tuple(verdicts)


def hold_without_metrics(proposed: int, context: GuardContext) -> Verdict | None:
    """Missing is not zero: hold or go up, never down."""
    if context.gap is None or context.current == 0:
        return None
    if context.ready == 0 and proposed >= context.current:
        return None  # nothing serves yet, so nothing is missing
    return Verdict(
        code=Reason.METRICS_MISSING,
        sentence=f"{context.gap.sentence}; holding {max(proposed, context.current)} replicas",
        before=proposed,
        after=max(proposed, context.current),
    )


def stabilize(proposed: int, context: GuardContext) -> Verdict | None:
    """HorizontalPodAutoscaler semantics: down to the highest, up to the lowest recommendation of the window."""
    scaling = context.fleet.scaling

    def within(window_s: float) -> list[int]:
        return [replicas for at_s, replicas in context.recommendations if at_s > context.at_s - window_s]

    ceiling = min([proposed, *within(scaling.scale_up_stabilization_s)])
    floor = max([proposed, *within(scaling.scale_down_stabilization_s)])
    stabilized = min(max(context.current, ceiling), floor)
    if stabilized == proposed:
        return None
    window_s = scaling.scale_down_stabilization_s if stabilized > proposed else scaling.scale_up_stabilization_s
    return Verdict(
        code=Reason.STABILIZING,
        sentence=f"{proposed} would do now, {stabilized} by the stabilization window of {window_s:.0f} s",
        before=proposed,
        after=stabilized,
    )


def at_least_min(proposed: int, context: GuardContext) -> Verdict | None:
    least = context.fleet.scaling.min_replicas
    if proposed >= least:
        return None
    return Verdict(
        code=Reason.MIN_REPLICAS,
        sentence=f"demand needs {proposed}, spec.scaling.minReplicas is {least}",
        before=proposed,
        after=least,
    )


def at_most_max(proposed: int, context: GuardContext) -> Verdict | None:
    most = context.fleet.scaling.max_replicas
    if proposed <= most:
        return None
    return Verdict(
        code=Reason.MAX_REPLICAS,
        sentence=f"{proposed} are wanted, spec.scaling.maxReplicas is {most}",
        before=proposed,
        after=most,
    )


GUARDS: tuple[Guard, ...] = (hold_without_metrics, stabilize, at_least_min, at_most_max)
