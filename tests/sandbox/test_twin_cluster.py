"""The twin against the genuine control plane: pods live and die on its nodes as they would on real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import Cluster
from sandbox.layout import REPO
from sandbox.waiting import wait_until
from sandbox.web import call

pytestmark = pytest.mark.cluster
DEADLINE_S = 30.0


class Twin:
    """A twin process and its control endpoint."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def status(self) -> dict[str, Any]:
        return dict(call(f"{self.url}/status").json())

    def post(self, path: str, **body: object) -> dict[str, Any]:
        answer = call(f"{self.url}{path}", method="POST", body=body)
        assert answer.ok, answer.text
        return dict(answer.json())

    def replica(self, namespace: str) -> dict[str, Any] | None:
        """The first ready engine of a namespace."""
        ready = [each for each in self.status()["replicas"] if each["phase"] == "Ready" and each["address"]]
        return next((each for each in ready if each["namespace"] == namespace), None)


@pytest.fixture(scope="module")
def twin(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    out = tmp_path_factory.mktemp("twin")
    log = (out / "log").open("wb")
    command = [sys.executable, "-m", "sandbox.twin", "--kubeconfig", str(cluster.kubeconfig)]
    command += ["--scenario", "test-fast", "--out", str(out), "--seed", "5"]
    environment = {**os.environ, "PYTHONPATH": f"{REPO / 'operator'}{os.pathsep}{REPO}"}
    process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=log, stderr=log)
    try:
        address = out / "twin.json"
        wait_until(address.exists, "the twin's endpoint", timeout_s=DEADLINE_S)
        running = Twin(process, json.loads(address.read_text())["url"])
        wait_until(lambda: call(f"{running.url}/healthz").ok, "the twin follows pods", timeout_s=DEADLINE_S)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            ended = process.wait(20)
        finally:
            process.kill()
            log.close()
    assert ended == 0, (out / "log").read_text()[-3000:]
    assert "Traceback" not in (out / "log").read_text()
    assert (out / "requests.csv").exists()
    assert cluster.kubectl("get", "nodes", "-o", "name").stdout == ""


def deployment(name: str, pool: str, *, args: tuple[str, ...] = (), replicas: int = 1, gpus: int = 1) -> str:
    labels = {"app": name, "inferencefleet.io/fleet": name, "inferencefleet.io/pool": pool}
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.33.0",
        "command": ["vllm", "serve"],
        "args": ["Qwen/Qwen3-32B", "--served-model-name=chat", f"--tensor-parallel-size={gpus}", "--max-num-seqs=64",
                 "--max-num-batched-tokens=1024", "--max-model-len=16384", "--shutdown-timeout=20", *args],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
        "startupProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1, "failureThreshold": 30},
    }  # fmt: skip
    spec = {
        "nodeSelector": {"inferencefleet.io/pool": pool},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "terminationGracePeriodSeconds": 30,
        "containers": [container],
    }
    return yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
    )


@pytest.fixture
def apply(cluster: Cluster, namespace: str) -> Callable[[str], None]:
    return lambda text: void(cluster.kubectl("apply", "-n", namespace, "-f", "-", input=text))


def void(_: object) -> None: ...


