"""`spec.traffic` of an InferenceFleet: what it has to serve, declared. Descriptions are what `kubectl explain` says."""

from __future__ import annotations

from pydantic import Field

from inferencefleet.api.base import UNREADABLE, ApiModel, Cron, Duration, TimeZone, marks, rule, rules
from inferencefleet.domain.fleet import Routing, TrafficClass


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
        "and chats, 0 (the default) when prompts have nothing in common.",
    )


class ScheduleBlock(ApiModel):
    model_config = rules(
        rule(
            f"{UNREADABLE.format('duration')} || (duration(self.duration) >= duration('1m') && "
            "duration(self.duration) <= duration('168h'))",
            "duration is {self.duration}: a window lasts from 1m to 168h (a week).",
            at=".duration",
        )
    )

    cron: Cron = Field(
        description="When the window opens, as five cron fields: minute, hour, day of month, month, day of week. For "
        "example 30 7 * * MON-FRI: at half past seven on working days. Replicas serve when it opens, because the plan "
        "looks ahead by their start-up time."
    )
    timezone: TimeZone = Field(
        "UTC",
        description="IANA time zone in which cron is read, summer time included, for example Europe/Berlin. Default "
        "UTC.",
    )
    duration: Duration = Field(description="How long the window stays open, for example 10h; at most 168h.")
    requests_per_second: float = Field(
        ge=0,
        le=1_000_000,
        description="While the window is open, the plan has room for at least this many requests per second, whatever "
        "is observed.",
    )


class TrafficBlock(ApiModel):
    expected: ExpectedBlock = Field(
        description="What you expect. The first replicas are sized from it; as soon as Prometheus has seen real "
        "traffic, what is observed takes its place.",
    )
    class_: TrafficClass = Field(
        TrafficClass.INTERACTIVE,
        alias="class",
        description="interactive (the default): somebody waits for the answer. batch: nobody does, so the fleet may "
        "live on spot GPUs without spares and catch up after a loss.",
    )
    routing: Routing = Field(
        Routing.UNIFORM,
        description="How requests find a replica. Uniform (the default): evenly or at random, as a plain Service does; "
        "on mixed GPUs every replica is then worth no more than the slowest, and tails are longer. LoadAware: a "
        "gateway sends each to the least loaded replica. PrefixAware: to the one that has its beginning cached. Say "
        "what you have: this setting configures no gateway.",
    )
    schedule: list[ScheduleBlock] = Field(
        default_factory=list,
        max_length=50,
        description="Traffic that you know of in advance, as windows with a floor under the demand: office hours, a "
        "launch, a nightly batch. Where windows overlap the highest counts. Default: none.",
        json_schema_extra=marks(list_type="atomic"),
    )
