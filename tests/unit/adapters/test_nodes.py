"""Which nodes are counted for which pool, and which are going away."""

from __future__ import annotations

from typing import Any

import pytest

from inferencefleet.adapters.kubernetes import projections
from inferencefleet.adapters.kubernetes.nodes import DOOMED_TAINTS, is_doomed, node_states
from inferencefleet.adapters.kubernetes.reader import gpus_used_by_others
from inferencefleet.domain.pool import NodeState
from tests.fakes.worlds import a_pool

Json = dict[str, Any]


def a_node(name: str = "n1", *, gpus: str = "8", labels: Json | None = None, **parts: Any) -> Json:
    conditions = parts.pop("conditions", [{"type": "Ready", "status": "True"}])
    return projections.node(
        {
            "metadata": {"name": name, "labels": labels or {}, **parts.pop("metadata", {})},
            "spec": parts,
            "status": {"allocatable": {"nvidia.com/gpu": gpus, "cpu": "192"}, "conditions": conditions},
        }
    )


@pytest.mark.parametrize("key", sorted(DOOMED_TAINTS))
def test_each_taint_by_which_clouds_and_autoscalers_announce_the_end_dooms_a_node(key: str) -> None:
    assert is_doomed(a_node(taints=[{"key": key, "effect": "NoSchedule"}]))


@pytest.mark.parametrize(
    "node",
    [
        a_node(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        a_node(conditions=[{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]),
        a_node(conditions=[{"type": "Ready", "status": "False", "message": "node is shutting down"}]),
        a_node(conditions=[{"type": "VMEventScheduled", "status": "True", "reason": "PreemptScheduled"}]),
    ],
    ids=["deleted", "silent", "shutting down", "preempted"],
)
def test_a_node_that_is_deleted_silent_or_shutting_down_is_doomed(node: Json) -> None:
    assert is_doomed(node)


@pytest.mark.parametrize(
    "node",
    [
        a_node(unschedulable=True, taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]),
        a_node(taints=[{"key": "DeletionCandidateOfClusterAutoscaler", "effect": "PreferNoSchedule"}]),
        a_node(conditions=[{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "starting"}]),
    ],
    ids=["cordoned", "candidate", "not up yet"],
)
def test_a_cordon_a_hint_or_a_node_that_only_starts_is_no_doom(node: Json) -> None:
    assert not is_doomed(node)


def test_a_node_counts_for_the_most_specific_pool_only() -> None:
    wide = a_pool("wide", node_selector={"gpu": "h100"})
    narrow = a_pool("narrow", node_selector={"gpu": "h100", "zone": "a"})
    nodes = [a_node("n1", labels={"gpu": "h100", "zone": "a"}), a_node("n2", labels={"gpu": "h100", "zone": "b"})]
    assert [(state.name, state.pool) for state in node_states(nodes, [wide, narrow])] == [
        ("n1", "narrow"),
        ("n2", "wide"),
    ]


def test_a_pool_without_a_selector_means_every_node_that_has_its_gpus() -> None:
    everywhere = a_pool("any", node_selector={})
    nodes = [a_node("gpu"), a_node("cpu", gpus="0")]
    assert node_states(nodes, [everywhere]) == (NodeState(name="gpu", pool="any", gpus=8, ready=True, doomed=False),)


def test_a_cordoned_node_is_counted_and_marked_as_closed() -> None:
    [state] = node_states([a_node(labels={"p": "x"}, unschedulable=True)], [a_pool(node_selector={"p": "x"})])
    assert not state.schedulable
    assert not state.doomed


def a_gpu_pod(node: str | None, *containers: Json, init: tuple[Json, ...] = ()) -> Json:
    spec = {"nodeName": node, "containers": list(containers), "initContainers": list(init)}
    return {"metadata": {"name": "p", "namespace": "ml"}, "spec": spec}


def asks(gpus: int, **more: Any) -> Json:
    return {"resources": {"limits": {"nvidia.com/gpu": str(gpus), "cpu": "4"}}, **more}


def test_gpus_of_pods_that_belong_to_no_fleet_are_counted_where_they_are_bound() -> None:
    pool = a_pool(node_selector={"p": "x"})
    states = node_states([a_node("mine", labels={"p": "x"})], [pool])
    pods = [projections.gpu_user(a_gpu_pod(node, asks(2))) for node in ("mine", "elsewhere", None)]
    assert gpus_used_by_others([pod for pod in pods if pod], states, [pool]) == {pool.name: 2}


def test_init_containers_count_as_their_peak_and_side_cars_as_a_sum() -> None:
    pod = a_gpu_pod("n", asks(1), init=(asks(3), asks(1, restartPolicy="Always")))
    assert projections.pod_requests(pod["spec"]) == {"nvidia.com/gpu": 3}
    assert projections.pod_requests(a_gpu_pod("n", asks(4), init=(asks(1),))["spec"]) == {"nvidia.com/gpu": 4}


def test_a_pod_without_extended_resources_is_not_kept_at_all() -> None:
    plain = {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    assert projections.gpu_user(a_gpu_pod("n", plain)) is None
