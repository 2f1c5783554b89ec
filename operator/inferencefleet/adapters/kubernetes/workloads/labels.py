"""Names, labels and annotations of everything that belongs to a fleet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from inferencefleet.api.base import API_VERSION
from inferencefleet.domain.fleet import Fleet, FleetKey

MANAGER = "inferencefleet"

FLEET = "inferencefleet.io/fleet"
POOL = "inferencefleet.io/pool"
MANAGED_BY = "app.kubernetes.io/managed-by"
SPEC_HASH = "inferencefleet.io/spec-hash"
TENSOR_PARALLEL = "inferencefleet.io/tensor-parallel"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"

NAME_LENGTH = 63
_HASH_LENGTH = 8


def deployment_name(fleet: str, pool: str) -> str:
    """`<fleet>-<pool>`; when that is too long its head and a hash, so that two long names never meet."""
    return _fitted(f"{fleet}-{pool}", f"{fleet}/{pool}")


def service_name(fleet: str) -> str:
    """The fleet's name, as far as a Service may carry it.

    A Service named `vllm` makes Kubernetes inject `VLLM_PORT=tcp://...` into pods of the namespace, on which vLLM dies.
    """
    name = fleet.replace(".", "-")
    if name == "vllm" or not name[0].isalpha():
        name = f"fleet-{name}"
    return _fitted(name, fleet)


def fleet_labels(fleet: FleetKey) -> dict[str, str]:
    """On every object of a fleet."""
    return {
        "app.kubernetes.io/name": "vllm",
        "app.kubernetes.io/instance": fleet.name,
        MANAGED_BY: MANAGER,
        "app.kubernetes.io/part-of": MANAGER,
        FLEET: fleet.name,
    }


def owner_reference(fleet: Fleet) -> dict[str, Any]:
    """Deleting the fleet deletes its objects. Blocking that deletion would need another RBAC verb, and helps nobody."""
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceFleet",
        "name": fleet.key.name,
        "uid": fleet.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def is_managed(metadata: Mapping[str, Any]) -> bool:
    return bool((metadata.get("labels") or {}).get(MANAGED_BY) == MANAGER)


def is_owned_by(metadata: Mapping[str, Any], uid: str) -> bool:
    """Made by us for this very fleet, not for one of the same name before it."""
    return is_managed(metadata) and any(
        reference.get("uid") == uid and reference.get("controller")
        for reference in metadata.get("ownerReferences") or []
    )


def owner_of(metadata: Mapping[str, Any]) -> tuple[FleetKey, str] | None:
    """Fleet and pool from the labels; None when one is missing."""
    found = metadata.get("labels") or {}
    if FLEET not in found or POOL not in found:
        return None
    return FleetKey(metadata.get("namespace", ""), found[FLEET]), found[POOL]


def tensor_parallel_of(metadata: Mapping[str, Any]) -> int:
    return _integer((metadata.get("annotations") or {}).get(TENSOR_PARALLEL), 1)


def deletion_cost_of(metadata: Mapping[str, Any]) -> int:
    """As the ReplicaSet controller reads it: anything that is not an integer is 0."""
    return _integer((metadata.get("annotations") or {}).get(DELETION_COST), 0)


def _fitted(name: str, identity: str) -> str:
    if len(name) <= NAME_LENGTH and "." not in name:
        return name
    digest = hashlib.sha256(identity.encode()).hexdigest()[:_HASH_LENGTH]
    head = name.replace(".", "-")[: NAME_LENGTH - _HASH_LENGTH - 1].rstrip("-")
    return f"{head}-{digest}"


def _integer(text: str | None, otherwise: int) -> int:
    return int(text) if text and re.fullmatch(r"-?(0|[1-9][0-9]*)", text) else otherwise
