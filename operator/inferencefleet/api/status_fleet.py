"""Status of an InferenceFleet. Typed to the last field: what is not here the API server drops without a word."""

from __future__ import annotations

from pydantic import Field

from inferencefleet.api.base import ApiModel, Timestamp, marks
from inferencefleet.api.status_calibration import CalibrationStatus
from inferencefleet.api.status_common import Condition, Conditions
from inferencefleet.domain.pool import CapacityType

HISTORY_KEPT = 10


class SummaryStatus(ApiModel):
    """What the columns of `kubectl get` show; strings are formatted for people."""

    slo: str | None = Field(None, description="SLO attainment, for example 99.4%.")
    reserved: int | None = Field(None, description="Replicas wanted on reserved GPUs.")
    on_demand: int | None = Field(None, description="Replicas wanted on on-demand GPUs.")
    spot: int | None = Field(None, description="Replicas wanted on spot GPUs.")
    hourly: str | None = Field(None, description="Cost per hour of the wanted replicas, for example 31.40.")
    calibration: str | None = Field(
        None, description="What engines have taught about their speed, for example Calibrated x1.06."
    )
    reason: str | None = Field(None, description="Why the fleet is as large as it is, in one word.")
    message: str | None = Field(None, description="The same in a sentence with numbers.")


class PoolShareStatus(ApiModel):
    name: str = Field(description="Name of the GPUPool.")
    capacity_type: CapacityType | None = Field(None, description="Reserved, OnDemand or Spot.")
    gpu: str | None = Field(None, description="GPU type.")
    tensor_parallel_size: int | None = Field(None, description="GPUs of one replica.")
    desired: int = Field(description="Replicas that the Deployment of this pool asks for.")
    placed: int | None = Field(
        None, description="Replicas that placement wants here; differs from desired while a change is held back."
    )
    ready: int = Field(0, description="Replicas that serve.")
    starting: int = Field(0, description="Replicas that have a node and load the model.")
    blocked: int = Field(0, description="Replicas without a node, or that cannot start.")
    doomed: int = Field(0, description="Replicas on nodes that are about to go.")
    reason: str | None = Field(None, description="Why this many, in one word.")
    message: str | None = Field(None, description="Why this many, in a sentence.")


class LatencyStatus(ApiModel):
    p50_seconds: float | None = Field(None, description="Median, in seconds.")
    p90_seconds: float | None = Field(None, description="90th percentile, in seconds.")
    p95_seconds: float | None = Field(None, description="95th percentile, in seconds.")
    p99_seconds: float | None = Field(None, description="99th percentile, in seconds.")


class ObservedStatus(ApiModel):
    as_of: Timestamp | None = Field(None, description="Time of the oldest sample that is used.")
    requests_per_second: float | None = Field(None, description="Requests that arrive each second.")
    prompt_tokens_mean: float | None = Field(None, description="Mean prompt length in tokens.")
    output_tokens_mean: float | None = Field(None, description="Mean output length in tokens.")
    prefix_hit_ratio: float | None = Field(
        None, description="Share of prompt tokens found in the prefix cache, 0 to 1."
    )
    waiting: float | None = Field(None, description="Requests that wait in the engines.")
    running: float | None = Field(None, description="Requests that are being answered.")
    kv_cache_usage: float | None = Field(
        None, description="Mean use of the KV cache, 0 to 1; near 1 requests are put back."
    )
    ttft: LatencyStatus | None = Field(None, description="Time to first token.")
    itl: LatencyStatus | None = Field(None, description="Inter-token latency.")
    e2e: LatencyStatus | None = Field(None, description="Time of the whole request.")
    attainment: float | None = Field(
        None, description="SLO attainment over the last hour, 0 to 1: the smallest share over the entries of spec.slo."
    )


