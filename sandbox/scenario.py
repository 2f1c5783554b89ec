"""Scenario files: what the simulated cloud offers, how the engines really behave, and what happens when.

One file drives the demo and the tests. Every field is documented here; `sandbox/scenarios/quickstart.yaml` is the
example to read. Unknown keys are refused, durations are written like `12s`, `500ms`, `3m`.
"""

from __future__ import annotations

import re
from math import exp, log
from pathlib import Path
from random import Random
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

SCENARIOS = Path(__file__).parent / "scenarios"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(value: object) -> float:
    """Seconds of `500ms`, `12s`, `1m30s`; a plain number is refused because its unit is a guess."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"{value!r} is not a duration: write it like 500ms, 12s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _defaulted_duration(value: object) -> object:
    return value if isinstance(value, float) else parse_duration(value)


Seconds = Annotated[float, BeforeValidator(_defaulted_duration)]


class Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Delay(Part):
    """A log-normal delay by its median and 95th percentile."""

    p50: Seconds
    p95: Seconds

    def sample(self, random: Random) -> float:
        if self.p50 <= 0:
            return 0.0
        return self.p50 * exp(random.gauss(0.0, 1.0) * log(max(1.0, self.p95 / self.p50)) / 1.645)


class PoolScenario(Part):
    """One pool of nodes as the cloud sees it."""

    name: str
    """Value of the node label `inferencefleet.io/pool`; pods ask for it by nodeSelector."""
    capacity_type: Literal["reserved", "on-demand", "spot"]
    gpu: str = "H100-SXM"
    """Catalogue name: decides how fast engines on these nodes are."""
    gpu_product: str = "NVIDIA-H100-80GB-HBM3"
    """Value of the label `nvidia.com/gpu.product`."""
    instance_type: str = "gpu.sim"
    gpus_per_node: int = 4
    nodes: int = 0
    """Nodes that exist from the start; a reserved pool has all of its nodes from the start."""
    max_nodes: int = 8
    """Quota: the cloud refuses more."""
    price_per_gpu_hour: float = 0.0
    provisioning: Delay = Delay(p50=12.0, p95=15.0)
    """From an unschedulable pod to a Ready node."""
    idle_removal: Seconds = 30.0
    """A node without pods is given back after this; reserved nodes stay."""
    spot_notice: Seconds = 30.0


class ReplicaScenario(Part):
    """How long a pod takes, once bound, until its engine answers."""

    image_pull: Delay = Delay(p50=2.0, p95=2.5)
    load: Delay = Delay(p50=18.0, p95=20.0)
    """Weights, compilation, graphs: the time during which the container runs and its port refuses connections."""
    crash_backoff: Seconds = 10.0
    """First back-off of CrashLoopBackOff and ImagePullBackOff; doubles up to five minutes."""


class TruthScenario(Part):
    """How far the real engines are off the operator's prior; see `inferencefleet.simulator.truth.Truth`."""

    memory: float = 1.0
    compute: float = 1.0
    overhead: float = 1.0
    kv_cache: float = 1.0
    replica_spread: float = 0.01
    step_noise: float = 0.03
    watermark: float = 0.01
    frontend: Seconds = 0.015


class Target(Part):
    percentile: int = 95
    target: Seconds


class SloScenario(Part):
    """What the twin measures the truth against; written the same as in the InferenceFleet."""

    ttft: Target = Target(target=2.0)
    itl: Target = Target(target=0.1)
    attainment: float = 0.99
    """Declared share of one-minute windows in which both hold."""


class Traffic(Part):
    """A recorded trace, replayed at a rate that this file decides. Lengths stay as recorded."""

    model: str
    """Served model name: requests go to ready pods that serve it."""
    trace: str = "azure_llm_2023_conv.csv.gz"
    rate: list[tuple[Seconds, float]] = Field(min_length=1)
    """Points (time, requests per second), joined by straight lines; constant before the first and after the last."""
    prefix_hit_ratio: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _in_order(self) -> Traffic:
        times = [at for at, _ in self.rate]
        if times != sorted(times) or any(rps < 0 for _, rps in self.rate):
            raise ValueError("rate: times must ascend and rates must not be negative")
        return self


class Interrupt(Part):
    """The cloud takes nodes of a pool back: taint at once, gone after the notice."""

    pool: str
    nodes: int = 1
    notice: Seconds | None = None
    """Default: the pool's `spotNotice`."""


class StockOut(Part):
    """No new node of this pool for a while; what runs stays."""

    pool: str
    lasts: Seconds


class EngineFault(Part):
    """`crash`: the process exits. `hang`: /health stays 200, no token moves. `freeze`: /metrics stops answering."""

    kind: Literal["crash", "hang", "freeze"]
    pool: str | None = None
    replicas: int = 1
    lasts: Seconds = 60.0
    """Of `freeze` and `hang`."""


class DemandChange(Part):
    """Replaces the rate curve from now on; null gives the curve back."""

    rps: float | None


class TimelineEntry(Part):
    """One thing that happens, `at` seconds after traffic began."""

    at: Seconds
    interrupt: Interrupt | None = None
    stockout: StockOut | None = None
    fault: EngineFault | None = None
    demand: DemandChange | None = None

    @model_validator(mode="after")
    def _one(self) -> TimelineEntry:
        if sum(each is not None for each in (self.interrupt, self.stockout, self.fault, self.demand)) != 1:
            raise ValueError("a timeline entry holds exactly one of interrupt, stockout, fault, demand")
        return self


class Start(Part):
    """When the clock of traffic and timeline starts."""

    ready_replicas: int = 1
    timeout: Seconds = 300.0
    """Start anyway after this: an operator that brings nothing up must not hide behind a waiting twin."""


class Scenario(Part):
    name: str
    description: str = ""
    duration: Seconds
    """Length of traffic; the twin goes on until it is told to end, but measures this long."""
    start: Start = Start()
    slo: SloScenario = SloScenario()
    truth: TruthScenario = TruthScenario()
    replica: ReplicaScenario = ReplicaScenario()
    pools: list[PoolScenario] = Field(min_length=1)
    traffic: list[Traffic] = []
    timeline: list[TimelineEntry] = []

    @model_validator(mode="after")
    def _pools_exist(self) -> Scenario:
        known = {pool.name for pool in self.pools}
        if len(known) != len(self.pools):
            raise ValueError("two pools have one name")
        for entry in self.timeline:
            named = entry.interrupt or entry.stockout or entry.fault
            if named is not None and named.pool is not None and named.pool not in known:
                raise ValueError(f"timeline at {entry.at:g}s: no pool {named.pool!r}; there are {sorted(known)}")
        return self


def load_scenario(source: str | Path) -> Scenario:
    """From a file, or by the name of one in `sandbox/scenarios`."""
    path = Path(source)
    if not path.suffix:
        path = SCENARIOS / f"{source}.yaml"
    return Scenario.model_validate(yaml.safe_load(path.read_text()))
