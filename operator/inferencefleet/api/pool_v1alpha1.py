"""GPUPool: where GPUs come from. Descriptions are what `kubectl explain` says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inferencefleet.api.base import (
    EMPTY,
    ApiModel,
    Duration,
    ExtendedResource,
    LabelValue,
    Memory,
    MigProfile,
    marks,
    rule,
    rules,
    unless_set,
)
from inferencefleet.api.quantity import DURATION_PATTERN
from inferencefleet.api.status_pool import PoolStatus
from inferencefleet.domain.pool import CapacityType

_DURATION = DURATION_PATTERN.replace("\\", "\\\\")


class GpuBlock(ApiModel):
    type: str = Field(
        min_length=1,
        max_length=63,
        description="GPU type of the built-in catalogue, for example A100-SXM, H100-SXM, H200-SXM, B200, L40S, A10G or "
        "MI300X, or the value of the node label nvidia.com/gpu.product. For any other GPU a name of your own, together "
        "with memory, bandwidthGBPerSecond and bf16TFLOPS.",
    )
    mig_profile: MigProfile | None = Field(
        None,
        description="MIG profile when nodes offer slices instead of whole GPUs, for example 3g.40gb. A replica then "
        "runs on one slice: models are never split over slices. Default: whole GPUs.",
    )
    memory: Memory | None = Field(
        None,
        description="Memory of one GPU (or slice), for example 80Gi. Default: that of the catalogue; needed for GPUs "
        "that are not in it.",
    )
    bandwidth_gb_per_second: float | None = Field(
        None,
        alias="bandwidthGBPerSecond",
        ge=10,
        le=1_000_000,
        description="Memory bandwidth of one GPU in GB/s (10^9 bytes), from its datasheet, for example 3350. Default: "
        "that of the catalogue; needed for GPUs that are not in it.",
    )
    bf16_tflops: float | None = Field(
        None,
        alias="bf16TFLOPS",
        ge=1,
        le=1_000_000,
        description="Dense bf16 tensor throughput of one GPU in TFLOPS, from its datasheet (half of the figure 'with "
        "sparsity'), for example 989. Default: that of the catalogue; needed for GPUs that are not in it.",
    )
    fp8_tflops: float | None = Field(
        None,
        alias="fp8TFLOPS",
        ge=1,
        le=1_000_000,
        description="Dense fp8 tensor throughput in TFLOPS. Default: that of the catalogue, else no faster than bf16.",
    )
    fp4_tflops: float | None = Field(
        None,
        alias="fp4TFLOPS",
        ge=1,
        le=1_000_000,
        description="Dense 4-bit tensor throughput (nvfp4, mxfp4) in TFLOPS. Default: that of the catalogue, else no "
        "faster than bf16.",
    )
    nvlink: bool | None = Field(
        None,
        description="Whether the GPUs of one node are linked by NVLink or the like; if not, a model is split over them "
        "only when it fits no other way. Default: that of the catalogue, else true.",
    )
    per_node: int = Field(8, ge=1, le=64, description="GPUs (or slices) of one node. Default 8.")
    resource_name: ExtendedResource | None = Field(
        None,
        description="Extended resource under which nodes offer the GPU. Default: nvidia.com/gpu, amd.com/gpu for AMD "
        "types, and nvidia.com/mig-<profile> with a migProfile.",
    )


class PriceBlock(ApiModel):
    per_gpu_hour: float = Field(
        alias="perGPUHour",
        ge=0,
        le=10_000,
        description="Price of one GPU for one hour, for example 2.10. Of reserved GPUs what the reservation costs: it "
        "is "
        "paid whether used or not, so the plan fills them first and counts them as free.",
    )
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = Field(
        "USD", description="ISO 4217 code. Prices are compared as they are: use one currency for all pools."
    )


class LimitsBlock(ApiModel):
    gpus: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Most GPUs that all fleets together may use here: the size of the reservation, your quota, or a "
        "cap on "
        "spending. Default: no limit (Reserved pools must have one).",
    )


class Toleration(ApiModel):
    model_config = rules(
        rule(
            "has(self.key) && self.key != ''",
            "a toleration without a key tolerates every taint, also those of nodes that are about to go: name the "
            "key, for example nvidia.com/gpu.",
        )
    )

    key: str | None = Field(None, description="Taint key, for example nvidia.com/gpu.")
    operator: Literal["Equal", "Exists"] | None = Field(None, description="Equal (the default) or Exists.")
    value: str | None = Field(None, description="Taint value, for operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Taint effect. Default: all."
    )
    toleration_seconds: int | None = Field(None, description="For NoExecute: seconds until the pod is evicted.")


class NodesBlock(ApiModel):
    selector: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=20,
        description="Labels that every node of this pool has, and no node of another pool. Default: the label "
        "inferencefleet.io/pool with the pool's name.",
    )
    tolerations: list[Toleration] = Field(
        default_factory=list,
        max_length=20,
        description="Taints of the pool's nodes that replicas tolerate, as in a pod. Default: none.",
        json_schema_extra=marks(list_type="atomic"),
    )


class ProvisioningBlock(ApiModel):
    model_config = rules(
        rule(
            f"{unless_set('p50', 'p95')} || !self.p50.matches('{_DURATION}') || !self.p95.matches('{_DURATION}') || "
            "duration(self.p50) <= duration(self.p95)",
            "p50 is {self.p50}, above p95, {self.p95}: half of all nodes come within p50, so p95 is at least that.",
            at=".p95",
        )
    )

    p50: Duration = Field("3m", description="Half of all new nodes are there within this time. Default 3m.")
    p95: Duration = Field(
        "10m",
        description="95 of 100 new nodes are there within this time. A replica that has waited longer for a node "
        "marks the "
        "pool exhausted, and the plan spills over to the next cheapest pool. Default 10m.",
    )


class PoolSpotBlock(ApiModel):
    interruptions_per_hour: float = Field(
        0.05,
        ge=0,
        le=60,
        description="How often a node is taken back in an hour, for example 0.05: once in 20 hours (the default). What "
        "is seen outweighs it within a day.",
    )
    notice: Duration = Field(
        "2m",
        description="Warning time before a spot node is taken away: 2m on AWS (the default), 30s on Azure and Google "
        "Cloud.",
    )


class PoolSpec(ApiModel):
    model_config = rules(
        rule(
            "self.capacityType != 'Reserved' || (has(self.limits) && has(self.limits.gpus))",
            "a Reserved pool needs limits.gpus: it is paid already and counts as free, so without its size the plan "
            "would put everything there. Set limits.gpus to the number of GPUs you reserved.",
            at=".capacityType",
        ),
        rule(
            "!has(self.spot) || self.capacityType == 'Spot'",
            "spot is only for capacityType Spot, and this pool is {self.capacityType}: remove spot or change "
            "capacityType.",
            at=".spot",
        ),
        rule(
            "!has(self.limits) || !has(self.limits.gpus) || self.limits.gpus == 0 || "
            "self.limits.gpus >= self.gpu.perNode || self.capacityType != 'Reserved'",
            "limits.gpus is {self.limits.gpus}, less than one node of {self.gpu.perNode} GPUs (gpu.perNode): lower "
            "gpu.perNode to what a node really has.",
            at=".limits.gpus",
        ),
    )

    gpu: GpuBlock = Field(description="Which GPU the pool has, and how many are in a node.")
    capacity_type: CapacityType = Field(
        description="Reserved: paid whether used or not, filled first. OnDemand: paid by the hour. Spot: cheaper, and "
        "taken back on short notice.",
    )
    price: PriceBlock = Field(description="What a GPU of this pool costs.")
    limits: LimitsBlock = Field(
        default_factory=LimitsBlock, description="How much of the pool may be used.", json_schema_extra=EMPTY
    )
    nodes: NodesBlock = Field(
        default_factory=NodesBlock, description="Which nodes belong to the pool.", json_schema_extra=EMPTY
    )
    provisioning: ProvisioningBlock = Field(
        default_factory=ProvisioningBlock,
        description="How long a new node takes, from a pending pod to a ready node.",
        json_schema_extra=EMPTY,
    )
    spot: PoolSpotBlock | None = Field(None, description="How spot nodes go away. Only for capacityType Spot.")


class GpuPool(ApiModel):
    model_config = rules(
        rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
            'the name "{self.metadata.name}" cannot be used: it becomes part of the names of Deployments. Use at most '
            "40 lower-case letters, digits and dashes, starting with a letter.",
        )
    )

    spec: PoolSpec = Field(description="What the pool offers, and at which price.")
    status: PoolStatus | None = Field(None, description="How much of the pool is there and in use.")
