"""Rate policies: how many replicas may be added or removed in a period, with the arithmetic of the
HorizontalPodAutoscaler (autoscaling/v2).

Two differences, both on purpose. Without a declared policy there is no limit: the autoscaler's default of at most
doubling, or four more, every 15 s would make a fleet that starts for minutes late. And a change is remembered for as
long as any policy of either direction looks back, where the autoscaler may overwrite it earlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from inferencefleet.domain.fleet import RatePolicy, RateRules, RateSelect, RateUnit, ScalingTerms
from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.guards.context import GuardContext

Events = tuple[tuple[float, int], ...]
"""(epoch seconds, change of replicas), oldest first."""


def limit_rate(proposed: int, context: GuardContext) -> Verdict | None:
    """As far towards the proposal as the policies of that direction allow now; never away from it."""
    scaling, current = context.fleet.scaling, context.current
    if proposed > current:
        rules, field = scaling.up, "scaleUp"
        reachable = _limit(rules, context, sign=1)
        after = proposed if reachable is None else min(proposed, max(current, reachable))
    else:
        rules, field = scaling.down, "scaleDown"
        reachable = _limit(rules, context, sign=-1)
        after = proposed if reachable is None else max(proposed, min(current, reachable))
    if after == proposed:
        return None
    return Verdict(
        code=Reason.RATE_LIMITED,
        sentence=f"{proposed} are wanted, {after} are allowed now by spec.scaling.behavior.{field}: {_told(rules)}",
        before=proposed,
        after=after,
    )


def _limit(rules: RateRules, context: GuardContext, *, sign: int) -> int | None:
    """The farthest size that the policies allow in the direction of `sign`; None = no limit."""
    if rules.select is RateSelect.DISABLED:
        return context.current
    reachable = [_reachable(policy, context, sign) for policy in rules.policies]
    if not reachable:
        return None
    largest_change = max if sign > 0 else min
    smallest_change = min if sign > 0 else max
    return smallest_change(reachable) if rules.select is RateSelect.MIN else largest_change(reachable)


def _reachable(policy: RatePolicy, context: GuardContext, sign: int) -> int:
    """From the size at the start of the period. Percentages round up on the way up and towards zero on the way down."""
    since_s = context.at_s - policy.period_s
    start = context.current - sum(change for at_s, change in context.scale_events if at_s > since_s)
    if policy.unit is RateUnit.PODS:
        return start + sign * policy.value
    share = start * (1 + sign * (policy.value / 100))
    return math.ceil(share) if sign > 0 else int(share)


def _told(rules: RateRules) -> str:
    if rules.select is RateSelect.DISABLED:
        return "selectPolicy is Disabled"
    each = [
        f"{policy.value}{' %' if policy.unit is RateUnit.PERCENT else ' replicas'} in {policy.period_s:.0f} s"
        for policy in rules.policies
    ]
    which = "" if len(each) == 1 else "the smallest of " if rules.select is RateSelect.MIN else "the largest of "
    return which + ", ".join(each)


def remember_change(events: Events, *, at_s: float, change: int, scaling: ScalingTerms, cooling_s: float) -> Events:
    """The changes that some policy or the cooling still looks at, with this one."""
    kept_s = max(scaling.up.longest_period_s, scaling.down.longest_period_s, cooling_s)
    fresh: Sequence[tuple[float, int]] = [event for event in events if at_s - kept_s < event[0] <= at_s]
    return (*fresh, (at_s, change)) if change and kept_s > 0 else tuple(fresh)
