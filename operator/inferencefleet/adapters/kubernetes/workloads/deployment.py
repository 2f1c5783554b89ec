"""The Deployment of one fleet in one pool."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.pod import pod_labels, pod_template
from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.pool import Pool

Json = dict[str, Any]

_SLACK_S = 300.0


def build_deployment(fleet: Fleet, pool: Pool, shape: ReplicaShape, replicas: int, *, surge: bool = False) -> Json:
    """Complete but for the hash-independent count: `replicas` is not part of the spec hash.

    With `surge` a new template brings its first pod before an old one goes.
    """
    manifest: Json = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": labels.deployment_name(fleet.key.name, pool.name),
            "namespace": fleet.key.namespace,
            "labels": pod_labels(fleet, pool),
            "annotations": {labels.TENSOR_PARALLEL: str(shape.tensor_parallel)},
            "ownerReferences": [labels.owner_reference(fleet)],
        },
        "spec": {
            "selector": {"matchLabels": {labels.FLEET: fleet.key.name, labels.POOL: pool.name}},
            # In a full pool a surge pod would wait for a GPU that an old pod holds, and nothing would ever roll out.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": int(surge), "maxUnavailable": int(not surge)},
            },
            "revisionHistoryLimit": 2,
            # The default of 600 s reads as failed while a node is still being provisioned.
            "progressDeadlineSeconds": math.ceil(fleet.engine.startup_s + pool.provision_p95_s + _SLACK_S),
            "template": pod_template(fleet, pool, shape),
        },
    }
    manifest["metadata"]["annotations"][labels.SPEC_HASH] = spec_hash(manifest)
    manifest["spec"]["replicas"] = replicas
    return manifest


def spec_hash(manifest: Json) -> str:
    """Of everything that we set: tells a field that we no longer set from one that somebody else added."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
