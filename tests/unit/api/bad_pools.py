"""Pools that are refused, by the API server and by the operator, with what both must say."""

from __future__ import annotations

from tests.unit.api.manifests import GONE, Bad, pool

BAD_POOLS = (
    Bad(
        "a resource that is no extended resource",
        pool({"spec.gpu.resourceName": "gpu"}),
        ("spec.gpu.resourceName", '"gpu" is not valid here', "for example nvidia.com/gpu"),
        ("spec.gpu.resourceName='gpu'", "for example nvidia.com/gpu"),
    ),
    Bad(
        "a node label that cannot be",
        pool({"spec.nodes": {"selector": {"pool": "c d"}}}),
        ("spec.nodes.selector", '"c d" is not valid here', "letters, digits, dashes"),
        ("spec.nodes.selector.pool='c d'", "letters, digits, dashes"),
    ),
    Bad(
        "a reservation without a size",
        pool({"spec.capacityType": "Reserved", "spec.limits": GONE}),
        ("spec.capacityType", "a Reserved pool needs limits.gpus", "the number of GPUs you reserved"),
        ("spec.capacityType='Reserved'", "needs limits.gpus", "the number of GPUs you reserved"),
    ),
    Bad(
        "spot terms on an on-demand pool",
        pool({"spec.capacityType": "OnDemand", "spec.spot": {"notice": "30s"}}),
        ("spec.spot", "only for capacityType Spot, and this pool is OnDemand", "remove spot"),
        ("spec.spot='30s'", "this pool is OnDemand", "remove spot"),
    ),
    Bad(
        "a MIG profile that cannot be",
        pool({"spec.gpu.migProfile": "half"}),
        ("spec.gpu.migProfile", '"half" is not valid here', "for example 3g.40gb"),
        ("spec.gpu.migProfile='half'", "for example 3g.40gb"),
    ),
    Bad(
        "memory without a unit",
        pool({"spec.gpu.memory": "192", "spec.gpu.bandwidthGBPerSecond": 5300, "spec.gpu.bf16TFLOPS": 1300}),
        ("spec.gpu.memory", '"192" is not valid here', "for example 80Gi"),
        ("spec.gpu.memory='192'", "for example 80Gi"),
    ),
    Bad(
        "a negative price",
        pool({"spec.price.perGPUHour": -1.9}),
        ("spec.price.perGPUHour", "greater than or equal to 0"),
        ("spec.price.perGPUHour='-1.9'", "greater than or equal to 0"),
    ),
    Bad(
        "a p95 that comes before the median",
        pool({"spec.provisioning.p50": "10m", "spec.provisioning.p95": "90s"}),
        ("spec.provisioning.p95", "p50 is 10m, above p95, 90s"),
        ("spec.provisioning.p95='90s'", "below p50, 10m"),
    ),
    Bad(
        "a toleration of everything",
        pool({"spec.nodes.tolerations": [{"operator": "Exists"}]}),
        ("spec.nodes.tolerations[0]", "tolerates every taint", "name the key"),
        ("spec.nodes.tolerations[0].key=''", "tolerates every taint", "name the key"),
    ),
    Bad(
        "a reservation smaller than a node",
        pool({"spec.capacityType": "Reserved", "spec.limits.gpus": 4}),
        ("spec.limits.gpus", "limits.gpus is 4, less than one node of 8 GPUs"),
        ("spec.limits.gpus='4'", "less than one node of 8 GPUs"),
    ),
    Bad(
        "an unknown capacity type",
        pool({"spec.capacityType": "Preemptible"}),
        ("spec.capacityType", 'Unsupported value: "Preemptible"', '"Spot"'),
        ("spec.capacityType='Preemptible'", "'Reserved', 'OnDemand' or 'Spot'"),
    ),
)
