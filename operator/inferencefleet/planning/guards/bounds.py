"""Limits that hold whatever the demand: fewest, most, and what may be spent."""

from __future__ import annotations

from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.guards.context import GuardContext


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


def within_budget(proposed: int, context: GuardContext) -> Verdict | None:
    """Money cuts everything but the floor: a fleet that may not run its fewest replicas needs another budget."""
    if context.affordable is None or proposed <= context.affordable:
        return None
    least = context.fleet.scaling.min_replicas
    after = max(context.affordable, least)
    budget = context.fleet.most_per_hour or 0.0
    sentence = f"{proposed} are wanted, the budget of {budget:.2f} an hour pays for {context.affordable}"
    if after > context.affordable:
        sentence += f"; spec.scaling.minReplicas, {least}, stands: raise spec.budget or lower minReplicas"
    return Verdict(code=Reason.BUDGET, sentence=sentence, before=proposed, after=min(proposed, after))
