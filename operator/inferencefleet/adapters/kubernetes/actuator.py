"""Actuator: makes the Deployments, the Service and the PodDisruptionBudget of one fleet match its plan."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping

from inferencefleet.adapters.kubernetes.cache import ResourceCache
from inferencefleet.adapters.kubernetes.client import Json
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.errors import ApiError
from inferencefleet.adapters.kubernetes.ownership import apply_object, as_port_error, find_own, is_unchanged
from inferencefleet.adapters.kubernetes.pod_marks import mark_victims, release_from_karpenter
from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.deployment import build_deployment
from inferencefleet.adapters.kubernetes.workloads.disruption_budget import build_disruption_budget
from inferencefleet.adapters.kubernetes.workloads.service import build_service
from inferencefleet.adapters.kubernetes.workloads.vllm_args import CannotBuild
from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.plan import FleetPlan, PoolPlan
from inferencefleet.domain.pool import Pool
from inferencefleet.ports import ApplyRefused

log = logging.getLogger(__name__)


class ServerSideActuator:
    """Writes only what differs. An object that is refused does not keep the others from being applied."""

    def __init__(self, cluster: ClusterCache) -> None:
        self._cluster = cluster
        self._client = cluster.client

    async def apply(self, fleet: Fleet, plan: FleetPlan, pools: Mapping[str, Pool]) -> int:
        if not plan.act or not self._is_alive(fleet):
            return 0
        self._cluster.require_synced()
        round_ = _Round(fleet)
        for pool_plan in plan.pools:
            if pool_plan.pool in pools:
                await round_.do(f"pool {pool_plan.pool}", self._pool(fleet, pool_plan, pools[pool_plan.pool]))
        await round_.do("Service", self._object(self._cluster.services, fleet, build_service(fleet)))
        await round_.do(
            "PodDisruptionBudget",
            self._object(self._cluster.disruption_budgets, fleet, build_disruption_budget(fleet)),
        )
        for deployment in self._leftovers(fleet, plan, pools):
            await round_.do(f"Deployment {deployment['metadata']['name']}", self._retire(fleet.key, deployment))
        await round_.do("pods", release_from_karpenter(self._cluster, fleet.key))
        return round_.writes()

    def _is_alive(self, fleet: Fleet) -> bool:
        """The very fleet that was planned still exists: nothing is made for one that is being deleted."""
        live = self._cluster.fleets.get(fleet.key.namespace, fleet.key.name)
        if live is None:
            return False
        metadata = live["metadata"]
        return metadata.get("uid") == fleet.uid and not metadata.get("deletionTimestamp")

    async def _object(self, cache: ResourceCache, fleet: Fleet, desired: Json) -> int:
        live = await find_own(self._client, cache, fleet.key.namespace, desired["metadata"]["name"], fleet.uid)
        return await apply_object(self._client, cache, live, desired)

    async def _pool(self, fleet: Fleet, plan: PoolPlan, pool: Pool) -> int:
        cache = self._cluster.deployments
        name = labels.deployment_name(fleet.key.name, pool.name)
        if plan.replicas == 0 and cache.get(fleet.key.namespace, name) is None:
            return 0
        live = await find_own(self._client, cache, fleet.key.namespace, name, fleet.uid)
        desired = build_deployment(fleet, pool, plan.shape, plan.replicas, surge=plan.surge)
        if live is None:
            return await apply_object(self._client, cache, None, desired)
        now = int(live["spec"].get("replicas", 1))
        if 0 < plan.replicas < now and (_is_rolling(live) or not is_unchanged(live, desired)):
            # While two templates are around, the controller takes the loss from both before it compares pods, and a
            # serving pod goes where a loading one should. So the template first, the number afterwards.
            log.info("%s: %d replicas kept until the template has rolled out, then %d", name, now, plan.replicas)
            desired["spec"]["replicas"] = now
        shrink = now - int(desired["spec"]["replicas"])
        writes = 0
        if shrink > 0:
            writes += await mark_victims(self._cluster, fleet.key, pool.name, plan.victims[:shrink])
        return writes + await apply_object(self._client, cache, live, desired)

    def _leftovers(self, fleet: Fleet, plan: FleetPlan, pools: Mapping[str, Pool]) -> list[Json]:
        """Our Deployments in the pools that the plan retires.

        A pool that exists but cannot be read is no reason to stop what runs there.
        """
        if not plan.retire:
            return []
        unreadable = {pool["metadata"]["name"] for pool in self._cluster.pools} - pools.keys()
        retired = set(plan.retire) - unreadable - {pool_plan.pool for pool_plan in plan.pools}
        return [
            deployment
            for deployment in self._cluster.deployments.of(fleet.key)
            if (deployment["metadata"].get("labels") or {}).get(labels.POOL) in retired
            and labels.is_owned_by(deployment["metadata"], fleet.uid)
            and not deployment["metadata"].get("deletionTimestamp")
        ]

    async def _retire(self, fleet: FleetKey, deployment: Json) -> int:
        """To zero first, so that pods drain; away once no pod is left."""
        metadata, cache = deployment["metadata"], self._cluster.deployments
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        if int(deployment["spec"].get("replicas", 1)) > 0:
            patch = {"metadata": {"uid": uid}, "spec": {"replicas": 0}}
            cache.put(await self._client.merge_patch(cache.resource, namespace, name, patch))
            return 1
        pool = metadata["labels"][labels.POOL]
        has_pods = any(pod["metadata"]["labels"].get(labels.POOL) == pool for pod in self._cluster.fleet_pods.of(fleet))
        if has_pods or (deployment.get("status") or {}).get("replicas"):
            return 0
        await self._client.delete(cache.resource, namespace, name, uid=uid)
        cache.forget(namespace, name)
        return 1


class _Round:
    """Runs the steps of one apply and gathers what was refused, to be raised once at the end."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._writes = 0
        self._refused: list[str] = []

    async def do(self, subject: str, step: Awaitable[int]) -> None:
        try:
            self._writes += await step
        except ApiError as error:
            found = as_port_error(error, f"{subject} of {self._fleet.key}")
            if isinstance(found, ApplyRefused):
                self._refused.append(str(found))
            elif found is not None:
                raise found from error
        except (ApplyRefused, CannotBuild) as refusal:
            self._refused.append(str(refusal))

    def writes(self) -> int:
        if self._refused:
            raise ApplyRefused("; ".join(self._refused))
        return self._writes


def _is_rolling(deployment: Json) -> bool:
    """Pods of an older template are around, and the rollout has not given up."""
    status = deployment.get("status") or {}
    stalled = any(
        condition.get("type") == "Progressing" and condition.get("status") == "False"
        for condition in status.get("conditions") or []
    )
    return not stalled and int(status.get("replicas") or 0) > int(status.get("updatedReplicas") or 0)
