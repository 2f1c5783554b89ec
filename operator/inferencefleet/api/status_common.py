"""Parts of a status that both kinds share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inferencefleet.api.base import ApiModel, Timestamp, marks


class Condition(ApiModel):
    """`metav1.Condition`, field by field, so that `kubectl wait --for=condition=...` and GitOps tools understand it."""

    type: str = Field(
        max_length=316,
        pattern=r"^[A-Za-z][A-Za-z0-9]*$",
        description="Name of the condition in CamelCase, for example Ready.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        None, ge=0, description="metadata.generation of the spec that this condition speaks about."
    )
    last_transition_time: Timestamp = Field(description="When status last changed from one value to another.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Why, as one CamelCase word that scripts may rely on.",
    )
    message: str = Field(max_length=32768, description="Why, as a sentence with numbers.")


Conditions = Annotated[
    list[Condition],
    Field(
        description="Standard Kubernetes conditions; read them with kubectl describe or wait for one with kubectl "
        "wait.",
        json_schema_extra=marks(list_type="map", list_map_keys=["type"]),
    ),
]
