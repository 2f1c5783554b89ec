"""The one address of a fleet, over the pods of all its pools."""

from __future__ import annotations

from typing import Any

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.deployment import spec_hash
from inferencefleet.domain.fleet import Fleet

Json = dict[str, Any]


def build_service(fleet: Fleet) -> Json:
    manifest: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": labels.service_name(fleet.key.name),
            "namespace": fleet.key.namespace,
            "labels": labels.fleet_labels(fleet.key),
            "annotations": {},
            "ownerReferences": [labels.owner_reference(fleet)],
        },
        "spec": {
            "selector": {labels.FLEET: fleet.key.name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    manifest["metadata"]["annotations"][labels.SPEC_HASH] = spec_hash(manifest)
    return manifest
