"""InferenceFleet: what a user declares. Descriptions are what `kubectl explain` says, so they teach.

Only fields that something reads are here; each has its counterpart in `domain.fleet`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inferencefleet.api.base import EMPTY, ApiModel, Duration, marks, rule, rules
from inferencefleet.api.fleet_engine import EngineBlock, ModelBlock
from inferencefleet.api.fleet_scaling import BudgetBlock, ScalingBlock
from inferencefleet.api.fleet_traffic import TrafficBlock
from inferencefleet.api.status_fleet import FleetStatus
from inferencefleet.domain.fleet import SpotPolicy
from inferencefleet.domain.slo import SloMetric


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
    budget: BudgetBlock | None = Field(
        None,
        description="What the fleet may cost. All replicas count at their pool's price, those on reserved GPUs as "
        "well. minReplicas stands whatever the budget; beyond it the SLO gives way to the money, and the condition "
        "WithinBudget says so. Default: no limit.",
    )
    priority: int = Field(
        0,
        ge=-1_000_000,
        le=1_000_000,
        description="Who gets GPUs first when there are too few for all fleets: the higher number. Default 0.",
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
