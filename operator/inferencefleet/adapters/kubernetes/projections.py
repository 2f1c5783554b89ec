"""What is kept of each object: nodes and pods are large, and a cluster has many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencefleet.adapters.kubernetes.client import Json
from inferencefleet.adapters.kubernetes.quantity import parse_quantity

_METADATA = ("name", "namespace", "uid", "labels", "annotations", "creationTimestamp", "resourceVersion")
_DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")


def node(item: Json) -> Json:
    status = item.get("status") or {}
    conditions = [
        {key: condition.get(key) for key in ("type", "status", "reason", "message")}
        for condition in status.get("conditions") or []
        if condition.get("type") in ("Ready", "VMEventScheduled")
    ]
    return {
        "metadata": _metadata(item, skip=("annotations",)),
        "spec": {key: item.get("spec", {}).get(key) for key in ("taints", "unschedulable")},
        "status": {"allocatable": extended_resources(status.get("allocatable") or {}), "conditions": conditions},
    }


def fleet_pod(item: Json) -> Json:
    spec, status = item["spec"], item.get("status") or {}
    return {
        "metadata": _metadata(item),
        "spec": {"nodeName": spec.get("nodeName")},
        "status": {
            key: status.get(key)
            for key in ("phase", "reason", "message", "conditions", "containerStatuses", "initContainerStatuses")
        },
    }


def gpu_user(item: Json) -> Json | None:
    """Node and extended resources of a pod; None for the many pods that ask for none."""
    requests = pod_requests(item["spec"])
    if not requests:
        return None
    metadata = {key: item["metadata"].get(key) for key in ("name", "namespace")}
    return {"metadata": metadata, "node": item["spec"].get("nodeName"), "requests": requests}


def pod_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources as the scheduler counts them: init containers run one by one, side-cars all along."""
    running: dict[str, int] = {}
    for container in spec.get("containers") or []:
        _add(running, _asked(container))
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or []:
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            _add(running, asked)
        else:
            for name, amount in asked.items():
                peak[name] = max(peak.get(name, 0), amount)
    return {name: max(running.get(name, 0), peak.get(name, 0)) for name in sorted(running.keys() | peak.keys())}


def extended_resources(quantities: Mapping[str, Any]) -> dict[str, int]:
    """Those with a domain in their name, `nvidia.com/gpu`: whole numbers."""
    return {name: int(parse_quantity(value) or 0) for name, value in quantities.items() if "/" in name}


def _asked(container: Mapping[str, Any]) -> dict[str, int]:
    resources = container.get("resources") or {}
    found = extended_resources(resources.get("limits") or {}) | extended_resources(resources.get("requests") or {})
    return {name: amount for name, amount in found.items() if amount > 0}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _metadata(item: Json, skip: tuple[str, ...] = ()) -> Json:
    metadata = item["metadata"]
    return {key: metadata[key] for key in _METADATA + _DELETION if key in metadata and key not in skip}
