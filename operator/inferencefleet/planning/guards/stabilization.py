"""Tolerance and stabilization windows, with the arithmetic of the HorizontalPodAutoscaler (autoscaling/v2).

`tests/unit/planning/test_hpa_vectors.py` holds both to what the genuine controller computes.
"""

from __future__ import annotations

from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.guards.context import GuardContext


def tolerate(proposed: int, context: GuardContext) -> Verdict | None:
    """A change that is too small is none. Only where `spec.scaling.behavior` declares a tolerance."""
    scaling, current = context.fleet.scaling, context.current
    tolerance = (scaling.up if proposed > current else scaling.down).tolerance
    if tolerance is None or current in {0, proposed}:
        return None
    ratio = proposed / current
    if not 1.0 - tolerance <= ratio <= 1.0 + tolerance:
        return None
    return Verdict(
        code=Reason.WITHIN_TOLERANCE,
        sentence=(
            f"{proposed} are {abs(ratio - 1):.1%} from the {current} there are, within the tolerance of {tolerance:.1%}"
        ),
        before=proposed,
        after=current,
    )


def stabilize(proposed: int, context: GuardContext) -> Verdict | None:
    """Down to the highest, up to the lowest recommendation of the window."""
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
