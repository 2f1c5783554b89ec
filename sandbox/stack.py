"""The product on the embedded cluster: chart installed by helm, operator under its own token, twin as the cloud."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.cluster import Cluster
from sandbox.errors import ComponentError
from sandbox.layout import Layout
from sandbox.processes import Record, spawn, terminate
from sandbox.waiting import wait_until
from sandbox.web import call

REPOSITORY = Path(__file__).resolve().parent.parent
CHART = REPOSITORY / "charts" / "inferencefleet"
NAMESPACE = "inferencefleet-system"
RELEASE = "inferencefleet"
OPERATOR, TWIN = "operator", "twin"

FAST_SETTINGS: Mapping[str, str] = {
    "INFERENCEFLEET_PERIOD_SECONDS": "3",
    "INFERENCEFLEET_METRICS_WINDOW_SECONDS": "20",
    "INFERENCEFLEET_METRICS_MAX_AGE_SECONDS": "15",
    "INFERENCEFLEET_ATTAINMENT_WINDOW_SECONDS": "3600",
    "INFERENCEFLEET_EXHAUSTED_BACKOFF_SECONDS": "60",
}
"""The sandbox shows in minutes what takes hours: engines are scraped every 2 s, so windows can be short."""


@dataclass(slots=True)
class Stack:
    """Operator and twin on a running cluster. They live and die as the cluster does (attached or detached)."""

    cluster: Cluster
    detached: bool = False
    operator_settings: dict[str, str] = field(default_factory=lambda: dict(FAST_SETTINGS))

    @property
    def layout(self) -> Layout:
        return self.cluster.layout

    def install(self) -> None:
        """CRDs, ServiceAccount and RBAC from the chart; the operator itself runs beside the cluster."""
        self.cluster.helm(
            "upgrade", "--install", RELEASE, str(CHART),
            "--namespace", NAMESPACE, "--create-namespace", "--set", "operator.enabled=false", "--wait",
        )  # fmt: skip
        self.cluster.kubectl("wait", "--for=condition=Established", "crd/inferencefleets.inferencefleet.io",
                             "crd/gpupools.inferencefleet.io", "--timeout=30s")  # fmt: skip

    def start_operator(self, **environment: str) -> str:
        """Start it under its ServiceAccount's token; returns the base URL of its metrics."""
        kubeconfig = self.cluster.service_account_kubeconfig(
            NAMESPACE, RELEASE, self.layout.config / "operator.kubeconfig"
        )
        port = free_port()
        spawn(
            OPERATOR,
            [sys.executable, "-m", "inferencefleet"],
            log=self.layout.log(OPERATOR),
            pid_file=self.layout.pid_file(OPERATOR),
            detached=self.detached,
            environ={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY / "operator"),
                "INFERENCEFLEET_KUBECONFIG": str(kubeconfig),
                "INFERENCEFLEET_PROMETHEUS_URL": self.cluster.prometheus_url,
                "INFERENCEFLEET_METRICS_HOST": "127.0.0.1",
                "INFERENCEFLEET_METRICS_PORT": str(port),
                **self.operator_settings,
                **environment,
            },
        )
        url = f"http://127.0.0.1:{port}"
        self._wait_for(OPERATOR, f"{url}/metrics")
        self.cluster.configure_prometheus(operator_metrics=f"127.0.0.1:{port}")
        return url

    def start_twin(self, scenario: str, *, seed: int = 1, out: Path | None = None) -> str:
        """Start cloud, kubelets and engines; returns the URL of the twin's control endpoint."""
        port = free_port()
        spawn(
            TWIN,
            [
                sys.executable, "-m", "sandbox.twin", "--kubeconfig", str(self.cluster.kubeconfig),
                "--scenario", scenario, "--seed", str(seed), "--port", str(port),
                "--out", str(out or self.layout.root / "twin"),
            ],
            log=self.layout.log(TWIN),
            pid_file=self.layout.pid_file(TWIN),
            detached=self.detached,
            environ={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}{os.pathsep}{REPOSITORY}"},
            cwd=REPOSITORY,
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        self._wait_for(TWIN, f"{url}/healthz")
        return url

    def apply(self, path: Path | str) -> None:
        self.cluster.kubectl("apply", "--server-side", "-f", str(path))

    def record(self, name: str) -> Record | None:
        """The running process, None when it does not run."""
        record = Record.read(self.layout.pid_file(name))
        return record if record is not None and record.alive else None

    def kill(self, name: str) -> None:
        """As the kernel's out-of-memory killer does: no chance to tidy up."""
        record = self.record(name)
        if record is None:
            raise ComponentError(f"{name} does not run", way_out=f"see {self.layout.log(name)}")
        os.kill(record.pid, signal.SIGKILL)
        wait_until(lambda: not record.alive, f"the end of {name}", timeout_s=10)

    def stop(self) -> list[str]:
        """End operator and twin; the cluster stays."""
        return end_product(self.layout)

    def _wait_for(self, name: str, url: str) -> None:
        def answers() -> bool:
            if self.record(name) is None:
                raise ComponentError(
                    f"{name} ended while it started", log=self.layout.log(name), way_out="read the end of its log"
                )
            return call(url, timeout_s=2).ok

        wait_until(answers, f"{name} to answer at {url}", timeout_s=60)


def end_product(layout: Layout) -> list[str]:
    """End operator and twin of a sandbox, wherever they were started from; returns what ran."""
    ended = []
    for name in (OPERATOR, TWIN):
        record = Record.read(layout.pid_file(name))
        if record is not None and terminate(record, grace_s=20, log=layout.log(name)):
            ended.append(name)
        layout.pid_file(name).unlink(missing_ok=True)
    return ended


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get_json(url: str) -> Any:
    """One GET; raises ComponentError when nobody answers."""
    answer = call(url, timeout_s=10)
    if not answer.ok:
        raise ComponentError(f"{url} answered {answer.status or 'nothing'}", way_out="see the logs of the sandbox")
    return answer.json()
