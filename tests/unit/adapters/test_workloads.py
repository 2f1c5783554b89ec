"""The objects of a fleet: each sentence is a promise about a pod that runs on a real cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.adapters.kubernetes.workloads.deployment import build_deployment
from inferencefleet.adapters.kubernetes.workloads.disruption_budget import build_disruption_budget
from inferencefleet.adapters.kubernetes.workloads.drain import drain_for
from inferencefleet.adapters.kubernetes.workloads.service import build_service
from inferencefleet.domain.fleet import EngineTerms
from inferencefleet.domain.pool import CapacityType
from tests.fakes.worlds import a_fleet, a_pool, a_shape

Json = dict[str, Any]


def pod_of(deployment: Json) -> Json:
    spec: Json = deployment["spec"]["template"]["spec"]
    return spec


def container_of(deployment: Json) -> Json:
    [container] = pod_of(deployment)["containers"]
    found: Json = container
    return found


def env_of(deployment: Json) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable) for variable in container_of(deployment)["env"]}


def test_a_deployment_belongs_to_its_fleet_and_selects_by_fleet_and_pool() -> None:
    made = build_deployment(a_fleet(), a_pool(), a_shape(), 3)
    assert (made["metadata"]["name"], made["metadata"]["namespace"], made["spec"]["replicas"]) == (
        "chat-h100-spot",
        "prod",
        3,
    )
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("InferenceFleet", "fleet-uid", True)
    assert owner["blockOwnerDeletion"] is False
    assert made["spec"]["selector"]["matchLabels"] == {labels.FLEET: "chat", labels.POOL: "h100-spot"}
    assert made["spec"]["template"]["metadata"]["labels"] == made["metadata"]["labels"]
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "inferencefleet"


def test_a_full_pool_can_roll_out_and_a_slow_start_is_no_failure() -> None:
    spec = build_deployment(a_fleet(startup_s=1800.0), a_pool(provision_p95_s=600.0), a_shape(), 1)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert spec["progressDeadlineSeconds"] == 1800 + 600 + 300


def test_the_gpus_of_a_replica_are_its_tensor_parallel_size_in_the_resource_of_the_pool() -> None:
    made = build_deployment(a_fleet(), a_pool(resource_name="nvidia.com/mig-3g.40gb"), a_shape(4), 1)
    assert container_of(made)["resources"]["limits"] == {"nvidia.com/mig-3g.40gb": "4"}
    assert made["metadata"]["annotations"][labels.TENSOR_PARALLEL] == "4"
    assert made["spec"]["template"]["metadata"]["annotations"][labels.TENSOR_PARALLEL] == "4"


def test_pods_go_where_the_pool_says_and_tolerate_only_what_the_pool_declares() -> None:
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    made = pod_of(build_deployment(a_fleet(), a_pool(node_selector={"a": "b"}, tolerations=(taint,)), a_shape(), 1))
    assert made["nodeSelector"] == {"a": "b"}
    assert made["tolerations"] == [taint]
    bare = pod_of(build_deployment(a_fleet(), a_pool(node_selector={}, tolerations=()), a_shape(), 1))
    assert "tolerations" not in bare
    assert "nodeSelector" not in bare


def test_the_startup_probe_waits_as_long_as_the_engine_may_take_and_vllm_waits_as_long() -> None:
    made = build_deployment(a_fleet(startup_s=1805.0), a_pool(), a_shape(), 1)
    probe = container_of(made)["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 1805
    assert probe["httpGet"]["path"] == "/health"
    assert env_of(made)["VLLM_ENGINE_READY_TIMEOUT_S"] == "1805"
    assert container_of(made)["readinessProbe"]["httpGet"]["path"] == "/health"
    assert container_of(made)["livenessProbe"]["failureThreshold"] >= 3


def test_no_service_can_poison_the_environment_of_vllm() -> None:
    assert pod_of(build_deployment(a_fleet(), a_pool(), a_shape(), 1))["enableServiceLinks"] is False
    assert build_service(a_fleet("vllm"))["metadata"]["name"] == "fleet-vllm"
    assert build_service(a_fleet("chat"))["metadata"]["name"] == "chat"


def test_a_pod_is_not_root_holds_no_privilege_and_has_room_to_write() -> None:
    made = build_deployment(a_fleet(), a_pool(), a_shape(), 1)
    assert pod_of(made)["securityContext"]["runAsNonRoot"] is True
    assert pod_of(made)["automountServiceAccountToken"] is False
    assert container_of(made)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container_of(made)["volumeMounts"]}
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod_of(made)["volumes"]}
    assert volumes[mounts["/dev/shm"]]["medium"] == "Memory"
    assert env_of(made)["HF_HOME"].startswith("/home/vllm/")
    assert mounts["/home/vllm"] in volumes
    assert mounts["/tmp"] in volumes


def test_the_guard_against_disruption_is_a_duration_that_ends_with_the_start_budget() -> None:
    annotations = build_deployment(a_fleet(startup_s=900.0), a_pool(), a_shape(), 1)["spec"]["template"]["metadata"]
    assert annotations["annotations"]["karpenter.sh/do-not-disrupt"] == "900s"


def test_a_variable_of_the_user_replaces_ours_and_keeps_its_form() -> None:
    secret = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}
    env = ({"name": "HF_HOME", "value": "/models"}, secret)
    made = build_deployment(a_fleet(env=env), a_pool(), a_shape(), 1)
    assert env_of(made)["HF_HOME"] == "/models"
    assert env_of(made)["HF_TOKEN"] == secret
    assert len({variable["name"] for variable in container_of(made)["env"]}) == len(container_of(made)["env"])


def test_the_spec_hash_follows_the_template_but_not_the_number_of_replicas() -> None:
    def hash_of(**changes: Any) -> str:
        replicas = changes.pop("replicas", 1)
        made = build_deployment(a_fleet(**changes), a_pool(), a_shape(), replicas)
        return str(made["metadata"]["annotations"][labels.SPEC_HASH])

    assert hash_of() == hash_of(replicas=7)
    assert hash_of() != hash_of(drain_s=61.0)


def test_builders_give_plain_json() -> None:
    for made in (
        build_deployment(a_fleet(), a_pool(), a_shape(), 1),
        build_service(a_fleet()),
        build_disruption_budget(a_fleet()),
    ):
        assert json.loads(json.dumps(made)) == made


def test_one_service_and_one_budget_cover_the_pods_of_all_pools() -> None:
    service, budget = build_service(a_fleet()), build_disruption_budget(a_fleet())
    assert service["spec"]["selector"] == {labels.FLEET: "chat"}
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["spec"]["selector"]["matchLabels"] == {labels.FLEET: "chat"}


def test_long_names_are_cut_to_63_and_stay_apart() -> None:
    one = labels.deployment_name("f" * 40, "p" * 40)
    other = labels.deployment_name("f" * 40, "p" * 39 + "q")
    assert len(one) == len(other) == 63
    assert one != other
    assert labels.deployment_name("f" * 31, "p" * 31) == "f" * 31 + "-" + "p" * 31


class TestDrain:
    """Grace >= preStop + requests + margin; on spot never longer than the notice."""

    def test_a_new_vllm_drains_itself_after_the_endpoint_is_gone(self) -> None:
        drain = drain_for(EngineTerms(image="vllm/vllm-openai:v0.20.2", drain_s=60.0), a_pool())
        assert (drain.pre_stop_s, drain.shutdown_timeout_s, drain.grace_s) == (15, 60, 90)

    @pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.17.1", "vllm/vllm-openai:latest"])
    def test_an_old_or_unknown_vllm_keeps_serving_while_pre_stop_sleeps(self, image: str) -> None:
        drain = drain_for(EngineTerms(image=image, drain_s=60.0), a_pool())
        assert (drain.pre_stop_s, drain.shutdown_timeout_s, drain.grace_s) == (75, 0, 90)

    @pytest.mark.parametrize("notice_s", [1.0, 15.0, 30.0, 60.0, 120.0])
    @pytest.mark.parametrize("drain_s", [0.0, 60.0, 600.0])
    def test_a_spot_replica_is_done_before_its_node_is_gone(self, notice_s: float, drain_s: float) -> None:
        pool = a_pool(capacity_type=CapacityType.SPOT, spot_notice_s=notice_s)
        drain = drain_for(EngineTerms(image="vllm/vllm-openai:v0.20.2", drain_s=drain_s), pool)
        assert drain.grace_s <= notice_s
        assert drain.pre_stop_s >= 1  # a sleep of zero seconds is refused by older API servers
        assert drain.pre_stop_s + drain.shutdown_timeout_s <= drain.grace_s

    def test_the_deployment_carries_what_was_worked_out(self) -> None:
        made = build_deployment(a_fleet(drain_s=60.0), a_pool(), a_shape(), 1)
        assert pod_of(made)["terminationGracePeriodSeconds"] == 90
        assert container_of(made)["lifecycle"]["preStop"] == {"sleep": {"seconds": 15}}


def test_a_pool_with_room_rolls_out_without_losing_a_replica() -> None:
    spec = build_deployment(a_fleet(), a_pool(), a_shape(), 1, surge=True)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
