"""The one input of `plan()`: everything a decision needs, with the time as a field of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from inferencefleet.domain.calibration import ShapeCalibration
from inferencefleet.domain.feedback import Feedback
from inferencefleet.domain.fleet import Fleet, FleetKey, Problem
from inferencefleet.domain.history import Blocks, LengthMemory, Points, Skill
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Replica, WorkloadState
from inferencefleet.domain.pool import PoolMemory, PoolState
from inferencefleet.domain.routing import HitRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMemory:
    """What the planner must remember of one fleet between ticks. Bounded; rebuilt safely when lost."""

    arrivals: Points = ()
    """The last half hour for the forecast, one rate for each tick."""
    blocks: Blocks = Blocks()
    """The last two weeks, for what comes again every day and every week."""
    skill: Skill = Skill()
    """How forecasts have turned out, and which are still due."""
    lengths: LengthMemory = LengthMemory()
    recommendations: tuple[tuple[float, int], ...] = ()
    """(epoch seconds, replicas) inside the stabilization windows, as the HorizontalPodAutoscaler keeps them."""
    placed: int | None = None
    """Replicas decided at the last tick, without those that only stand in for doomed ones."""
    scale_events: tuple[tuple[float, int], ...] = ()
    """(epoch seconds, change of replicas), oldest first, as far back as a rate policy or the cooling looks."""
    feedback: Feedback = Feedback()
    """What measured attainment makes of utilisation."""
    hits: HitRecord = HitRecord()
    """How the prefix hit ratio went with the number of replicas."""
    calibration: tuple[ShapeCalibration, ...] = ()
    """What engines taught about each shape, by pool; sorted. Lost, it is the prior again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledFloor:
    """Demand that is announced: at least so many requests/s from `start_s` to `end_s` (epoch seconds)."""

    start_s: float
    end_s: float
    requests_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """One fleet as declared and as observed."""

    fleet: Fleet
    metrics: FleetMetrics | MetricsGap
    replicas: tuple[Replica, ...] = ()
    workloads: tuple[WorkloadState, ...] = ()
    schedule: tuple[ScheduledFloor, ...] = ()
    """Windows of spec.traffic.schedule that are open now or open within the next day, by start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenFleet:
    """A fleet whose spec cannot be read: nothing about it is changed, its replicas keep their GPUs."""

    key: FleetKey
    uid: str
    generation: int
    problems: tuple[Problem, ...]
    workloads: tuple[WorkloadState, ...] = ()
    replicas: tuple[Replica, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPool:
    """A pool whose spec cannot be read."""

    name: str
    generation: int
    problems: tuple[Problem, ...]


class Part(StrEnum):
    """Parts of the planner that can be left out, to see what each is worth."""

    FORECAST = "forecast"
    DISTRIBUTION = "distribution"
    CALIBRATION = "calibration"
    HEDGE = "hedge"
    ROUTING = "routing"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSettings:
    """Constants of planning that belong to the installation, not to a fleet."""

    period_s: float = 15.0
    exhausted_backoff_s: float = 180.0
    """First back-off of a pool that does not deliver; doubles up to one hour."""
    starting_s: float | None = None
    """Prior for image pull and model load on a node that is there; None = by physics from the model's size."""
    arrivals_kept_s: float = 1800.0
    placement_deadline_s: float = 2.0
    """Solver time for the joint placement of one tick; what is known by then is used, with its gap."""
    without: frozenset[Part] = frozenset()
    """For replays only: an operator plans with all parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The world at `at_s` (epoch seconds). Tuples are sorted by key, so equal worlds are equal snapshots."""

    at_s: float
    fleets: tuple[FleetState, ...]
    pools: tuple[PoolState, ...]
    broken_fleets: tuple[BrokenFleet, ...] = ()
    broken_pools: tuple[BrokenPool, ...] = ()
    memory: Mapping[FleetKey, FleetMemory] = field(default_factory=lambda: MappingProxyType({}))
    pool_memory: Mapping[str, PoolMemory] = field(default_factory=lambda: MappingProxyType({}))
    settings: PlannerSettings = PlannerSettings()
