"""The one output of `plan()`: what should be, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from inferencefleet.domain.capacity import ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.fleet import FleetKey, Problem
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.pool import Exhaustion, InterruptionRecord, PoolMemory
from inferencefleet.domain.snapshot import FleetMemory


class Reason(StrEnum):
    """Why the plan is what it is; CamelCase, stable, used as condition and Event reasons."""

    # sized to demand
    DEMAND_MET = "DemandMet"
    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"
    RAMP_AHEAD = "RampAhead"
    BACKLOG_DRAIN = "BacklogDrain"
    DECLARED_TRAFFIC = "DeclaredTraffic"
    SIZED = "Sized"
    CALIBRATED = "Calibrated"
    MEASURED_ATTAINMENT = "MeasuredAttainment"
    # clamps
    MIN_REPLICAS = "MinReplicas"
    MAX_REPLICAS = "MaxReplicas"
    STABILIZING = "Stabilizing"
    WAITING_FOR_REPLACEMENT = "WaitingForReplacement"
    METRICS_MISSING = "MetricsMissing"
    WITHIN_TOLERANCE = "WithinTolerance"
    RATE_LIMITED = "RateLimited"
    COOLING_DOWN = "CoolingDown"
    RECOMMEND_ONLY = "RecommendOnly"
    # capacity
    WAITING_FOR_GPUS = "WaitingForGPUs"
    REPLACING_DOOMED = "ReplacingDoomed"
    POOL_EXHAUSTED = "PoolExhausted"
    POOL_LIMIT = "PoolLimit"
    SPOT_LIMIT = "SpotLimit"
    SPOT_HEDGE = "SpotHedge"
    NOT_ENOUGH_GPUS = "NotEnoughGPUs"
    BUDGET = "BudgetReached"
    PRIORITY = "HigherPriorityFirst"
    SHARED_POOL = "SharedPool"
    STAYING = "MoveDoesNotPay"
    # refusals
    UNKNOWN_POOL = "UnknownPool"
    NO_POOLS = "NoPools"
    MODEL_DOES_NOT_FIT = "ModelDoesNotFit"
    SLO_UNREACHABLE = "SLOUnreachable"
    PLANNING_FAILED = "PlanningFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One step of the derivation: a named clamp or choice, with its numbers."""

    code: Reason
    sentence: str
    before: float | None = None
    after: float | None = None
    """Quantity before and after the step: replicas, of `Calibrated` requests/s of one replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What arrives and what must be worked off."""

    arrivals_per_s: float
    """Requests per second arriving now (declared when nothing is observed)."""
    backlog_requests: float
    """Waiting requests above what a healthy engine queue holds."""
    observed: bool
    lengths: LengthMix
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What one way to forecast says of demand at the horizon; requests per second."""

    name: str
    location_per_s: float
    deviation_per_s: float
    """Standard deviation of its errors at this horizon, as they were lately."""
    weight: float
    """Its say, 0..1; all weights are 1 together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Upper bound of demand over the horizon. `planning.forecasting.quantile.upper_at` does the sum again."""

    horizon_s: float
    level_per_s: float
    """What arrives now."""
    trend_per_s2: float
    """Proven rise, >= 0."""
    noise_per_s: float
    """Standard deviation of arrivals counted over one rate window."""
    backlog_drain_per_s: float
    upper_per_s: float
    """What is planned for, requests per second: the largest of what is expected at the horizon with its noise and
    doubt, what arrives now and what is announced, plus what drains the backlog."""
    sentence: str
    quantile: float = 0.5
    """Share of windows in which demand should stay below the bound, 0..1."""
    quantile_per_s: float = 0.0
    """Demand at the horizon at that quantile, all candidates taken together."""
    floor_per_s: float = 0.0
    """Largest announced demand of spec.traffic.schedule within the horizon."""
    stretch: float = 1.0
    """What deviations are multiplied with, so that the bound is broken as often as it should be."""
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """One replica of this fleet in one pool."""

    pool: str
    shape: ReplicaShape
    capacity: ReplicaCapacity
    planned_requests_per_s: float
    """Capacity x utilisation x exp(-sigma): what the plan counts on."""
    marginal_price_per_hour: float
    price_per_hour: float
    utilisation: float = 0.7
    """Share of capacity to plan with, as declared or by routing and number of replicas."""
    scales: Scales = Scales()
    """What the capacity was computed with: the prior, or what engines have taught."""

    @property
    def usable(self) -> bool:
        return self.planned_requests_per_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """Target of one fleet in one pool."""

    pool: str
    shape: ReplicaShape
    replicas: int
    """What the Deployment should ask for now."""
    placed: int
    """What placement wants before guards; differs while a decrease is held back."""
    ready: int
    starting: int
    blocked: int
    doomed: int
    reason: Reason
    sentence: str
    surge: bool = False
    """There is room for one replica more, so a new template can roll out without a loss of capacity."""
    victims: tuple[str, ...] = ()
    """Pods that should die first if this pool shrinks, best victim first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """The decision for one fleet with its derivation."""

    key: FleetKey
    pools: tuple[PoolPlan, ...]
    demand: Demand | None
    forecast: Forecast | None
    sizings: tuple[Sizing, ...]
    verdicts: tuple[Verdict, ...]
    reason: Reason
    sentence: str
    act: bool
    """False: report only (mode Recommend or Off, or a refusal)."""
    problems: tuple[Problem, ...] = ()
    hourly_cost: float = 0.0
    marginal_hourly_cost: float = 0.0
    memory: FleetMemory = FleetMemory()
    retire: tuple[str, ...] = ()
    """Pools that are no longer known and whose Deployment may go: enough replicas serve elsewhere."""
    uncapped: int | None = None
    """Replicas that demand alone would have: no limit, no budget, no window, no shortage of GPUs."""
    lower: int | None = None
    """Replicas that the demand of now needs, without a look ahead and without room for bursts."""
    upper: int | None = None
    """Replicas that a cautious quantile of the forecast needs."""
    risk: str = ""
    """What a plausible loss of spot nodes leaves, in a sentence."""

    @property
    def replicas(self) -> int:
        return sum(pool.replicas for pool in self.pools)

    @property
    def ready(self) -> int:
        return sum(pool.ready for pool in self.pools)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOutlook:
    """What the plan knows of one pool after all fleets are placed."""

    pool: str
    gpus_total: int
    gpus_used: int
    """Requested by replicas bound to nodes, of fleets and others."""
    gpus_planned: int
    exhaustion: Exhaustion | None
    sentence: str
    worth_per_gpu_hour: float = 0.0
    """Shadow price: dollars per hour that one GPU more here would save or be worth to the fleets; 0 = enough."""
    interruptions: InterruptionRecord = InterruptionRecord()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All decisions of one tick."""

    at_s: float
    fleets: tuple[FleetPlan, ...]
    pools: tuple[PoolOutlook, ...]
    memory: Mapping[FleetKey, FleetMemory] = field(default_factory=lambda: MappingProxyType({}))
    pool_memory: Mapping[str, PoolMemory] = field(default_factory=lambda: MappingProxyType({}))
    placement_gap: float = 0.0
    """Proven distance of the placement from the cheapest one, as a share of its cost; 0 = it is the cheapest."""