def pods(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    return list(json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json").stdout)["items"])


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def ready_pods(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    return [pod for pod in pods(cluster, namespace) if is_ready(pod)]


def stream(address: str, tokens: int) -> Iterator[dict[str, Any]]:
    body = json.dumps({"model": "chat", "prompt": "Why is the sky blue?", "max_tokens": tokens, "stream": True})
    request = urllib.request.Request(
        f"http://{address}/v1/completions", body.encode(), {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=DEADLINE_S) as response:
        for line in response:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])


def test_a_deployment_gets_nodes_loads_serves_and_is_scraped(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    apply(deployment("chat", "h100-on-demand", replicas=3))
    seen_loading = wait_until(
        lambda: [pod for pod in pods(cluster, namespace) if pod["status"]["phase"] == "Running" and not is_ready(pod)],
        "a pod that loads",
        timeout_s=DEADLINE_S,
    )
    address = seen_loading[0]["metadata"].get("annotations", {}).get("sandbox.inferencefleet.io/metrics-address")
    if address is not None and not is_ready(seen_loading[0]):
        assert call(f"http://{address}/metrics").status in {0, 200}, "refused while it loads"
    wait_until(lambda: len(ready_pods(cluster, namespace)) == 3, "three ready replicas", timeout_s=DEADLINE_S)
    nodes = {pod["spec"]["nodeName"] for pod in ready_pods(cluster, namespace)}
    assert len(nodes) == 2, "three GPUs on nodes of two"
    node = json.loads(cluster.kubectl("get", "node", nodes.pop(), "-o", "json").stdout)
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert node["metadata"]["labels"]["karpenter.sh/capacity-type"] == "on-demand"

    replica = twin.replica(namespace)
    assert replica is not None
    chunks = list(stream(replica["address"], 12))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == " token" * 12
    assert chunks[-1]["usage"]["completion_tokens"] == 12
    query = f'{cluster.prometheus_url}/api/v1/query?query=vllm:generation_tokens_total{{pod="{replica["name"]}"}}'
    scraped = wait_until(
        lambda: [each for each in call(query).json()["data"]["result"] if each["value"][1] == "12"],
        "Prometheus has the tokens",
        timeout_s=DEADLINE_S,
    )
    assert scraped[0]["metric"]["inferencefleet_io_fleet"] == "chat"
    assert call(f"http://{replica['address']}/v1/models").json()["data"][0]["id"] == "chat"


def test_a_spot_interruption_taints_then_removes_the_node_and_the_pods_move(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    apply(deployment("chat", "h100-spot"))
    wait_until(lambda: ready_pods(cluster, namespace), "a ready replica", timeout_s=DEADLINE_S)
    old = ready_pods(cluster, namespace)[0]
    (node,) = twin.post("/interrupt", pool="h100-spot", nodes=1, notice="3s")["hit"]
    assert node == old["spec"]["nodeName"]
    taints = json.loads(cluster.kubectl("get", "node", node, "-o", "json").stdout)["spec"]["taints"]
    assert "aws-node-termination-handler/spot-itn" in {taint["key"] for taint in taints}
    assert is_ready(pods(cluster, namespace)[0]), "it serves through the notice"
    wait_until(
        lambda: cluster.kubectl("get", "node", node, check=False).returncode != 0,
        "the node is gone",
        timeout_s=DEADLINE_S,
    )
    moved = wait_until(lambda: ready_pods(cluster, namespace), "the replacement", timeout_s=DEADLINE_S)
    assert moved[0]["metadata"]["name"] != old["metadata"]["name"]
    assert moved[0]["spec"]["nodeName"] != node


def test_deletion_lets_running_requests_finish(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    apply(deployment("chat", "h100-reserved"))
    replica = wait_until(lambda: twin.replica(namespace), "a ready replica", timeout_s=DEADLINE_S)
    answer = stream(replica["address"], 100)
    next(answer)
    cluster.kubectl("delete", "deployment", "chat", "-n", namespace)
    wait_until(
        lambda: any("deletionTimestamp" in pod["metadata"] for pod in pods(cluster, namespace)),
        "the pod is terminating",
        timeout_s=DEADLINE_S,
    )
    assert sum(bool(chunk["choices"][0]["text"]) for chunk in answer) == 99, "the stream was not cut"
    wait_until(lambda: not pods(cluster, namespace), "the pod is gone", timeout_s=DEADLINE_S)


def test_a_wrong_flag_crash_loops_and_names_itself(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    apply(deployment("chat", "h100-reserved", args=("--max-sequences=3",)))

    def waiting_reason() -> bool:
        statuses = [pod["status"].get("containerStatuses", [{}])[0] for pod in pods(cluster, namespace)]
        return any(each.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff" for each in statuses)

    wait_until(waiting_reason, "CrashLoopBackOff", timeout_s=DEADLINE_S)
    status = pods(cluster, namespace)[0]["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 2
    assert "unrecognized arguments: --max-sequences=3" in status["lastState"]["terminated"]["message"]
    assert status["restartCount"] >= 1


def test_a_crashed_engine_restarts_in_place(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    apply(deployment("chat", "h100-reserved"))
    replica = wait_until(lambda: twin.replica(namespace), "a ready replica", timeout_s=DEADLINE_S)
    hit = twin.post("/crash", pool="h100-reserved")["hit"]
    assert hit == [replica["name"]]
    wait_until(
        lambda: (again := twin.replica(namespace)) and again["restarts"] == 1,
        "ready after a restart",
        timeout_s=DEADLINE_S,
    )
    assert ready_pods(cluster, namespace)[0]["metadata"]["name"] == replica["name"]


def test_a_deleted_node_takes_its_pods_along_and_a_reservation_gets_another(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    apply(deployment("chat", "h100-reserved"))
    wait_until(lambda: ready_pods(cluster, namespace), "a ready replica", timeout_s=DEADLINE_S)
    old = ready_pods(cluster, namespace)[0]
    cluster.kubectl("delete", "node", old["spec"]["nodeName"])

    def replaced() -> bool:
        names = {pod["metadata"]["name"] for pod in ready_pods(cluster, namespace)}
        return bool(names) and old["metadata"]["name"] not in names

    wait_until(replaced, "the replacement", timeout_s=DEADLINE_S)
    wait_until(lambda: twin.status()["pools"]["h100-reserved"]["nodes"] == 2, "two nodes again", timeout_s=DEADLINE_S)


def test_a_stocked_out_pool_gives_no_node_and_says_so(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    wait_until(
        lambda: twin.status()["pools"]["h100-spot"]["nodes"] == 0,
        "earlier spot nodes are given back",
        timeout_s=DEADLINE_S,
    )
    twin.post("/stockout", pool="h100-spot", lasts="4s")
    apply(deployment("chat", "h100-spot"))

    def told() -> bool:
        events = cluster.kubectl("get", "events", "-n", namespace, "-o", "json").stdout
        return "InsufficientInstanceCapacity" in events

    wait_until(told, "the cloud says that it is out of stock", timeout_s=DEADLINE_S)
    wait_until(lambda: ready_pods(cluster, namespace), "ready once stock is back", timeout_s=DEADLINE_S)


def test_frozen_metrics_fail_the_scrape_but_not_the_engine(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    apply(deployment("chat", "h100-reserved"))
    replica = wait_until(lambda: twin.replica(namespace), "a ready replica", timeout_s=DEADLINE_S)
    twin.post("/freeze", pool="h100-reserved", lasts="2s")
    url = f"http://{replica['address']}"
    assert call(f"{url}/metrics").status == 500
    assert call(f"{url}/health").ok
    wait_until(lambda: call(f"{url}/metrics").ok, "the scrape works again", timeout_s=DEADLINE_S)


def test_traffic_follows_the_lever_and_is_written_down(
    cluster: Cluster, twin: Twin, namespace: str, apply: Callable[[str], None]
) -> None:
    # The router knows models by name: this scenario's traffic asks for the full one.
    apply(deployment("chat", "h100-reserved").replace("--served-model-name=chat", "--served-model-name=Qwen/Qwen3-32B"))
    wait_until(lambda: twin.replica(namespace), "a ready replica", timeout_s=DEADLINE_S)
    twin.post("/demand", rps=3)
    wait_until(lambda: twin.status()["requests"]["finished"] > 3, "requests finish", timeout_s=DEADLINE_S)
    status = twin.status()
    assert status["phase"] == "running"
    assert status["latency"]["ttftP95Seconds"] > 0
    assert status["cost"]["dollars"] > 0
    twin.post("/demand", rps=0)
    wait_until(lambda: twin.status()["requests"]["open"] == 0, "the rest finishes", timeout_s=DEADLINE_S)


def test_a_bad_lever_is_refused_with_a_reason(twin: Twin) -> None:
    answer = call(f"{twin.url}/interrupt", method="POST", body={"nodes": 1})
    assert answer.status == 400
    assert "pool" in answer.text


def test_a_twin_needs_a_kubeconfig(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.twin"], cwd=REPO, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert "--kubeconfig" in done.stderr
