"""What guards may look at, and what a guard is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.observation import MetricsGap
from inferencefleet.domain.plan import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardContext:
    """The fleet and its recent past at the moment of the decision."""

    fleet: Fleet
    at_s: float
    current: int
    """Replicas asked for at the last tick."""
    ready: int
    gap: MetricsGap | None
    """What is missing; None when metrics are fresh."""
    recommendations: tuple[tuple[float, int], ...] = ()
    """(epoch seconds, replicas) inside the stabilization windows."""
    scale_events: tuple[tuple[float, int], ...] = ()
    """(epoch seconds, change of replicas), oldest first."""
    cooling_s: float = 0.0
    """After an increase nothing is removed for so long: what is observed still speaks of the fleet before it."""
    arrivals_per_s: float = 0.0
    backlog_requests: float = 0.0
    """Waiting requests above what a healthy engine queue holds."""
    waiting_requests: float = 0.0
    """All that wait in the engines."""
    capacity_per_s: float | None = None
    """Largest rate at which one replica keeps the SLO, of the slowest in use; None = unknown."""
    affordable: int | None = None
    """Replicas that the budget pays for; None = no budget, or one that pays for all."""


Guard = Callable[[int, GuardContext], Verdict | None]
"""(proposed replicas, context) -> verdict with `after` as the new proposal, or None when the guard has no objection."""
