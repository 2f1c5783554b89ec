"""Which node belongs to which pool, and which nodes are going away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inferencefleet.domain.pool import NodeState, Pool

DOOMED_TAINTS = frozenset(
    {
        "karpenter.sh/disrupted",
        "ToBeDeletedByClusterAutoscaler",
        "cloud.google.com/impending-node-termination",
        "aws-node-termination-handler/spot-itn",
        "aws-node-termination-handler/scheduled-maintenance",
        "aws-node-termination-handler/asg-lifecycle-termination",
        "aws-node-termination-handler/rebalance-recommendation",
        "remediator.kubernetes.azure.com/unschedulable",
        "node.kubernetes.io/out-of-service",
        "node.cloudprovider.kubernetes.io/shutdown",
    }
)
"""Set by clouds and autoscalers on a node that they take away. A bare cordon is no such sign."""


def is_doomed(node: Mapping[str, Any]) -> bool:
    """What runs there dies soon, or is dead already: a node whose kubelet is silent (`Unknown`) does not come back
    in time to matter."""
    if node["metadata"].get("deletionTimestamp"):
        return True
    if any(taint.get("key") in DOOMED_TAINTS for taint in (node.get("spec") or {}).get("taints") or []):
        return True
    return any(_announces_end(condition) for condition in (node.get("status") or {}).get("conditions") or [])


def is_ready(node: Mapping[str, Any]) -> bool:
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in (node.get("status") or {}).get("conditions") or []
    )


def pool_of(node: Mapping[str, Any], pools: Iterable[Pool]) -> Pool | None:
    """The pool whose selector matches; of several the most specific one, so that no GPU counts twice."""
    labels = node["metadata"].get("labels") or {}
    matching = [pool for pool in pools if _matches(pool, labels, node)]
    return min(matching, key=lambda pool: (-len(pool.node_selector), pool.name), default=None)


def node_states(nodes: Iterable[Mapping[str, Any]], pools: Sequence[Pool]) -> tuple[NodeState, ...]:
    """Sorted by pool and name."""
    found = [
        NodeState(
            name=node["metadata"]["name"],
            pool=pool.name,
            gpus=_gpus(node, pool),
            ready=is_ready(node),
            doomed=is_doomed(node),
            schedulable=not (node.get("spec") or {}).get("unschedulable"),
        )
        for node in nodes
        if (pool := pool_of(node, pools)) is not None
    ]
    return tuple(sorted(found, key=lambda state: (state.pool, state.name)))


def _matches(pool: Pool, labels: Mapping[str, str], node: Mapping[str, Any]) -> bool:
    if not pool.node_selector:
        # A pool that names no nodes means every node with its kind of GPU.
        return _gpus(node, pool) > 0
    return all(labels.get(key) == value for key, value in pool.node_selector.items())


def _gpus(node: Mapping[str, Any], pool: Pool) -> int:
    return int(((node.get("status") or {}).get("allocatable") or {}).get(pool.resource_name, 0))


def _announces_end(condition: Mapping[str, Any]) -> bool:
    kind, status = condition.get("type"), condition.get("status")
    if kind == "Ready":
        return status == "Unknown" or (status == "False" and "shutting down" in str(condition.get("message")))
    return kind == "VMEventScheduled" and status == "True" and condition.get("reason") == "PreemptScheduled"
