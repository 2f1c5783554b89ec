"""What a user declares: the InferenceFleet, resolved (catalogue entries looked up, quantities parsed)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from inferencefleet.domain.capacity import EngineLimits, Speculation
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.model import ModelSpec
from inferencefleet.domain.slo import Slo


@dataclass(frozen=True, slots=True, order=True)
class FleetKey:
    """Namespace and name: the total order of fleets."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Mode(StrEnum):
    """`Auto` acts, `Recommend` only says what it would do, `Off` does neither."""

    AUTO = "Auto"
    RECOMMEND = "Recommend"
    OFF = "Off"


class Routing(StrEnum):
    """How requests are spread over replicas: evenly (a plain Service), by load, or by where their prefix is cached."""

    UNIFORM = "Uniform"
    LOAD_AWARE = "LoadAware"
    PREFIX_AWARE = "PrefixAware"


EVEN_UTILISATION = 0.79
"""Share of one replica's capacity at which 99 of 100 requests keep the SLO behind an even spread, whatever the number
of replicas (`benchmarks/results/routing.md`, mean of three fleets; the smallest of five seeds is 6 % below)."""
AWARE_UTILISATION, LONE_LOSS = 0.92, 0.13
"""The same behind a router that knows loads: 0.79 with one replica, 0.89 with four, 0.91 with sixteen of them."""


class TrafficClass(StrEnum):
    """`Interactive` traffic waits for nobody; `Batch` may live on spot and be late."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class SpotPolicy(StrEnum):
    """`Never` uses no spot; `Hedged` keeps the SLO through the loss of any one spot node; `Preferred` takes spot
    whenever it is cheaper, up to the declared fraction, without spares."""

    NEVER = "Never"
    HEDGED = "Hedged"
    PREFERRED = "Preferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTraffic:
    """The prior that is used until traffic is observed."""

    requests_per_s: float
    lengths: LengthMix


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledTraffic:
    """Windows that are announced: they open by the calendar, and demand is at least `requests_per_s` meanwhile."""

    cron: str
    """Five fields."""
    timezone: str
    """IANA name of the zone in which `cron` is read."""
    duration_s: float
    requests_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotTerms:
    policy: SpotPolicy = SpotPolicy.HEDGED
    max_fraction: float = 0.5
    """Largest share of replicas that may live on spot, 0..1."""


class RateUnit(StrEnum):
    """Unit of a rate policy; values are those of the HorizontalPodAutoscaler."""

    PODS = "Pods"
    PERCENT = "Percent"


class RateSelect(StrEnum):
    """Which of several rate policies counts: the one that allows the largest or the smallest change, or no change."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePolicy:
    """At most `value` replicas, or percent of the replicas there were, in any `period_s`."""

    unit: RateUnit
    value: int
    period_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRules:
    """How fast replicas may change in one direction."""

    select: RateSelect = RateSelect.MAX
    policies: tuple[RatePolicy, ...] = ()
    """Empty = no limit (unless disabled)."""
    tolerance: float | None = None
    """A wish within this share of the current replicas changes nothing; None = every whole replica counts."""

    @property
    def longest_period_s(self) -> float:
        return max((policy.period_s for policy in self.policies), default=0.0)


class FallbackBehavior(StrEnum):
    """How many replicas there are while metrics are missing; values are those of KEDA. None of them shrinks."""

    IF_HIGHER = "currentReplicasIfHigher"
    """What the declared traffic needs, and at least what is there."""
    CURRENT = "currentReplicas"
    """What is there, whatever the declared traffic needs."""
    STATIC = "static"
    """A declared number, and at least what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackTerms:
    behavior: FallbackBehavior = FallbackBehavior.IF_HIGHER
    replicas: int | None = None
    """Of `static`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingTerms:
    mode: Mode = Mode.AUTO
    min_replicas: int = 1
    max_replicas: int = 100
    headroom: float | None = None
    """Planned utilisation of modelled capacity, 0..1; None = what suits the routing."""
    scale_up_stabilization_s: float = 0.0
    scale_down_stabilization_s: float = 300.0
    up: RateRules = RateRules()
    down: RateRules = RateRules()
    fallback: FallbackTerms = FallbackTerms()
    horizon_s: float | None = None
    """How far to look ahead; None = the cold start of the pool considered plus one period."""


class SpeculativeMethod(StrEnum):
    """Who drafts the tokens that the model then verifies; values are vLLM's names."""

    NGRAM = "ngram"
    """The prompt itself: what followed the same words before."""
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    MEDUSA = "medusa"
    MTP = "mtp"
    """Prediction layers that are part of the checkpoint (DeepSeek V3, Qwen3-Next, GLM-4.5)."""
    DRAFT_MODEL = "draft_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculativeTerms:
    """How vLLM drafts, and what the plan assumes of it."""

    method: SpeculativeMethod
    draft_model: str | None
    """Hugging Face id of the drafter; None for methods that need none."""
    assumed: Speculation


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTerms:
    """How vLLM is started."""

    image: str
    tensor_parallel: int | None = None
    """None = chosen by the planner for each GPU type."""
    limits: EngineLimits = EngineLimits()
    prefix_caching: bool = True
    speculative: SpeculativeTerms | None = None
    """None = one token for each sequence and step."""
    extra_args: tuple[str, ...] = ()
    env: tuple[Mapping[str, Any], ...] = ()
    """Kubernetes EnvVar objects, passed on as they are."""
    drain_s: float = 60.0
    """Time for running requests to finish after the endpoint is gone."""
    startup_s: float = 1800.0
    """Budget of the startup probe: image pull and a cold model load."""

    @property
    def speculation(self) -> Speculation | None:
        """What `ReplicaShape.speculation` of this fleet's replicas is."""
        return self.speculative.assumed if self.speculative else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a spec cannot be planned: the field, the value, the rule, and a way out."""

    code: str
    """CamelCase condition reason."""
    field: str
    """Path in the object, `spec.model.id`."""
    value: str
    sentence: str
    """The rule and the way out, with numbers."""

    def __str__(self) -> str:
        return f"{self.field}={self.value!r}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """One InferenceFleet, resolved. Only what the planner and the actuator read."""

    key: FleetKey
    uid: str
    generation: int
    model: ModelSpec
    served_name: str
    weights: NumberFormat
    kv_cache: NumberFormat
    engine: EngineTerms
    slos: tuple[Slo, ...]
    attainment: float
    """Share of one-minute windows in which every SLO must hold, 0..1."""
    expected: ExpectedTraffic
    pools: tuple[str, ...] | None
    """Names of the pools it may use; None = every pool."""
    spot: SpotTerms = SpotTerms()
    scaling: ScalingTerms = ScalingTerms()
    schedule: tuple[ScheduledTraffic, ...] = ()
    routing: Routing = Routing.UNIFORM
    traffic_class: TrafficClass = TrafficClass.INTERACTIVE
    priority: int = 0
    """Who gets scarce GPUs first: the higher number."""
    most_per_hour: float | None = None
    """Budget: dollars per hour of all replicas at their pools' prices; None = no limit."""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def utilisation_of(self, replicas: int) -> float:
        """Share of a replica's modelled capacity that a plan for so many counts on: as declared, or what suits the
        routing. How bursty traffic is adds to the demand instead."""
        if self.scaling.headroom is not None:
            return self.scaling.headroom
        if self.routing is Routing.UNIFORM:
            return EVEN_UTILISATION
        return AWARE_UTILISATION - LONE_LOSS / max(1, replicas)
