"""Every state in which a real cluster shows a vLLM pod, and what we call it."""

from __future__ import annotations

import pytest

from inferencefleet.adapters.kubernetes.phase import derive_phase, is_over
from inferencefleet.adapters.kubernetes.reader import NODE_LAG_S, replicas
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import Phase
from tests.unit.adapters.pods import CREATED, SCHEDULED, a_condition, a_pod, stamp, waiting


def test_a_pod_without_a_node_carries_the_words_of_the_scheduler_and_waits_since_it_said_so() -> None:
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    pod = a_pod(node=None, conditions=(a_condition("PodScheduled", "False", 2, message=words),))
    found = derive_phase(pod)
    assert (found.phase, found.since_s, found.message) == (Phase.UNSCHEDULED, CREATED + 2, words)


def test_a_pod_that_no_scheduler_has_looked_at_waits_since_it_was_made() -> None:
    assert derive_phase(a_pod(node=None)) == derive_phase(a_pod(node=None, conditions=()))
    assert derive_phase(a_pod(node=None)).since_s == CREATED


def test_a_bound_pod_starts_from_the_moment_it_was_bound() -> None:
    pod = a_pod(conditions=(SCHEDULED,), containers=(waiting("ContainerCreating"),))
    found = derive_phase(pod)
    assert (found.phase, found.since_s, found.message) == (Phase.STARTING, CREATED + 10, "ContainerCreating")


def test_a_running_pod_that_loads_its_model_is_starting() -> None:
    loading = {"name": "vllm", "ready": False, "started": False, "state": {"running": {"startedAt": stamp(50)}}}
    conditions = (SCHEDULED, a_condition("Ready", "False", 10, reason="ContainersNotReady"))
    found = derive_phase(a_pod(phase="Running", conditions=conditions, containers=(loading,)))
    assert (found.phase, found.since_s) == (Phase.STARTING, CREATED + 10)


def test_a_ready_pod_is_ready_since_its_condition_says_so() -> None:
    pod = a_pod(phase="Running", conditions=(SCHEDULED, a_condition("Ready", "True", 200)))
    assert (derive_phase(pod).phase, derive_phase(pod).since_s) == (Phase.READY, CREATED + 200)


def test_a_pod_that_lost_its_readiness_starts_over_from_that_moment() -> None:
    served = {"name": "vllm", "ready": False, "started": True, "state": {"running": {}}}
    lost = a_condition("Ready", "False", 900, message="containers with unready status: [vllm]")
    found = derive_phase(a_pod(phase="Running", conditions=(SCHEDULED, lost), containers=(served,)))
    assert (found.phase, found.since_s) == (Phase.STARTING, CREATED + 900)
    assert "unready" in found.message


@pytest.mark.parametrize(
    "reason", ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError"]
)
def test_a_pod_that_will_not_become_ready_by_waiting_has_failed_and_says_why(reason: str) -> None:
    conditions = (SCHEDULED, a_condition("Ready", "False", 30))
    found = derive_phase(a_pod(conditions=conditions, containers=(waiting(reason, "the kubelet's words"),)))
    assert (found.phase, found.message) == (Phase.FAILED, f"{reason}: the kubelet's words")


def test_a_container_that_keeps_dying_has_failed_also_while_it_runs_again() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    again = {"name": "vllm", "restartCount": 4, "state": {"running": {}}, "lastState": ended, "started": False}
    found = derive_phase(a_pod(phase="Running", conditions=(SCHEDULED,), containers=(again,)))
    assert found.phase is Phase.FAILED
    assert found.message == "vllm restarted 4 times, last with exit code 1 (Error)"


def test_an_image_that_an_init_container_cannot_pull_is_seen() -> None:
    pod = a_pod(conditions=(SCHEDULED,), initContainerStatuses=[waiting("ImagePullBackOff")])
    assert derive_phase(pod).phase is Phase.FAILED


@pytest.mark.parametrize(
    ("reason", "message"),
    [("OutOfnvidia.com/gpu", "Node didn't have enough resource"), ("NodeShutdown", "Pod was rejected")],
)
def test_a_pod_that_the_kubelet_turned_away_has_failed_in_its_words(reason: str, message: str) -> None:
    pod = a_pod(phase="Failed", reason=reason, message=message)
    assert derive_phase(pod).phase is Phase.FAILED
    assert derive_phase(pod).message == f"{reason}: {message}"
    assert is_over(pod)


def test_a_pod_that_is_being_deleted_is_terminating_since_the_deletion_not_until_its_grace_ends() -> None:
    metadata = {"deletionTimestamp": stamp(590), "deletionGracePeriodSeconds": 90}
    pod = a_pod(phase="Running", conditions=(SCHEDULED, a_condition("Ready", "True", 200)), metadata=metadata)
    assert (derive_phase(pod).phase, derive_phase(pod).since_s) == (Phase.TERMINATING, CREATED + 500)


def test_replicas_are_sorted_and_know_their_pool_size_and_node() -> None:
    ready = a_condition("Ready", "True", 200)
    pods = [
        a_pod("b", phase="Running", conditions=(SCHEDULED, ready), node="doomed"),
        a_pod("a", phase="Running", conditions=(SCHEDULED, ready), node="fine"),
        a_pod("over", phase="Failed", node="fine"),
        a_pod("stray", metadata={"labels": {"inferencefleet.io/fleet": "chat"}}),
    ]
    found = replicas(pods, {"fine": False, "doomed": True}, now_s=CREATED + 300)
    assert list(found) == [FleetKey("prod", "chat")]
    a, b = found[FleetKey("prod", "chat")]
    assert (a.name, a.pool, a.tensor_parallel, a.doomed) == ("a", "h100-spot", 2, False)
    assert (b.name, b.node, b.doomed) == ("b", "doomed", True)


def test_a_pod_whose_node_is_gone_is_doomed_but_not_one_whose_node_is_merely_not_seen_yet() -> None:
    pod = a_pod(conditions=(SCHEDULED,), node="unknown")

    def doomed(now_s: float) -> bool:
        return replicas([pod], {}, now_s)[FleetKey("prod", "chat")][0].doomed

    assert not doomed(CREATED + 10 + NODE_LAG_S - 1)
    assert doomed(CREATED + 10 + NODE_LAG_S + 1)
