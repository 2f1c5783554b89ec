"""Status of a GPUPool."""

from __future__ import annotations

from pydantic import Field

from inferencefleet.api.base import ApiModel, Timestamp
from inferencefleet.api.status_common import Conditions


class GpusStatus(ApiModel):
    total: int = Field(description="GPUs on ready nodes.")
    used: int = Field(description="GPUs requested by pods on these nodes, of fleets and of others.")
    planned: int | None = Field(None, description="GPUs that the plans of all fleets want here.")


class ExhaustionStatus(ApiModel):
    """Kept in the status so that a restart of the operator does not forget it."""

    since: Timestamp = Field(description="When the pool was first found unable to deliver.")
    until: Timestamp = Field(description="No new replicas before this time; then one is tried.")
    strikes: int = Field(ge=1, description="Failures in a row; the waiting time doubles with each.")


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
