"""Components can be taken away and given back while the cluster is in use."""

from __future__ import annotations

import pytest

from sandbox import Cluster, SandboxError
from sandbox.components import START_ORDER
from sandbox.waiting import wait_until
from sandbox.web import call

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("name", START_ORDER)
def test_a_restarted_component_is_a_new_process_at_the_same_address(cluster: Cluster, name: str) -> None:
    before = {each.name: each for each in cluster.status()}
    url = cluster.server_url
    cluster.restart(name)
    after = {each.name: each for each in cluster.status()}
    assert after[name].pid != before[name].pid
    assert after[name].ready
    assert cluster.server_url == url
    untouched = set(before) - {name}
    assert {each: after[each].pid for each in untouched} == {each: before[each].pid for each in untouched}


def test_objects_survive_an_outage_of_etcd(cluster: Cluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    cluster.stop_component("etcd")
    try:
        wait_until(lambda: cluster.api("GET", "/readyz").status == 500, "the API server notices", timeout_s=30)
    finally:
        cluster.start_component("etcd")
    wait_until(lambda: cluster.api("GET", path).ok, "the namespace is served again", timeout_s=30)


def test_an_outage_of_prometheus_ends_when_it_is_started_again(cluster: Cluster) -> None:
    cluster.stop_component("prometheus")
    try:
        assert call(f"{cluster.prometheus_url}/-/ready").status == 0
    finally:
        cluster.start_component("prometheus")
    assert call(f"{cluster.prometheus_url}/-/ready").ok


def test_an_unknown_component_is_refused_with_the_known_ones(cluster: Cluster) -> None:
    with pytest.raises(SandboxError, match=r"'kubelet'.*etcd, kube-apiserver"):
        cluster.restart("kubelet")
