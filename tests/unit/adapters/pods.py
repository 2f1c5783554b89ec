"""Pods as an API server shows them, with only the fields that a test is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

CREATED = 1_000_000_000.0


def stamp(seconds_after: float) -> str:
    return datetime.fromtimestamp(CREATED + seconds_after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_condition(kind: str, status: str, at: float, *, reason: str = "", message: str = "") -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": stamp(at), "reason": reason, "message": message}


def a_pod(
    name: str = "chat-h100-spot-abc",
    *,
    node: str | None = "node-1",
    phase: str = "Pending",
    conditions: tuple[Json, ...] = (),
    containers: tuple[Json, ...] = (),
    metadata: Json | None = None,
    **status: Any,
) -> Json:
    return {
        "metadata": {
            "name": name,
            "namespace": "prod",
            "labels": {"inferencefleet.io/fleet": "chat", "inferencefleet.io/pool": "h100-spot"},
            "annotations": {"inferencefleet.io/tensor-parallel": "2"},
            "creationTimestamp": stamp(0),
            **(metadata or {}),
        },
        "spec": {"nodeName": node},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": list(containers), **status},
    }


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    return {"name": "vllm", "ready": False, "state": {"waiting": {"reason": reason, "message": message}}, **more}


SCHEDULED = a_condition("PodScheduled", "True", 10)
