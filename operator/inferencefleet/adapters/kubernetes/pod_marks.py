"""Annotations on pods: who should die first, and who may be disrupted again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from inferencefleet.adapters.kubernetes.client import Json
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.errors import NotFound
from inferencefleet.adapters.kubernetes.nodes import is_doomed
from inferencefleet.adapters.kubernetes.phase import derive_phase
from inferencefleet.adapters.kubernetes.resources import PODS
from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import Phase
from inferencefleet.ports import ApplyRefused

_BEST_VICTIM_COST = -1000


async def mark_victims(cluster: ClusterCache, fleet: FleetKey, pool: str, victims: Sequence[str]) -> int:
    """Give the victims the lowest deletion cost, best victim lowest, and take it from everybody else.

    Returns once the API server has confirmed every mark, for the ReplicaSet controller chooses as soon as the number
    shrinks.
    """
    costs = {name: _BEST_VICTIM_COST + rank for rank, name in enumerate(victims)}
    writes = 0
    for pod in cluster.fleet_pods.of(fleet):
        if pod["metadata"]["labels"].get(labels.POOL) != pool:
            continue
        name = pod["metadata"]["name"]
        wanted, now = costs.get(name, 0), labels.deletion_cost_of(pod["metadata"])
        if wanted == now or (wanted == 0 and now > 0):  # a positive cost is somebody's wish to keep the pod
            continue
        answer = await _annotate(cluster, pod, labels.DELETION_COST, str(wanted) if wanted else None)
        if answer is None:
            continue
        writes += 1
        if labels.deletion_cost_of(answer["metadata"]) != wanted:
            raise ApplyRefused(
                f"pod {fleet.namespace}/{name} does not keep its {labels.DELETION_COST} annotation, so the right "
                f"replica to remove cannot be chosen; look for an admission webhook that strips it"
            )
    return writes


async def release_from_karpenter(cluster: ClusterCache, fleet: FleetKey) -> int:
    """A replica that serves is protected by the disruption budget; one on a doomed node must be free to drain."""
    writes = 0
    for pod in cluster.fleet_pods.of(fleet):
        if labels.DO_NOT_DISRUPT not in (pod["metadata"].get("annotations") or {}):
            continue
        phase = derive_phase(pod).phase
        node = cluster.nodes.get(None, (pod.get("spec") or {}).get("nodeName") or "")
        leaves = node is not None and is_doomed(node)
        if phase is Phase.READY or (leaves and phase is not Phase.TERMINATING):
            writes += await _annotate(cluster, pod, labels.DO_NOT_DISRUPT, None) is not None
    return writes


async def _annotate(cluster: ClusterCache, pod: Json, key: str, value: str | None) -> Json | None:
    """The pod as the server has it now; None when it is gone."""
    metadata = pod["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], "annotations": {key: value}}}
    with contextlib.suppress(NotFound):
        answer = await cluster.client.merge_patch(PODS, metadata["namespace"], metadata["name"], patch)
        cluster.fleet_pods.put(answer)
        return answer
    return None
