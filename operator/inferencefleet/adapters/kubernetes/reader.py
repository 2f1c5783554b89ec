"""FleetReader over the watch caches: no request is made here."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.nodes import is_doomed, node_states
from inferencefleet.adapters.kubernetes.phase import derive_phase, epoch, is_over, scheduled_at_s
from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import Phase, Replica, WorkloadState
from inferencefleet.domain.pool import NodeState, Pool
from inferencefleet.ports import ClusterView

NODE_LAG_S = 30.0
"""Pods and nodes are watched apart: a pod may name a node that is not seen yet, but not for this long."""


class CachedFleetReader:
    """Reads the whole world of the operator in one pass over memory."""

    def __init__(self, cluster: ClusterCache) -> None:
        self._cluster = cluster

    async def read(self, pools: Sequence[Pool]) -> ClusterView:
        self._cluster.require_synced()
        nodes = node_states(self._cluster.nodes, pools)
        return ClusterView(
            fleets=tuple(self._cluster.fleets),
            pools=tuple(self._cluster.pools),
            replicas=replicas(self._cluster.fleet_pods, _doomed_nodes(self._cluster), time.time()),
            workloads=workloads(self._cluster.deployments),
            nodes=nodes,
            gpus_used_by_others=gpus_used_by_others(self._cluster.gpu_users, nodes, pools),
        )


def replicas(
    pods: Iterable[Mapping[str, Any]], doomed: Mapping[str, bool], now_s: float
) -> dict[FleetKey, tuple[Replica, ...]]:
    """Pods that live, by fleet, sorted by name. `doomed` holds every known node."""
    found: dict[FleetKey, list[Replica]] = defaultdict(list)
    for pod in pods:
        metadata = pod["metadata"]
        owner = labels.owner_of(metadata)
        if owner is None or is_over(pod):
            continue
        key, pool = owner
        state = derive_phase(pod)
        node = (pod.get("spec") or {}).get("nodeName")
        found[key].append(
            Replica(
                name=metadata["name"],
                pool=pool,
                phase=state.phase,
                node=node,
                since_s=state.since_s,
                created_s=epoch(metadata.get("creationTimestamp")),
                scheduled_s=scheduled_at_s(pod),
                doomed=state.phase is not Phase.UNSCHEDULED and _on_doomed_node(node, doomed, state.since_s, now_s),
                message=state.message,
                tensor_parallel=labels.tensor_parallel_of(metadata),
            )
        )
    return {key: tuple(sorted(found[key], key=lambda replica: replica.name)) for key in sorted(found)}


def workloads(deployments: Iterable[Mapping[str, Any]]) -> dict[FleetKey, tuple[WorkloadState, ...]]:
    """Deployments that we made, by fleet, sorted by pool."""
    found: dict[FleetKey, list[WorkloadState]] = defaultdict(list)
    for deployment in deployments:
        metadata = deployment["metadata"]
        owner = labels.owner_of(metadata)
        if owner is None or not labels.is_managed(metadata) or metadata.get("deletionTimestamp"):
            continue
        key, pool = owner
        found[key].append(
            WorkloadState(
                pool=pool,
                replicas=int(deployment["spec"].get("replicas", 1)),
                tensor_parallel=labels.tensor_parallel_of(metadata),
            )
        )
    return {key: tuple(sorted(found[key], key=lambda workload: workload.pool)) for key in sorted(found)}


def gpus_used_by_others(
    pods: Iterable[Mapping[str, Any]], nodes: Sequence[NodeState], pools: Sequence[Pool]
) -> dict[str, int]:
    """GPUs requested on the nodes of each pool by pods of no fleet."""
    resource_of = {pool.name: pool.resource_name for pool in pools}
    pool_of_node = {node.name: node.pool for node in nodes}
    used = dict.fromkeys(resource_of, 0)
    for pod in pods:
        pool = pool_of_node.get(pod["node"] or "")
        if pool is not None:
            used[pool] += pod["requests"].get(resource_of[pool], 0)
    return used


def _doomed_nodes(cluster: ClusterCache) -> dict[str, bool]:
    return {node["metadata"]["name"]: is_doomed(node) for node in cluster.nodes}


def _on_doomed_node(node: str | None, doomed: Mapping[str, bool], since_s: float, now_s: float) -> bool:
    if node is None:
        return False
    if node not in doomed:
        return now_s - since_s > NODE_LAG_S
    return doomed[node]
