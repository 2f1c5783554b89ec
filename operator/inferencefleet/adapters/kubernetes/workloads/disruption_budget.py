"""Voluntary disruptions take one replica at a time; replicas that do not serve never hold up a drain."""

from __future__ import annotations

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.envelope import Json, fleet_object
from inferencefleet.domain.fleet import Fleet


def build_disruption_budget(fleet: Fleet) -> Json:
    spec = {
        "selector": {"matchLabels": {labels.FLEET: fleet.key.name}},
        "maxUnavailable": 1,
        # By default a pod that still loads its model would block the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return fleet_object(fleet, "policy/v1", "PodDisruptionBudget", spec)
