"""What contract tests put on the genuine API server: fleets, nodes, and the pods' states that kubelets would report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from inferencefleet.adapters.kubernetes.client import KubernetesClient
from inferencefleet.adapters.kubernetes.resources import FLEETS, NODES, PODS, POOLS
from inferencefleet.domain.fleet import Fleet
from tests.fakes.worlds import a_fleet

Json = dict[str, Any]
T = TypeVar("T")


async def eventually(condition: Callable[[], T | None], what: str, *, timeout_s: float = 30.0) -> T:
    """The first truthy value; an error that says what was awaited when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}; last seen: {value!r}")
        await asyncio.sleep(0.05)


async def make_fleet(client: KubernetesClient, namespace: str, name: str = "chat", **changes: Any) -> Fleet:
    """Creates the custom resource and returns the domain object with its real uid."""
    made = await client.create(FLEETS, namespace, fleet_manifest(namespace, name))
    return a_fleet(name, namespace, uid=made["metadata"]["uid"], **changes)


def fleet_manifest(namespace: str, name: str) -> Json:
    return {
        "apiVersion": FLEETS.api_version,
        "kind": FLEETS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"id": "Qwen/Qwen3-32B"},
            "slo": [{"metric": "ttft", "percentile": 95, "target": "2s"}],
            "traffic": {
                "expected": {"requestsPerSecond": 4, "promptTokens": {"mean": 1000}, "outputTokens": {"mean": 250}}
            },
        },
    }


async def make_pool(client: KubernetesClient, name: str) -> Json:
    return await client.create(
        POOLS,
        None,
        {
            "apiVersion": POOLS.api_version,
            "kind": POOLS.kind,
            "metadata": {"name": name},
            "spec": {
                "gpu": {"type": "H100-SXM", "perNode": 8},
                "capacityType": "OnDemand",
                "price": {"perGPUHour": 3.9},
            },
        },
    )


async def make_node(
    client: KubernetesClient, name: str, *, labels: dict[str, str], gpus: int = 8, taints: tuple[Json, ...] = ()
) -> None:
    """A node that is up, as its kubelet would say."""
    await client.create(
        NODES,
        None,
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": list(taints)} if taints else {},
        },
    )
    room = {"cpu": "192", "memory": "2000Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "up", "lastHeartbeatTime": now}
    status = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"capacity": room, "allocatable": room, "conditions": [{**ready, "lastTransitionTime": now}]},
    }
    await client.apply(NODES, None, status, subresource="status")


async def report_ready(client: KubernetesClient, namespace: str, pod: str) -> None:
    """What the kubelet writes when the readiness probe succeeds."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
    await client.apply(
        PODS,
        namespace,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod},
            "status": {"phase": "Running", "conditions": conditions},
        },
        subresource="status",
    )
