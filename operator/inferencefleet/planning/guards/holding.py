"""Guards that only hold back: when metrics are missing, right after a change, and while requests wait."""

from __future__ import annotations

import math

from inferencefleet.domain.fleet import FallbackBehavior
from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.guards.context import GuardContext


def without_metrics(proposed: int, context: GuardContext) -> Verdict | None:
    """Missing is not zero: hold, or go up as `spec.scaling.fallback` says, never down."""
    if context.gap is None or context.current == 0:
        return None
    if context.ready == 0 and proposed >= context.current:
        return None  # nothing serves yet, so nothing is missing
    terms, current = context.fleet.scaling.fallback, context.current
    if terms.behavior is FallbackBehavior.CURRENT:
        after, why = current, f"holding {current} replicas"
    elif terms.behavior is FallbackBehavior.STATIC and terms.replicas is not None:
        after = max(terms.replicas, current)
        why = f"{after} replicas: spec.scaling.fallback.replicas is {terms.replicas}, and there are {current}"
    else:
        after = max(proposed, current)
        why = f"holding {after} replicas"
    return Verdict(code=Reason.METRICS_MISSING, sentence=f"{context.gap.sentence}; {why}", before=proposed, after=after)


def cool_down(proposed: int, context: GuardContext) -> Verdict | None:
    """A rate window that began before the last increase says nothing about the larger fleet."""
    grown_s = max((at_s for at_s, change in context.scale_events if change > 0), default=-math.inf)
    left_s = grown_s + context.cooling_s - context.at_s
    if proposed >= context.current or left_s <= 0:
        return None
    return Verdict(
        code=Reason.COOLING_DOWN,
        sentence=(
            f"{proposed} would do, but the fleet grew {context.at_s - grown_s:.0f} s ago and what is observed reaches "
            f"back before that; none of {context.current} replicas is removed for another {left_s:.0f} s"
        ),
        before=proposed,
        after=context.current,
    )


def keep_for_backlog(proposed: int, context: GuardContext) -> Verdict | None:
    """Never strand a backlog: nothing is removed while one is worked off, nor more than those who wait can spare."""
    if proposed >= context.current:
        return None
    if context.backlog_requests > 0:
        after, why = context.current, f"{context.backlog_requests:.0f} requests are still to be worked off"
    elif context.waiting_requests > 0 and context.capacity_per_s:
        enough = math.ceil(context.arrivals_per_s / context.capacity_per_s)
        after = min(context.current, max(proposed, enough))
        why = (
            f"{context.waiting_requests:.0f} requests wait, and fewer than {enough} replicas cannot take the "
            f"{context.arrivals_per_s:.2f} req/s that arrive"
        )
    else:
        return None
    if after == proposed:
        return None
    return Verdict(code=Reason.BACKLOG_DRAIN, sentence=f"{why}; keeping {after} replicas", before=proposed, after=after)
