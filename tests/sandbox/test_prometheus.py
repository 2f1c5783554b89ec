"""Prometheus finds fleet pods through the API server and labels them as a PodMonitor would."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sandbox import Cluster, SandboxError
from sandbox.prometheus import ADDRESS_ANNOTATION, FLEET_LABEL, POOL_LABEL, meta
from sandbox.waiting import wait_until
from sandbox.web import call


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 7\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: scrapes are not news."""


@pytest.fixture
def metrics_address() -> Iterator[str]:
    """A /metrics endpoint on a loopback port, as the twin serves one for each simulated engine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Engine) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def query(cluster: Cluster, expression: str) -> list[dict[str, Any]]:
    text = urllib.parse.urlencode({"query": expression})
    answer = call(f"{cluster.prometheus_url}/api/v1/query?{text}")
    found: list[dict[str, Any]] = answer.json()["data"]["result"] if answer.ok else []
    return found


def run_pod(cluster: Cluster, namespace: str, name: str, address: str, *, fleet: str | None, phase: str) -> None:
    """A pod in a phase that some kubelet would report, here by hand."""
    labels = {POOL_LABEL: "h100-spot"} | ({FLEET_LABEL: fleet} if fleet else {})
    pods = f"/api/v1/namespaces/{namespace}/pods"
    made = cluster.api("POST", pods, {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {ADDRESS_ANNOTATION: address}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "vllm", "image": "vllm"}]},
    })  # fmt: skip
    assert made.ok, made.text
    pod = made.json()
    pod["status"] = {"phase": phase, "podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]}
    told = cluster.api("PUT", f"{pods}/{name}/status", pod)
    assert told.ok, told.text


@pytest.mark.cluster
def test_a_running_fleet_pod_is_scraped_under_the_labels_of_a_pod_monitor(
    cluster: Cluster, namespace: str, metrics_address: str
) -> None:
    run_pod(cluster, namespace, "chat-1", metrics_address, fleet="chat", phase="Running")
    run_pod(cluster, namespace, "loading", metrics_address, fleet="chat", phase="Pending")
    run_pod(cluster, namespace, "stranger", metrics_address, fleet=None, phase="Running")
    found = wait_until(
        lambda: query(cluster, f'vllm:num_requests_running{{namespace="{namespace}"}}'),
        "the pod's metric in Prometheus",
        timeout_s=30,
    )
    assert [(each["metric"], each["value"][1]) for each in found] == [
        (
            {
                "__name__": "vllm:num_requests_running",
                "namespace": namespace,
                "pod": "chat-1",
                "node": "node-1",
                "job": f"{namespace}/chat",
                "instance": metrics_address,
                "inferencefleet_io_fleet": "chat",
                "inferencefleet_io_pool": "h100-spot",
            },
            "7",
        )
    ]
    pods = {each["metric"]["pod"] for each in query(cluster, f'up{{namespace="{namespace}"}}')}
    assert pods == {"chat-1"}, "pending pods and pods of no fleet must not become targets"


@pytest.mark.cluster
def test_the_operators_own_metrics_are_scraped_once_their_address_is_known(
    cluster: Cluster, metrics_address: str
) -> None:
    cluster.configure_prometheus(operator_metrics=metrics_address)
    try:
        wait_until(lambda: query(cluster, 'up{job="inferencefleet-operator"} == 1'), "the operator is up", timeout_s=30)
    finally:
        cluster.configure_prometheus(operator_metrics="")
    told = call(f"{cluster.prometheus_url}/api/v1/status/config").json()["data"]["yaml"]
    assert "inferencefleet-operator" not in told


@pytest.mark.cluster
def test_a_new_scrape_interval_is_in_force_after_the_reload(cluster: Cluster) -> None:
    before = cluster.state.settings.scrape_interval_s
    cluster.configure_prometheus(scrape_interval_s=1.25)
    try:
        told = call(f"{cluster.prometheus_url}/api/v1/status/config").json()["data"]["yaml"]
        assert "scrape_interval: 1s250ms" in told
    finally:
        cluster.configure_prometheus(scrape_interval_s=before)


@pytest.mark.cluster
def test_a_broken_configuration_is_refused_with_the_reason(cluster: Cluster) -> None:
    path = cluster.layout.config / "prometheus.yml"
    good = path.read_text()
    path.write_text("scrape_configs: 7\n")
    try:
        with pytest.raises(SandboxError, match=r"did not reload: 500(.|\n)*unmarshal"):
            cluster.reload_prometheus()
    finally:
        path.write_text(good)
    cluster.reload_prometheus()


def test_label_names_are_sanitised_as_prometheus_does() -> None:
    assert meta("label", "inferencefleet.io/fleet") == "__meta_kubernetes_pod_label_inferencefleet_io_fleet"
    assert (
        meta("annotation", "sandbox.inferencefleet.io/metrics-address")
        == "__meta_kubernetes_pod_annotation_sandbox_inferencefleet_io_metrics_address"
    )
