"""Voluntary disruptions take one replica at a time; replicas that do not serve never hold up a drain."""

from __future__ import annotations

from typing import Any

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.deployment import spec_hash
from inferencefleet.domain.fleet import Fleet

Json = dict[str, Any]


def build_disruption_budget(fleet: Fleet) -> Json:
    manifest: Json = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": labels.service_name(fleet.key.name),
            "namespace": fleet.key.namespace,
            "labels": labels.fleet_labels(fleet.key),
            "annotations": {},
            "ownerReferences": [labels.owner_reference(fleet)],
        },
        "spec": {
            "selector": {"matchLabels": {labels.FLEET: fleet.key.name}},
            "maxUnavailable": 1,
            # By default a pod that still loads its model would block the drain of its node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
    manifest["metadata"]["annotations"][labels.SPEC_HASH] = spec_hash(manifest)
    return manifest
