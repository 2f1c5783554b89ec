"""InferenceFleet: what a user declares. Descriptions are what `kubectl explain` says, so they teach.

Only fields that something reads are here; each has its counterpart in `domain.fleet`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inferencefleet.api.base import EMPTY, ApiModel, AutoOrDuration, Duration, marks, rule, rules, unless_set
from inferencefleet.api.fleet_engine import EngineBlock, ModelBlock
from inferencefleet.api.quantity import DURATION_PATTERN
from inferencefleet.api.status_fleet import FleetStatus
from inferencefleet.domain.fleet import Mode, SpotPolicy
from inferencefleet.domain.slo import SloMetric

_UNREADABLE = "!self.{0}.matches('" + DURATION_PATTERN.replace("\\", "\\\\") + "')"
"""CEL evaluates the rules also when the pattern has failed already, and `duration()` of nonsense is an error."""


class SloBlock(ApiModel):
    model_config = rules(
        rule(
            r"!self.target.matches('^0+(\\.0+)?(ms|s|m|h)$')",
            "target is {self.target}: no answer takes no time. Write for example 800ms or 2s.",
            at=".target",
        )
    )

    metric: SloMetric = Field(
        description="What is timed, as the client sees it. ttft: time to first token, from the request to the first "
        "word. "
        "itl: inter-token latency, the pause between words. e2e: the whole request.",
    )
    percentile: Literal[50, 90, 95, 99] = Field(
        description="Percent of all values that must be within the target: 50, 90, 95 or 99.",
    )
    target: Duration = Field(
        description="The longest allowed time with its unit (ms, s, m or h), for example 800ms or 2s.",
    )


class LengthBlock(ApiModel):
    model_config = rules(
        rule(
            "!has(self.p95) || self.p95 >= self.mean",
            "p95 is {self.p95}, below the mean, {self.mean}: 95 of 100 requests are at most p95 tokens long, so give "
            "a p95 of at least the mean, or leave it out.",
            at=".p95",
        ),
        rule(
            "!has(self.p99) || self.p99 >= (has(self.p95) ? self.p95 : self.mean)",
            "p99 is {self.p99}, below p95 or the mean: raise p99, or leave it out.",
            at=".p99",
        ),
    )

    mean: float = Field(ge=1, le=10_000_000, description="Mean tokens per request, for example 1000.")
    p95: float | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Tokens that 95 of 100 requests stay within. Default: estimated from the mean, assuming the usual "
        "long tail. Long requests decide how many GPUs the SLO needs, so give it if you know it.",
    )
    p99: float | None = Field(
        None, ge=1, le=10_000_000, description="Tokens that 99 of 100 requests stay within. Default: estimated."
    )


class ExpectedBlock(ApiModel):
    requests_per_second: float = Field(
        ge=0, le=1_000_000, description="Requests per second of the whole fleet, for example 4."
    )
    prompt_tokens: LengthBlock = Field(description="Length of prompts (input) in tokens.")
    output_tokens: LengthBlock = Field(description="Length of answers (output) in tokens.")
    prefix_hit_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of prompt tokens, 0 to 1, that are found in the prefix cache: high for long system prompts "
        "and "
        "chats, 0 (the default) when prompts have nothing in common.",
    )


class TrafficBlock(ApiModel):
    expected: ExpectedBlock = Field(
        description="What you expect. The first replicas are sized from it; as soon as Prometheus has seen real "
        "traffic, "
        "what is observed takes its place.",
    )


class SpotBlock(ApiModel):
    policy: SpotPolicy = Field(
        SpotPolicy.HEDGED,
        description="Never: no spot GPUs. Hedged (the default): spot as far as the SLO survives the loss of any one "
        "spot "
        "node. Preferred: spot whenever it is cheaper, without spares.",
    )
    max_fraction: float = Field(
        0.5, ge=0, le=1, description="Largest share of replicas on spot, 0 to 1. Default 0.5: at most every second one."
    )


class PlacementBlock(ApiModel):
    pools: list[Annotated[str, Field(min_length=1, max_length=63)]] | None = Field(
        None,
        min_length=1,
        max_length=50,
        description="Names of the GPUPools that the fleet may use, in any order: the cheapest that keeps the SLO is "
        "filled "
        "first. Default: every pool (see kubectl get gpool).",
        json_schema_extra=marks(list_type="set"),
    )
    spot: SpotBlock = Field(
        default_factory=SpotBlock, description="How far the fleet may live on spot GPUs.", json_schema_extra=EMPTY
    )


class ScalingRules(ApiModel):
    stabilization_window_seconds: int | None = Field(
        None,
        ge=0,
        le=3600,
        description="As in a HorizontalPodAutoscaler: look back over this many seconds and act on the most cautious "
        "recommendation in them. Default: 0 for scaleUp, 300 for scaleDown.",
    )


class BehaviorBlock(ApiModel):
    scale_up: ScalingRules = Field(
        default_factory=ScalingRules, description="How replicas are added.", json_schema_extra=EMPTY
    )
    scale_down: ScalingRules = Field(
        default_factory=ScalingRules, description="How replicas are removed.", json_schema_extra=EMPTY
    )


class ScalingBlock(ApiModel):
    model_config = rules(
        rule(
            f"{unless_set('minReplicas', 'maxReplicas')} || self.minReplicas <= self.maxReplicas",
            "minReplicas is {self.minReplicas}, above maxReplicas, {self.maxReplicas}: lower minReplicas or raise "
            "maxReplicas.",
            at=".minReplicas",
        ),
        rule(
            f"!has(self.startup) || {_UNREADABLE.format('startup')} || duration(self.startup) >= duration('1m')",
            "startup is {self.startup}, and no vLLM serves within a minute: the container would be restarted for ever. "
            "Give at least 1m; 30m suits 70B models.",
            at=".startup",
        ),
        rule(
            f"!has(self.drain) || {_UNREADABLE.format('drain')} || duration(self.drain) <= duration('1h')",
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
    headroom: float = Field(
        0.7,
        ge=0.1,
        le=1,
        description="Planned utilisation: the share of a replica's capacity, 0.1 to 1, that the plan counts on. "
        "Default "
        "0.7. The rest absorbs bursts; lower is safer and dearer.",
    )
    horizon: AutoOrDuration = Field(
        "auto",
        description="How far to look ahead when traffic grows. auto (the default): as long as a new replica takes from "
        "decision to serving. Or a duration, for example 10m.",
    )
    behavior: BehaviorBlock = Field(
        default_factory=BehaviorBlock,
        description="How fast to follow, as in a HorizontalPodAutoscaler.",
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


class FleetSpec(ApiModel):
    model_config = rules(
        rule(
            "self.engine.prefixCaching || self.traffic.expected.prefixHitRatio == 0.0",
            "traffic.expected.prefixHitRatio is {self.traffic.expected.prefixHitRatio} while engine.prefixCaching is "
            "false: without the cache nothing is hit. Set prefixHitRatio to 0 or prefixCaching to true.",
            at=".traffic.expected.prefixHitRatio",
        )
    )

    model: ModelBlock = Field(description="Which model is served, and in which number formats.")
    engine: EngineBlock = Field(
        default_factory=EngineBlock,
        description="How vLLM is started. The defaults are right for most.",
        json_schema_extra=EMPTY,
    )
    slo: list[SloBlock] = Field(
        min_length=1,
        max_length=12,
        description="Service level objectives: how fast answers must be. Each entry reads 'percentile percent of "
        "metric "
        "are at most target', for example {metric: ttft, percentile: 95, target: 2s}: 95 of 100 requests get their "
        "first "
        "token within two seconds. All entries must hold at once; the fleet is the cheapest that keeps them. One entry "
        "for each metric and percentile.",
        json_schema_extra=marks(list_type="map", list_map_keys=["metric", "percentile"]),
    )
    attainment: float = Field(
        0.99,
        ge=0.5,
        le=0.9999,
        description="Share of one-minute windows, 0.5 to 0.9999, in which every entry of spec.slo must hold: the plan "
        "has room for the demand of that share of them. Default 0.99: 99 of 100 minutes.",
    )
    traffic: TrafficBlock = Field(description="What the fleet has to serve.")
    placement: PlacementBlock = Field(
        default_factory=PlacementBlock,
        description="Which GPUs the fleet may use.",
        json_schema_extra=EMPTY,
    )
    scaling: ScalingBlock = Field(
        default_factory=ScalingBlock,
        description="How many replicas there may be, and how fast that changes.",
        json_schema_extra=EMPTY,
    )


class InferenceFleet(ApiModel):
    model_config = rules(
        rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$') && self.metadata.name != 'vllm'",
            'the name "{self.metadata.name}" cannot be used: it becomes the name of a Service and part of others. Use '
            "at most 40 lower-case letters, digits and dashes, starting with a letter, and not vllm (a Service of "
            "that name sets VLLM_PORT in other pods and breaks their engines).",
        )
    )

    spec: FleetSpec = Field(description="What you want: model, speed, traffic, and where it may run.")
    status: FleetStatus | None = Field(None, description="What is, what is planned, and why.")
