"""`spec.scaling` and `spec.budget` of an InferenceFleet: how many replicas, how fast, and for how much money.

Descriptions are what `kubectl explain` says.
"""

from __future__ import annotations

from pydantic import Field

from inferencefleet.api.base import (
    EMPTY,
    UNREADABLE,
    ApiModel,
    AutoOrDuration,
    Duration,
    marks,
    rule,
    rules,
    unless_set,
)
from inferencefleet.domain.fleet import (
    AWARE_UTILISATION,
    EVEN_UTILISATION,
    LONE_LOSS,
    FallbackBehavior,
    Mode,
    RateSelect,
    RateUnit,
)


class PolicyBlock(ApiModel):
    type: RateUnit = Field(
        description="Pods: value is a number of replicas. Percent: it is a percentage of the replicas that there were "
        "at the start of the period."
    )
    value: int = Field(ge=1, le=1_000_000, description="The largest change in any period of that length, above 0.")
    period_seconds: int = Field(ge=1, le=1800, description="Length of the period in seconds, 1 to 1800.")


class DirectionBlock(ApiModel):
    """Rules of one direction, field by field those of HPAScalingRules."""

    stabilization_window_seconds: int | None = Field(
        None,
        ge=0,
        le=3600,
        description="Look back over this many seconds, 0 to 3600, and act on the most cautious recommendation in them. "
        "Default: 0 for scaleUp, 300 for scaleDown.",
    )
    select_policy: RateSelect = Field(
        RateSelect.MAX,
        description="Which policy counts when there are several: Max (the default), the one that allows the largest "
        "change; Min, the one that allows the smallest. Disabled: no change in this direction at all.",
    )
    policies: list[PolicyBlock] | None = Field(
        None,
        min_length=1,
        max_length=10,
        description="How many replicas may be added or removed in a period. Default: no limit. A "
        "HorizontalPodAutoscaler would at most double or add four every 15 s; here replicas take minutes to start, and "
        "a limit on top makes every ramp late. Write its default out to have it.",
        json_schema_extra=marks(list_type="atomic"),
    )
    tolerance: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Ignore changes that are smaller than this share of the replicas there are, for example 0.05 (a "
        "plain number, where a HorizontalPodAutoscaler also reads 50m). Default: none, every whole replica counts.",
    )


class BehaviorBlock(ApiModel):
    scale_up: DirectionBlock = Field(
        default_factory=DirectionBlock, description="How replicas are added.", json_schema_extra=EMPTY
    )
    scale_down: DirectionBlock = Field(
        default_factory=DirectionBlock, description="How replicas are removed.", json_schema_extra=EMPTY
    )


class FallbackBlock(ApiModel):
    model_config = rules(
        rule(
            f"{unless_set('behavior')} || self.behavior != 'static' || has(self.replicas)",
            "behavior static needs replicas: how many should there be while metrics are missing?",
            at=".behavior",
        ),
        rule(
            f"{unless_set('behavior')} || self.behavior == 'static' || !has(self.replicas)",
            "replicas is {self.replicas}, and only behavior static uses it: remove replicas or set behavior to static.",
            at=".replicas",
        ),
    )

    behavior: FallbackBehavior = Field(
        FallbackBehavior.IF_HIGHER,
        description="currentReplicasIfHigher (the default): what the declared traffic needs, and at least what is "
        "there. currentReplicas: what is there. static: spec.scaling.fallback.replicas, and at least what is there.",
    )
    replicas: int | None = Field(None, ge=1, le=10_000, description="Replicas of behavior static.")


class ScalingBlock(ApiModel):
    model_config = rules(
        rule(
            f"{unless_set('minReplicas', 'maxReplicas')} || self.minReplicas <= self.maxReplicas",
            "minReplicas is {self.minReplicas}, above maxReplicas, {self.maxReplicas}: lower minReplicas or raise "
            "maxReplicas.",
            at=".minReplicas",
        ),
        rule(
            f"!has(self.startup) || {UNREADABLE.format('startup')} || duration(self.startup) >= duration('1m')",
            "startup is {self.startup}, and no vLLM serves within a minute: the container would be restarted for ever. "
            "Give at least 1m; 30m suits 70B models.",
            at=".startup",
        ),
        rule(
            f"!has(self.drain) || {UNREADABLE.format('drain')} || duration(self.drain) <= duration('1h')",
            "drain is {self.drain}: replicas that leave would hold their GPUs as long. Give at most 1h.",
            at=".drain",
        ),
    )

    mode: Mode = Field(
        Mode.AUTO,
        description="Auto (the default) acts. Recommend leaves replicas alone and only writes what it would do to "
        "status.recommendation. Off neither acts nor recommends; write it in quotes, because YAML reads a bare Off as "
        "false.",
    )
    min_replicas: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Fewest replicas, whatever the traffic. kubectl scale ifleet sets this field: it raises or lowers "
        "the "
        "floor, and the fleet still grows above it with demand. Default 1.",
    )
    max_replicas: int = Field(100, ge=1, le=10_000, description="Most replicas, whatever the traffic. Default 100.")
    headroom: float | None = Field(
        None,
        ge=0.1,
        le=1,
        description="Planned utilisation: the share of a replica's capacity, 0.1 to 1, that the plan counts on; the "
        "rest absorbs bursts. Lower is safer and dearer. Default: by routing, "
        f"{EVEN_UTILISATION:g} for Uniform and {AWARE_UTILISATION:g} - {LONE_LOSS:g} / replicas for LoadAware and "
        "PrefixAware, which have more to choose from the more replicas there are. Bursty traffic needs no lower value: "
        "how far it swings is part of the demand that is planned for. Left out, measured attainment moves it by -35 to "
        "+15 %: up while fewer requests miss their SLO than may.",
    )
    horizon: AutoOrDuration = Field(
        "auto",
        description="How far to look ahead when traffic grows. auto (the default): as long as a new replica takes from "
        "decision to serving. Or a duration, for example 10m.",
    )
    behavior: BehaviorBlock = Field(
        default_factory=BehaviorBlock,
        description="How fast to follow: the behavior block of a HorizontalPodAutoscaler (autoscaling/v2), with its "
        "meaning to the replica. One default differs: without policies there is no rate limit.",
        json_schema_extra=EMPTY,
    )
    fallback: FallbackBlock = Field(
        default_factory=FallbackBlock,
        description="How many replicas there are while metrics are missing or stale. A fleet never shrinks on missing "
        "metrics, whatever is chosen here.",
        json_schema_extra=EMPTY,
    )
    drain: Duration = Field(
        "60s",
        description="Time for running requests to finish when a replica is removed, for example 60s. On spot it is "
        "cut to "
        "what the pool's notice allows. Default 60s.",
    )
    startup: Duration = Field(
        "30m",
        description="Longest time from container start until vLLM serves, with an empty cache; then the container is "
        "restarted. Default 30m, which suits 70B models.",
    )


class BudgetBlock(ApiModel):
    model_config = rules(
        rule(
            "has(self.maxHourly) || has(self.maxMonthly)",
            "budget is empty: give maxHourly or maxMonthly, or leave budget out.",
        )
    )

    max_hourly: float | None = Field(
        None,
        ge=0.01,
        le=100_000_000,
        description="Most that all replicas together may cost in one hour, in the currency of the pools' prices.",
    )
    max_monthly: float | None = Field(
        None,
        ge=0.01,
        le=100_000_000_000,
        description="The same for a month of 730 hours: no hour may cost more than its share. With both, the smaller "
        "counts.",
    )
