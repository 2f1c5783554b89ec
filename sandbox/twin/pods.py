"""Every pod of the cluster, kept in step by list and watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiohttp

from sandbox.twin.kube import ApiError, Gone, Kube, Manifest

_log = logging.getLogger(__name__)
POOL_LABEL = "inferencefleet.io/pool"


class PodStore:
    """`on_change(pod)` for every new state, `on_gone(pod)` when the object has left the API server."""

    def __init__(self, kube: Kube, on_change: Callable[[Manifest], None], on_gone: Callable[[Manifest], None]) -> None:
        self._kube = kube
        self._on_change = on_change
        self._on_gone = on_gone
        self.pods: dict[str, Manifest] = {}
        """By uid."""
        self.synced = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._follow(version)
            except Gone:
                continue
            except (TimeoutError, aiohttp.ClientError, ApiError, ConnectionError) as error:
                _log.info("the pod watch broke (%s), listing again", error)
                await asyncio.sleep(0.5)

    async def _list(self) -> str:
        answer = await self._kube.get("/api/v1/pods")
        listed = {pod["metadata"]["uid"]: pod for pod in answer["items"]}
        for uid in [uid for uid in self.pods if uid not in listed]:
            self._on_gone(self.pods.pop(uid))
        for pod in listed.values():
            self._put(pod)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> str:
        async for event in self._kube.watch("/api/v1/pods", version):
            pod = event["object"]
            version = pod["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self.pods.pop(pod["metadata"]["uid"], None)
                self._on_gone(pod)
            elif event["type"] in {"ADDED", "MODIFIED"}:
                self._put(pod)
        return version

    def _put(self, pod: Manifest) -> None:
        self.pods[pod["metadata"]["uid"]] = pod
        self._on_change(pod)


def gpus_of(pod: Manifest, resource: str = "nvidia.com/gpu") -> int:
    return sum(int(each.get("resources", {}).get("limits", {}).get(resource, 0)) for each in pod["spec"]["containers"])


def is_over(pod: Manifest) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def unschedulable_since(pod: Manifest) -> str | None:
    """When the scheduler gave up on it for now; None when it is bound, going, or has not been tried."""
    if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp") or is_over(pod):
        return None
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("lastTransitionTime")) if condition.get("reason") == "Unschedulable" else None
    return None


def wanted_pool(pod: Manifest) -> str | None:
    """The pool that nodeSelector or required node affinity names."""
    spec: dict[str, Any] = pod["spec"]
    if POOL_LABEL in spec.get("nodeSelector", {}):
        return str(spec["nodeSelector"][POOL_LABEL])
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", ())
    for term in terms:
        for expression in term.get("matchExpressions", ()):
            if expression["key"] == POOL_LABEL and expression["operator"] == "In":
                return str(expression["values"][0])
    return None
