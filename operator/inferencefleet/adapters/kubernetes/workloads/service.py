"""The one address of a fleet, over the pods of all its pools."""

from __future__ import annotations

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.envelope import Json, fleet_object
from inferencefleet.domain.fleet import Fleet


def build_service(fleet: Fleet) -> Json:
    spec = {
        "selector": {labels.FLEET: fleet.key.name},
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
    }
    return fleet_object(fleet, "v1", "Service", spec)
