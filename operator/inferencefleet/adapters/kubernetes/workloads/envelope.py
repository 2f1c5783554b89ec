"""What the objects that serve a whole fleet have in common: name, labels, owner, hash."""

from __future__ import annotations

from typing import Any

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.deployment import spec_hash
from inferencefleet.domain.fleet import Fleet

Json = dict[str, Any]


def fleet_object(fleet: Fleet, api_version: str, kind: str, spec: Json) -> Json:
    """An object of the fleet, named after it and deleted with it."""
    manifest: Json = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": labels.service_name(fleet.key.name),
            "namespace": fleet.key.namespace,
            "labels": labels.fleet_labels(fleet.key),
            "annotations": {},
            "ownerReferences": [labels.owner_reference(fleet)],
        },
        "spec": spec,
    }
    manifest["metadata"]["annotations"][labels.SPEC_HASH] = spec_hash(manifest)
    return manifest
