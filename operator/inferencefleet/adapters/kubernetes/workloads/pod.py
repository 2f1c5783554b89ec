"""The pod of one replica: a real vLLM server that would run unchanged on any cluster with GPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.drain import Drain, drain_for
from inferencefleet.adapters.kubernetes.workloads.vllm_args import PORT, serve_args
from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.pool import Pool

Json = dict[str, Any]

CONTAINER = "vllm"
_HOME = "/home/vllm"
_PROBE_PERIOD_S = 10


def pod_template(fleet: Fleet, pool: Pool, shape: ReplicaShape) -> Json:
    drain = drain_for(fleet.engine, pool)
    spec: Json = {
        # A Service named vllm would otherwise inject VLLM_PORT=tcp://..., on which vLLM dies.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": drain.grace_s,
        "securityContext": {
            # The image prepares user 2000; any user works as long as its group is 0.
            "runAsNonRoot": True,
            "runAsUser": 2000,
            "runAsGroup": 0,
            "fsGroup": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(fleet, pool, shape, drain)],
        "volumes": [
            # Tensor-parallel workers talk through shared memory; the container default of 64 MiB is too small.
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _shared_memory(shape)}},
            {"name": "home", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    if pool.node_selector:
        spec["nodeSelector"] = dict(pool.node_selector)
    if pool.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in pool.tolerations]
    return {"metadata": {"labels": pod_labels(fleet, pool), "annotations": _annotations(fleet, shape)}, "spec": spec}


def pod_labels(fleet: Fleet, pool: Pool) -> dict[str, str]:
    return {**labels.fleet_labels(fleet.key), labels.POOL: pool.name}


def _annotations(fleet: Fleet, shape: ReplicaShape) -> dict[str, str]:
    return {
        labels.TENSOR_PARALLEL: str(shape.tensor_parallel),
        "kubectl.kubernetes.io/default-container": CONTAINER,
        # A node that loads a model must not be consolidated away. A duration, never "true": that would also hold up
        # the drain after a spot notice.
        labels.DO_NOT_DISRUPT: f"{math.ceil(fleet.engine.startup_s)}s",
    }


def _container(fleet: Fleet, pool: Pool, shape: ReplicaShape, drain: Drain) -> Json:
    gpus = {pool.resource_name: str(shape.tensor_parallel)}
    return {
        "name": CONTAINER,
        "image": fleet.engine.image,
        # Spelled out because the entry point of the image changed between versions.
        "command": ["vllm", "serve"],
        "args": serve_args(fleet, shape, drain.shutdown_timeout_s),
        "env": _environment(fleet),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {
            # A core for each GPU worker, which polls, and one for the front end; without requests the kubelet
            # would evict this pod first.
            "requests": {"cpu": str(shape.tensor_parallel + 1), "memory": "8Gi", **gpus},
            "limits": gpus,
        },
        "startupProbe": _probe(failures=max(1, math.ceil(fleet.engine.startup_s / _PROBE_PERIOD_S))),
        "readinessProbe": _probe(failures=3, period_s=5),
        # Patient: a busy front end answers late, and a restart costs a cold start.
        "livenessProbe": _probe(failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": drain.pre_stop_s}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            # The device hook of the NVIDIA runtime writes to the root file system.
            "readOnlyRootFilesystem": False,
        },
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "home", "mountPath": _HOME},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _environment(fleet: Fleet) -> list[Json]:
    """Ours first; a variable of the user replaces ours of the same name."""
    ours = {
        "HOME": _HOME,
        "USER": "vllm",  # an unknown user id has no name, and torch asks for one
        "HF_HOME": f"{_HOME}/.cache/huggingface",
        "VLLM_CACHE_ROOT": f"{_HOME}/.cache/vllm",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(math.ceil(fleet.engine.startup_s)),
        # Longer than proxies keep idle connections: at the default of 5 s they reuse one that just closed.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
    }
    theirs = _last_of_each_name([dict(variable) for variable in fleet.engine.env])
    taken = {variable["name"] for variable in theirs}
    return [{"name": name, "value": value} for name, value in ours.items() if name not in taken] + theirs


def _last_of_each_name(variables: Sequence[Json]) -> list[Json]:
    return list({variable["name"]: variable for variable in variables}.values())


def _probe(*, failures: int, period_s: int = _PROBE_PERIOD_S) -> Json:
    return {
        "httpGet": {"path": "/health", "port": "http"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _shared_memory(shape: ReplicaShape) -> str:
    return "2Gi" if shape.tensor_parallel == 1 else "8Gi"
