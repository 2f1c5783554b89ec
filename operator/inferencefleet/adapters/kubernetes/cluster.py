"""All watch caches of the operator, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from inferencefleet.adapters.kubernetes import projections
from inferencefleet.adapters.kubernetes.cache import Projection, ResourceCache, Timing, without_managed_fields
from inferencefleet.adapters.kubernetes.client import Json, KubernetesClient
from inferencefleet.adapters.kubernetes.resources import (
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    FLEETS,
    NODES,
    PODS,
    POOLS,
    SERVICES,
    Resource,
)
from inferencefleet.adapters.kubernetes.workloads.labels import FLEET
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.ports import ClusterUnavailable

_ALIVE = "status.phase!=Succeeded,status.phase!=Failed"
"""Pods that ran their course hold no GPU, and thousands of them can linger."""


def _fleet_of(item: Json) -> FleetKey | None:
    name = (item["metadata"].get("labels") or {}).get(FLEET)
    return FleetKey(item["metadata"]["namespace"], name) if name else None


class ClusterCache:
    """Eight watches: what the operator knows of the cluster."""

    def __init__(
        self, client: KubernetesClient, *, on_change: Callable[[], None] = lambda: None, timing: Timing | None = None
    ) -> None:
        self.client = client

        def cache(
            resource: Resource, labels: str = "", fields: str = "", project: Projection = without_managed_fields
        ) -> ResourceCache:
            return ResourceCache(
                client,
                resource,
                label_selector=labels,
                field_selector=fields,
                project=project,
                group=_fleet_of if labels == FLEET else lambda item: None,
                on_change=on_change,
                timing=timing,
            )

        self.fleets = cache(FLEETS)
        self.pools = cache(POOLS)
        self.nodes = cache(NODES, project=projections.node)
        self.fleet_pods = cache(PODS, labels=FLEET, fields=_ALIVE, project=projections.fleet_pod)
        self.gpu_users = cache(PODS, labels=f"!{FLEET}", fields=_ALIVE, project=projections.gpu_user)
        # Of these `of(fleet key)` gives what belongs to one fleet.
        self.deployments = cache(DEPLOYMENTS, labels=FLEET)
        self.services = cache(SERVICES, labels=FLEET)
        self.disruption_budgets = cache(DISRUPTION_BUDGETS, labels=FLEET)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def caches(self) -> tuple[ResourceCache, ...]:
        return (
            self.fleets,
            self.pools,
            self.nodes,
            self.fleet_pods,
            self.gpu_users,
            self.deployments,
            self.services,
            self.disruption_budgets,
        )

    @property
    def synced(self) -> bool:
        return all(cache.synced for cache in self.caches)

    def require_synced(self) -> None:
        """Raise `ClusterUnavailable`, naming what cannot be read and why."""
        for cache in self.caches:
            if not cache.synced:
                raise ClusterUnavailable(f"{cache.resource.plural} cannot be read: {cache.trouble}")

    def start(self) -> None:
        self._tasks = [asyncio.create_task(cache.run(), name=f"watch {cache.resource.plural}") for cache in self.caches]

    async def wait_synced(self, timeout_s: float) -> None:
        """Raise `ClusterUnavailable` when the first lists take longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(cache.wait_synced() for cache in self.caches))
        except TimeoutError:
            self.require_synced()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
