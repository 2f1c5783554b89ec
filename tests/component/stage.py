"""What component tests do to the product and what they see of it: manifests in, conditions, Events and pods out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from sandbox.cluster import Cluster
from sandbox.processes import Record
from sandbox.stack import OPERATOR, Stack
from sandbox.waiting import DeadlineExceeded, pause, wait_until
from sandbox.web import call

Json = dict[str, Any]

API = "/apis/inferencefleet.io/v1alpha1"
MODEL = "Qwen/Qwen3-8B"
RESERVED, ON_DEMAND, SPOT = "h100-reserved", "h100-on-demand", "h100-spot"
PERIOD_S = 1.0
SOON_S = 10.0
"""Bounds what should take a tick or two, on a machine that does other things as well."""
LONG_S = 45.0

WORKLOADS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Service": "/api/v1/namespaces/{}/services",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
}

QUICK_TO_GO: Json = {"pools": [SPOT], "spot": {"policy": "Preferred", "maxFraction": 1}}
"""A placement: replicas on spot drain within the short notice; elsewhere proxies are given 15 s to forget them."""

POOLS: tuple[Json, ...] = tuple(
    {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "GPUPool",
        "metadata": {"name": name},
        "spec": {
            "gpu": {"type": "H100-SXM", "perNode": 2},
            "capacityType": kind,
            "price": {"perGPUHour": price},
            "limits": {"gpus": gpus},
            "nodes": {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]},
            "provisioning": {"p50": "1s", "p95": "6s"},
            **({"spot": {"notice": "6s"}} if kind == "Spot" else {}),
        },
    }
    for name, kind, price, gpus in (
        (RESERVED, "Reserved", 2.2, 4),
        (ON_DEMAND, "OnDemand", 3.9, 8),
        (SPOT, "Spot", 1.9, 8),
    )
)


def fleet(name: str = "chat", *, least: int = 2, most: int = 12, spec: Mapping[str, Any] | None = None) -> Json:
    """A fleet of one-GPU replicas whose size is its floor while nobody sends requests.

    Little is planned of each replica (`headroom`), so that a few requests per second are worth many replicas.
    """
    return {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "InferenceFleet",
        "metadata": {"name": name},
        "spec": {
            "model": {"id": MODEL},
            "slo": [
                {"metric": "ttft", "percentile": 95, "target": "2s"},
                {"metric": "itl", "percentile": 95, "target": "60ms"},
            ],
            "engine": {"maxNumBatchedTokens": 1024},
            "traffic": {
                "expected": {
                    "requestsPerSecond": 0.1,
                    "promptTokens": {"mean": 1155, "p95": 4083},
                    "outputTokens": {"mean": 211, "p95": 451},
                }
            },
            "placement": {"spot": {"policy": "Hedged", "maxFraction": 0.34}},
            "scaling": {
                "minReplicas": least,
                "maxReplicas": most,
                "headroom": 0.1,
                "drain": "1s",
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 4}},
            },
            **(spec or {}),
        },
    }


@dataclass
class Product:
    """Operator and twin on a cluster; the operator's address changes with each start."""

    stack: Stack
    twin_url: str
    operator_url: str

    def start_operator(self, **environment: str) -> None:
        self.operator_url = self.stack.start_operator(**environment)

    def kill_operator(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.stack.kill(OPERATOR)

    def restart_operator(self, **environment: str) -> None:
        self.kill_operator()
        self.start_operator(**environment)


@dataclass
class Stage:
    """One test's namespace on the running product."""

    product: Product
    namespace: str

    @property
    def cluster(self) -> Cluster:
        return self.product.stack.cluster

    # ---- doing ------------------------------------------------------------------------------------------

    def apply(self, manifest: Json) -> None:
        """As a person does it."""
        self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=json.dumps(manifest))

    def patch(self, name: str, spec: Json) -> None:
        self.kubectl("patch", "ifleet", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def kubectl(self, *args: str) -> str:
        return self.cluster.kubectl(*args, "-n", self.namespace).stdout

    def lever(self, path: str, **body: object) -> Json:
        """One of the twin's levers: demand, interrupt, stockout."""
        answer = call(f"{self.product.twin_url}/{path}", method="POST", body=body)
        assert answer.ok, answer.text
        return dict(answer.json())

    def cloud(self) -> Json:
        """What the simulated cloud knows itself."""
        return dict(call(f"{self.product.twin_url}/status").json())

    # ---- seeing -----------------------------------------------------------------------------------------

    def get(self, path: str) -> Json:
        answer = self.cluster.api("GET", path)
        assert answer.ok, f"{path}: {answer.status} {answer.text[:300]}"
        return dict(answer.json())

    def items(self, kind: str) -> list[Json]:
        return list(self.get(WORKLOADS[kind].format(self.namespace))["items"])

    def fleet(self, name: str = "chat") -> Json:
        return self.get(f"{API}/namespaces/{self.namespace}/inferencefleets/{name}")

    def status(self, name: str = "chat") -> Json:
        return dict(self.fleet(name).get("status") or {})

    def condition(self, type_: str, name: str = "chat") -> Json:
        """Empty when it was never reported, or speaks of an earlier generation of the spec."""
        return condition(self.fleet(name), type_)

    def pool_condition(self, type_: str, pool: str) -> Json:
        return condition(self.get(f"{API}/gpupools/{pool}"), type_)

    def desired(self, name: str = "chat") -> dict[str, int]:
        """Replicas by pool as the Deployments ask for them."""
        found = {}
        for deployment in self.items("Deployment"):
            labels = deployment["metadata"].get("labels", {})
            if labels.get("inferencefleet.io/fleet") == name:
                found[labels["inferencefleet.io/pool"]] = int(deployment["spec"]["replicas"])
        return {pool: replicas for pool, replicas in found.items() if replicas}

    def pods(self, pool: str | None = None, name: str = "chat") -> list[Json]:
        """Pods that are not on their way out."""
        return [
            pod
            for pod in self.items("Pod")
            if "deletionTimestamp" not in pod["metadata"]
            and pod["metadata"]["labels"].get("inferencefleet.io/fleet") == name
            and pool in {None, pod["metadata"]["labels"].get("inferencefleet.io/pool")}
        ]

    def ready(self, pool: str | None = None, name: str = "chat") -> list[Json]:
        return [pod for pod in self.pods(pool, name) if _is_ready(pod)]

    def events(self, reason: str, name: str = "chat") -> list[str]:
        """Messages, oldest first, as `kubectl describe` shows them."""
        found = self.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        mine = [each for each in found if each["involvedObject"]["name"] == name and each["reason"] == reason]
        return [each["message"] for each in sorted(mine, key=lambda each: each["metadata"]["name"])]

    def pool_events(self, reason: str, pool: str) -> int:
        """How often it was said of a pool so far."""
        found = self.get("/api/v1/namespaces/default/events")["items"]
        return sum(
            int(each.get("count") or 1)
            for each in found
            if each["involvedObject"]["name"] == pool and each["reason"] == reason
        )

    def columns(self, name: str = "chat") -> dict[str, str]:
        """What `kubectl get` prints for a fleet."""
        header, line = self.kubectl("get", "ifleet", name).splitlines()
        names = [(found.group(), found.start()) for found in re.finditer(r"\S+", header)]
        ends = [start for _, start in names[1:]] + [None]
        return {word: line[start:end].strip() for (word, start), end in zip(names, ends, strict=True)}

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a series of the operator's own /metrics; 0 when it is not there."""
        answer = call(f"{self.product.operator_url}/metrics")
        assert answer.ok, answer.text
        total = 0.0
        for line in answer.text.splitlines():
            if re.match(rf"{name}(\{{|\s)", line) and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    # ---- waiting ----------------------------------------------------------------------------------------

    def until(self, condition: Any, what: str, timeout_s: float = LONG_S) -> Any:
        """Waits with a deadline; on failure says what the fleets look like."""
        try:
            return wait_until(condition, what, timeout_s=timeout_s, every_s=0.03)
        except DeadlineExceeded as late:
            raise AssertionError(f"{late}\n{self._picture()}") from None

    def until_ready(self, replicas: int, name: str = "chat", timeout_s: float = LONG_S) -> None:
        """The fleet asks for so many, all serve, and its status says so."""

        def is_so() -> bool:
            fleet = self.fleet(name)
            status = fleet.get("status") or {}
            return (
                status.get("observedGeneration") == fleet["metadata"]["generation"]
                and status.get("replicas") == replicas == status.get("readyReplicas")
                and len(self.ready(name=name)) == replicas == sum(self.desired(name).values())
            )

        self.until(is_so, f"{replicas} ready replicas of {name}", timeout_s)

    def until_condition(
        self, type_: str, status: str, reason: str | None = None, *, name: str = "chat", timeout_s: float = LONG_S
    ) -> Json:
        def found() -> Json | None:
            now = self.condition(type_, name)
            return now if now.get("status") == status and reason in {None, now.get("reason")} else None

        return dict(self.until(found, f"{name}: {type_}={status} {reason or ''}", timeout_s))

    def until_event(self, reason: str, words: str = "", *, name: str = "chat", timeout_s: float = SOON_S) -> str:
        def found() -> str | None:
            return next((message for message in self.events(reason, name) if words in message), None)

        return str(self.until(found, f"{name}: Event {reason} with {words!r}", timeout_s))

    def until_ticks(self, ticks: int, timeout_s: float = LONG_S) -> None:
        """Until the operator has gone round so many times more."""
        name = "inferencefleet_tick_duration_seconds_count"
        target = self.metric(name) + ticks
        self.until(lambda: self.metric(name) >= target, f"{ticks} ticks", timeout_s)

    def _picture(self) -> str:
        lines = [self.kubectl("get", "ifleet,deployments,pods", "-o", "wide")]
        for each in self.get(f"{API}/namespaces/{self.namespace}/inferencefleets")["items"]:
            status = each.get("status", {})
            lines += [json.dumps(status.get(key)) for key in ("conditions", "pools", "plan", "history")]
        lines.append(self.kubectl("get", "events"))
        log = self.product.stack.layout.log(OPERATOR)
        lines.append("\n".join(log.read_text(errors="replace").splitlines()[-15:]))
        return "\n".join(lines)


@dataclass
class Watcher:
    """Looks at the fleet again and again while a test does something, and remembers every different picture."""

    stage: Stage
    name: str = "chat"
    seen: list[tuple[dict[str, int], int]] = field(default_factory=list)
    """(Replicas by pool that the Deployments ask for, pods that serve)."""
    _end: Event = field(default_factory=Event)
    _failure: BaseException | None = None

    def look(self) -> None:
        while not self._end.is_set():
            try:
                picture = (self.stage.desired(self.name), len(self.stage.ready(name=self.name)))
            except BaseException as error:  # told by the test, not by a dying thread
                self._failure = error
                return
            if not self.seen or self.seen[-1] != picture:
                self.seen.append(picture)
            pause(0.05)

    @property
    def totals(self) -> list[int]:
        return [sum(desired.values()) for desired, _ in self.seen]

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        thread = Thread(target=self.look, name="watcher")
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join(30)
        assert self._failure is None, self._failure


def condition(manifest: Json, type_: str) -> Json:
    for each in (manifest.get("status") or {}).get("conditions", []):
        if each["type"] == type_ and each["observedGeneration"] == manifest["metadata"]["generation"]:
            return dict(each)
    return {}


def alive_pids(folder: Path) -> list[str]:
    """Names of the processes that the pid files in a folder name and that still run."""
    records = [Record.read(path) for path in sorted(folder.glob("*.pid"))]
    return [record.name for record in records if record is not None and record.alive]


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
