"""Node objects: how a GPU node of each pool looks to the scheduler and the operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sandbox.scenario import PoolScenario
from sandbox.twin.pods import POOL_LABEL

TWIN_LABEL = "sandbox.inferencefleet.io/twin"
SPOT_TAINT = {"key": "aws-node-termination-handler/spot-itn", "value": "sandbox", "effect": "NoSchedule"}
LEAVING_TAINT = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


class NodePhase(Enum):
    COMING = "coming"
    UP = "up"
    DOOMED = "doomed"
    LEAVING = "leaving"


@dataclass(slots=True, eq=False)
class SimNode:
    name: str
    pool: PoolScenario
    address: str
    launched_s: float
    phase: NodePhase = NodePhase.COMING
    dies_at_s: float | None = None
    empty_since_s: float | None = None

    @property
    def gpus(self) -> int:
        return self.pool.gpus_per_node


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def node_manifest(node: SimNode) -> dict[str, Any]:
    pool, now = node.pool, stamp()
    resources = {
        "cpu": str(24 * pool.gpus_per_node),
        "memory": f"{240 * pool.gpus_per_node}Gi",
        "ephemeral-storage": "2000Gi",
        "pods": "110",
        "nvidia.com/gpu": str(pool.gpus_per_node),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {
                TWIN_LABEL: "true",
                POOL_LABEL: pool.name,
                "karpenter.sh/capacity-type": pool.capacity_type,
                "karpenter.sh/nodepool": pool.name,
                "kubernetes.io/hostname": node.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": pool.instance_type,
                "nvidia.com/gpu.product": pool.gpu_product,
                "nvidia.com/gpu.count": str(pool.gpus_per_node),
                "nvidia.com/gpu.present": "true",
            },
        },
        "spec": {"providerID": f"sandbox:///{pool.name}/{node.name}", "taints": [GPU_TAINT]},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [
                _condition("Ready", "True", "KubeletReady", "the simulated kubelet is posting ready status", now),
                _condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "", now),
                _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "", now),
                _condition("PIDPressure", "False", "KubeletHasSufficientPID", "", now),
            ],
            "addresses": [
                {"type": "InternalIP", "address": node.address},
                {"type": "Hostname", "address": node.name},
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "osImage": "Simulated GPU node",
                "kernelVersion": "6.8.0-sandbox",
                "kubeletVersion": "v1.36.3",
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "sandbox://1.0",
                "bootID": "",
                "machineID": node.name,
                "systemUUID": node.name,
            },
        },
    }


def lease_manifest(node: SimNode) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node.name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": node.name, "leaseDurationSeconds": 40, "renewTime": micro_stamp()},
    }


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