class SizingStatus(ApiModel):
    pool: str = Field(description="Name of the GPUPool.")
    gpu: str = Field(description="GPU type.")
    tensor_parallel_size: int = Field(description="GPUs of one replica.")
    requests_per_second: float = Field(description="Largest arrival rate at which one replica keeps every SLO.")
    planned_requests_per_second: float | None = Field(
        None, description="What the plan counts on: that rate x utilisation, less the uncertainty of the model."
    )
    utilisation: float | None = Field(
        None,
        description="Share of that rate to plan with, 0 to 1: spec.scaling.headroom, or what suits the routing and "
        "the number of replicas.",
    )
    binding_limit: str = Field(description="What stops one replica from taking more, for example InterTokenLatency.")
    message: str | None = Field(None, description="The binding limit in words with its numbers.")
    limits_requests_per_second: dict[str, float] | None = Field(
        None, description="Arrival rate at which each limit alone would bind."
    )
    latency_seconds: dict[str, float] | None = Field(
        None, description="Modelled latencies at requestsPerSecond, for example ttft_p95."
    )
    concurrency: float | None = Field(None, description="Running requests at requestsPerSecond.")
    kv_cache_tokens: float | None = Field(None, description="Tokens that fit into the KV cache of one replica.")
    confidence: str | None = Field(
        None, description="How far these figures can be trusted before they are calibrated: High, Medium or Low."
    )
    caveats: list[str] | None = Field(None, description="Why confidence is not higher, the weightiest reason first.")
    price_per_hour: float | None = Field(None, description="Price of one replica per hour.")
    marginal_price_per_hour: float | None = Field(
        None, description="What one more replica adds to the bill per hour; 0 on reserved GPUs."
    )


class StepStatus(ApiModel):
    code: str = Field(description="Name of the rule, for example MaxReplicas.")
    message: str = Field(description="What it did and why, with numbers.")
    before: float | None = Field(None, description="Replicas before this step.")
    after: float | None = Field(None, description="Replicas after this step.")


class ForecasterStatus(ApiModel):
    name: str = Field(description="persistence, trend, holt, day or week: as now, rising, smoothed, as before.")
    weight: float = Field(description="Its say, 0 to 1, by how it has done lately.")
    requests_per_second: float = Field(description="What it expects at the horizon.")
    deviation_requests_per_second: float = Field(description="Standard deviation of its errors, before stretch.")


class PlanStatus(ApiModel):
    """Whoever reads it can do the sum again: demand -> horizon -> upper bound -> replicas -> each clamp."""

    reason: str | None = Field(None, description="What decided the number of replicas, in one word.")
    message: str | None = Field(None, description="What decided it, in a sentence.")
    demand_requests_per_second: float | None = Field(
        None, description="Requests that arrive each second; the declared rate until traffic is observed."
    )
    demand_observed: bool | None = Field(None, description="Whether demand is observed (true) or declared (false).")
    demand_message: str | None = Field(None, description="Where the demand comes from.")
    prompt_tokens_mean: float | None = Field(None, description="Mean prompt length that is planned for, in tokens.")
    output_tokens_mean: float | None = Field(None, description="Mean output length that is planned for, in tokens.")
    prefix_hit_ratio: float | None = Field(None, description="Share of prompt tokens counted on as cached, 0 to 1.")
    lengths_source: str | None = Field(None, description="Where the lengths come from: declared, blended or observed.")
    backlog_requests: float | None = Field(None, description="Waiting requests that must be worked off as well.")
    horizon_seconds: float | None = Field(None, description="How far ahead the plan looks.")
    level_requests_per_second: float | None = Field(None, description="Demand now, smoothed.")
    trend_requests_per_second_per_minute: float | None = Field(None, description="How fast demand grows.")
    noise_requests_per_second: float | None = Field(None, description="Standard deviation of demand around its trend.")
    backlog_drain_requests_per_second: float | None = Field(
        None, description="Extra rate that works off the backlog in time."
    )
    upper_requests_per_second: float | None = Field(
        None, description="What is planned for: upper bound over the horizon."
    )
    quantile: float | None = Field(
        None, description="Share of windows in which demand should stay below the bound, 0 to 1."
    )
    attainment_factor: float | None = Field(
        None,
        description="What measured misses of the SLO made of the utilisation: above 1 fewer missed than may, below 1 "
        "more did. 1 where spec.scaling.headroom is set.",
    )
    stretch: float | None = Field(
        None, description="What deviations are multiplied with, so that the bound breaks as often as it should."
    )
    floor_requests_per_second: float | None = Field(
        None, description="Largest demand that spec.traffic.schedule announces within the horizon."
    )
    forecasters: list[ForecasterStatus] | None = Field(
        None, description="What each way to forecast says.", json_schema_extra=marks(list_type="atomic")
    )
    forecast_message: str | None = Field(None, description="How the upper bound came about.")
    risk: str | None = Field(None, description="What a plausible loss of spot nodes would leave, and how likely it is.")
    steps: list[StepStatus] | None = Field(
        None,
        description="Every choice and clamp in order, from demand to replicas.",
        json_schema_extra=marks(list_type="atomic"),
    )


