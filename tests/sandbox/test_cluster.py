"""The control plane is genuine: it serves, authorises, creates pods and does not invent nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox import Cluster, CommandError, SandboxError
from sandbox.toolchain.versions import Versions, dotted
from sandbox.waiting import wait_until

pytestmark = pytest.mark.cluster


def test_the_api_server_reports_the_pinned_version(cluster: Cluster) -> None:
    answer = cluster.api("GET", "/version")
    assert answer.ok, answer.text
    assert answer.json()["gitVersion"] == f"v{dotted(Versions.wanted().kubernetes)}"


def test_kubectl_writes_and_reads_objects(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "create", "configmap", "greeting", "--from-literal=text=hello")
    told = cluster.kubectl("-n", namespace, "get", "configmap", "greeting", "-o", "jsonpath={.data.text}")
    assert told.stdout == "hello"


def test_a_failed_kubectl_call_says_what_was_called_and_why_it_failed(cluster: Cluster) -> None:
    with pytest.raises(CommandError, match=r"get configmap absent.*status 1(.|\n)*NotFound"):
        cluster.kubectl("get", "configmap", "absent")


def test_helm_agrees_with_the_api_server(cluster: Cluster, namespace: str) -> None:
    assert json.loads(cluster.helm("list", "-n", namespace, "-o", "json").stdout) == []


def test_a_service_account_may_do_nothing_until_a_role_allows_it(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("-n", namespace, "create", "serviceaccount", "robot")
    kubeconfig = cluster.service_account_kubeconfig(namespace, "robot", tmp_path / "robot")
    assert kubeconfig.stat().st_mode & 0o077 == 0

    refused = cluster.kubectl("get", "pods", check=False, kubeconfig=kubeconfig)
    assert refused.returncode == 1
    assert f'User "system:serviceaccount:{namespace}:robot" cannot list resource "pods"' in refused.stderr

    cluster.kubectl("-n", namespace, "create", "role", "reader", "--verb=list", "--resource=pods")
    cluster.kubectl(
        "-n", namespace, "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:robot"
    )
    wait_until(
        lambda: cluster.kubectl("get", "pods", check=False, kubeconfig=kubeconfig).returncode == 0,
        "the role takes effect",
        timeout_s=10,
    )


def test_a_token_for_a_missing_service_account_is_refused_with_its_name(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"default/nobody: 404(.|\n)*create the ServiceAccount first"):
        cluster.service_account_kubeconfig("default", "nobody", tmp_path / "nobody")
    assert not (tmp_path / "nobody").exists()


def test_a_user_certificate_carries_its_groups(cluster: Cluster, tmp_path: Path) -> None:
    kubeconfig = cluster.user_kubeconfig("cloud", tmp_path / "cloud", groups=["system:masters", "twins"])
    told = json.loads(cluster.kubectl("auth", "whoami", "-o", "json", kubeconfig=kubeconfig).stdout)
    info = told["status"]["userInfo"]
    assert info["username"] == "cloud"
    assert {"system:masters", "twins", "system:authenticated"} <= set(info["groups"])


def test_a_deployment_gets_pods_that_stay_pending_without_nodes(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "create", "deployment", "engine", "--image=vllm", "--replicas=2")

    def conditions() -> list[dict[str, str]]:
        pods = cluster.api("GET", f"/api/v1/namespaces/{namespace}/pods").json()["items"]
        found = [each for pod in pods for each in pod["status"].get("conditions", [])]
        return [each for each in found if each["type"] == "PodScheduled"] if len(found) >= 2 else []

    told = wait_until(conditions, "both pods judged by the scheduler", timeout_s=20)
    assert [each["reason"] for each in told] == ["Unschedulable", "Unschedulable"]
    assert "no nodes available" in told[0]["message"]


def test_every_component_is_ready_and_reports_its_memory(cluster: Cluster) -> None:
    found = {each.name: each for each in cluster.status()}
    assert set(found) == {
        "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "prometheus",
    }  # fmt: skip
    assert all(each.ready for each in found.values()), found
    assert found["kube-apiserver"].resident_bytes > 50 * 2**20
