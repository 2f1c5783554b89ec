"""Status of a GPUPool."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inferencefleet.api.base import ApiModel, Timestamp, marks
from inferencefleet.api.status_common import Conditions
from inferencefleet.domain.pool import GROUP_SHARES


class GpusStatus(ApiModel):
    total: int = Field(description="GPUs on ready nodes.")
    used: int = Field(description="GPUs requested by pods on these nodes, of fleets and of others.")
    planned: int | None = Field(None, description="GPUs that the plans of all fleets want here.")


class ExhaustionStatus(ApiModel):
    """Kept in the status so that a restart of the operator does not forget it."""

    since: Timestamp = Field(description="When the pool was first found unable to deliver.")
    until: Timestamp = Field(description="No new replicas before this time; then one is tried.")
    strikes: int = Field(ge=1, description="Failures in a row; the waiting time doubles with each.")


class TallyStatus(ApiModel):
    """Sums that fade within a week."""

    node_hours: float = Field(0.0, ge=0, description="Node hours that were watched.")
    group_hours: float = Field(0.0, ge=0, description="Hours in which two or more nodes were watched.")
    lone: float = Field(0.0, ge=0, description="Interruptions that took one node.")
    groups: list[Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: [0.0] * len(GROUP_SHARES),
        min_length=len(GROUP_SHARES),
        max_length=len(GROUP_SHARES),
        description="Interruptions that took several nodes at once: up to a quarter, half, three quarters, all of the "
        "nodes that were there.",
        json_schema_extra=marks(list_type="atomic"),
    )


class LatestInterruption(ApiModel):
    since: Timestamp = Field(description="When its first node was taken, or marked to be.")
    nodes: int = Field(ge=1, description="Nodes that it took.")
    of: int = Field(ge=1, description="Nodes that were there before.")
    restless: bool = Field(False, description="It came soon after another.")


class InterruptionsStatus(ApiModel):
    """Kept in the status so that a restart of the operator does not forget it."""

    as_of: Timestamp = Field(description="When these numbers were counted.")
    per_node_hour: float | None = Field(
        None,
        ge=0,
        description="How often a node is expected to be taken back in an hour, from what was declared and what was "
        "seen.",
    )
    nodes: float = Field(0.0, ge=0, description="Nodes that were taken back; fades within a week.")
    notice_seconds: float | None = Field(None, ge=0, description="Mean notice of nodes that were taken after one.")
    noticed: float = Field(0.0, ge=0, description="Nodes that were taken after a notice; fades within a week.")
    silent: float = Field(0.0, ge=0, description="Nodes that were taken without a notice; fades within a week.")
    quiet_since: Timestamp | None = Field(
        None, description="Latest interruption, or the first node after there were none."
    )
    latest: LatestInterruption | None = Field(None, description="The latest interruption.")
    calm: TallyStatus = Field(default_factory=TallyStatus, description="Counted while the pool was quiet for a while.")
    restless: TallyStatus = Field(
        default_factory=TallyStatus, description="Counted soon after an interruption: more of them come then."
    )


class PoolStatus(ApiModel):
    observed_generation: int | None = Field(
        None,
        description="metadata.generation that this status speaks about; -1 until the operator has looked for the "
        "first time.",
    )
    conditions: Conditions | None = None
    gpus: GpusStatus | None = Field(None, description="GPUs of the pool.")
    exhaustion: ExhaustionStatus | None = Field(
        None, description="Set while the pool does not deliver the nodes that replicas wait for."
    )
    interruptions: InterruptionsStatus | None = Field(
        None, description="Of spot pools: how nodes were taken back while replicas ran on them."
    )
    worth_per_gpu_hour: float | None = Field(
        None,
        alias="worthPerGPUHour",
        ge=0,
        description="What one GPU more in this pool would save or be worth to the fleets for an hour; absent while "
        "there are enough.",
    )