class RecommendationStatus(ApiModel):
    """As a VerticalPodAutoscaler says it: a target with what is around it."""

    lower: int | None = Field(
        None, description="Replicas that the demand of now needs, without a look ahead and without room for its noise."
    )
    target: int = Field(description="Replicas that the plan would have; in mode Auto the same as status.replicas.")
    upper: int | None = Field(None, description="Replicas that a very cautious look ahead would need.")
    uncapped: int | None = Field(
        None,
        description="Replicas that demand alone would have: no limit, window, rate policy or budget, and room for all. "
        "Above target the fleet is held down, below it held up; plan.steps says by what.",
    )


class CostStatus(ApiModel):
    hourly: float | None = Field(
        None, description="Cost per hour of all wanted replicas, reserved GPUs at their price."
    )
    marginal_hourly: float | None = Field(
        None, description="What they add to the bill per hour: reserved GPUs are paid anyway and count 0."
    )
    monthly: float | None = Field(None, description="hourly for a month of 730 hours.")
    budget_hourly: float | None = Field(
        None, description="What spec.budget allows per hour: maxHourly or a month's share, whichever is less."
    )
    currency: str | None = Field(None, description="ISO 4217 code of the pools' prices.")
    per_million_output_tokens: float | None = Field(
        None, description="Cost of a million output tokens at the observed traffic, prompts included."
    )
    marginal_per_million_output_tokens: float | None = Field(
        None, description="The same of what is paid beyond reserved GPUs."
    )
    output_tokens_per_dollar: float | None = Field(
        None, description="Output tokens at the observed traffic for one unit of the currency."
    )


class ChangeStatus(ApiModel):
    at: Timestamp = Field(description="When it was decided.")
    from_: int = Field(alias="from", description="Replicas before.")
    to: int = Field(description="Replicas after.")
    reason: str = Field(description="Why, in one word.")
    message: str | None = Field(None, description="Why, in a sentence.")


class FleetStatus(ApiModel):
    observed_generation: int | None = Field(
        None,
        description="metadata.generation that this status speaks about; -1 until the operator has looked for the "
        "first time.",
    )
    conditions: Conditions | None = None
    replicas: int | None = Field(None, description="Replicas wanted now, summed over pools (what /scale shows).")
    ready_replicas: int | None = Field(None, description="Replicas that serve.")
    selector: str | None = Field(None, description="Label selector of the fleet's pods, as a string, for /scale.")
    summary: SummaryStatus | None = Field(None, description="One line: what kubectl get shows.")
    pools: list[PoolShareStatus] | None = Field(
        None,
        description="Where the replicas are.",
        json_schema_extra=marks(list_type="map", list_map_keys=["name"]),
    )
    observed: ObservedStatus | None = Field(
        None, description="What Prometheus says. A missing field is unknown, not zero."
    )
    sizing: list[SizingStatus] | None = Field(
        None,
        description="What one replica can do on each pool's GPUs, and what limits it.",
        json_schema_extra=marks(list_type="map", list_map_keys=["pool"]),
    )
    calibration: list[CalibrationStatus] | None = Field(
        None,
        description="What running engines have taught about the physics, by pool and shape of replica.",
        json_schema_extra=marks(list_type="map", list_map_keys=["pool", "shape"]),
    )
    plan: PlanStatus | None = Field(None, description="The derivation: how demand became replicas, step by step.")
    recommendation: RecommendationStatus | None = Field(None, description="What the plan would do if it acted.")
    cost: CostStatus | None = Field(None, description="What the fleet costs.")
    history: list[ChangeStatus] | None = Field(
        None,
        max_length=HISTORY_KEPT,
        description="The last ten changes of the number of replicas, newest first.",
        json_schema_extra=marks(list_type="atomic"),
    )


__all__ = ["HISTORY_KEPT", "Condition", "FleetStatus"]
