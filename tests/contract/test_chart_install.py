"""The chart on the genuine API server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from sandbox import Cluster

pytestmark = pytest.mark.cluster

CHART = str(Path(__file__).parents[2] / "charts" / "inferencefleet")


def test_the_api_server_takes_everything_that_the_chart_renders(cluster: Cluster, namespace: str) -> None:
    rendered = cluster.helm("template", "release", CHART, "--namespace", namespace).stdout
    done = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-n", namespace, "-f", "-", input=rendered)
    assert len(done.stdout.splitlines()) == 5
    assert "Warning" not in done.stderr  # the pod fits the restricted Pod Security Standard, no field is unknown


def test_the_account_has_the_rights_and_no_others(cluster: Cluster, namespace: str) -> None:
    release = f"r{uuid.uuid4().hex[:6]}"
    cluster.helm("install", release, CHART, "--namespace", namespace, "--set", "operator.enabled=false", "--skip-crds")
    try:
        account = f"system:serviceaccount:{namespace}:{release}-inferencefleet"

        def may(verb: str, resource: str) -> bool:
            question = ("auth", "can-i", verb, resource, "--all-namespaces", f"--as={account}")
            return cluster.kubectl(*question, check=False).stdout.strip() == "yes"

        assert may("create", "deployments.apps")
        assert may("watch", "nodes")
        assert not may("get", "secrets")
        assert not may("delete", "pods")
        assert not may("patch", "nodes")
        assert not may("create", "clusterrolebindings.rbac.authorization.k8s.io")
    finally:
        cluster.helm("uninstall", release, "--namespace", namespace)
