"""The order of the guards, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

from inferencefleet.domain.plan import Verdict
from inferencefleet.planning.guards.bounds import at_least_min, at_most_max, within_budget
from inferencefleet.planning.guards.context import Guard, GuardContext
from inferencefleet.planning.guards.holding import cool_down, keep_for_backlog, without_metrics
from inferencefleet.planning.guards.rates import limit_rate
from inferencefleet.planning.guards.stabilization import stabilize, tolerate

WISHES: tuple[Guard, ...] = (without_metrics, tolerate)
"""What these leave of a proposal is the recommendation that the stabilization windows remember, as in the
HorizontalPodAutoscaler."""
GUARDS: tuple[Guard, ...] = (
    *WISHES,
    stabilize,
    limit_rate,
    cool_down,
    keep_for_backlog,
    at_least_min,
    at_most_max,
    within_budget,
)
"""Tolerance, windows, rates and limits come in the order of the HorizontalPodAutoscaler. What only holds back comes
before the limits, because those must hold whatever was held back; money comes last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The number of replicas after every guard."""

    total: int
    recommended: int
    """What the stabilization windows should remember of this tick."""
    verdicts: tuple[Verdict, ...]
    """Of the guards that spoke, in order."""


def run_guards(proposed: int, context: GuardContext) -> Guarded:
    """Each guard sees what those before it left."""
    verdicts = []
    recommended = proposed
    for guard in GUARDS:
        verdict = guard(proposed, context)
        if verdict is not None and verdict.after is not None:
            verdicts.append(verdict)
            proposed = int(verdict.after)
        if guard in WISHES:
            recommended = proposed
    return Guarded(total=proposed, recommended=recommended, verdicts=tuple(verdicts))
