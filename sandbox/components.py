"""The five processes: their flags, and how each one says that it is ready."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from sandbox.layout import Layout, State
from sandbox.pki import SERVICE_IP, Pki
from sandbox.toolchain import Toolchain
from sandbox.web import Answer, call

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
PROMETHEUS = "prometheus"
START_ORDER = (ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER, PROMETHEUS)
STOP_ORDER = tuple(reversed(START_ORDER))  # etcd last: the API server flushes to it while it ends

SERVICE_RANGE = "10.96.0.0/16"
ISSUER = "https://kubernetes.default.svc.cluster.local"

# Controllers without work here: no kubelets ask for certificates, no volumes are attached, no cloud API.
_IDLE_CONTROLLERS = (
    "bootstrap-signer-controller", "token-cleaner-controller", "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-approving-controller", "certificatesigningrequest-cleaner-controller",
    "persistentvolume-attach-detach-controller", "persistentvolume-expander-controller",
    "cloud-node-lifecycle-controller", "node-route-controller", "service-lb-controller",
)  # fmt: skip


@dataclass(frozen=True)
class Component:
    """One process; `probe` asks it over HTTP whether it is ready."""

    name: str
    command: tuple[str, ...]
    probe_url: str
    tls: ssl.SSLContext | None
    deadline_s: float

    def probe(self) -> Answer:
        return call(self.probe_url, tls=self.tls, timeout_s=2)


def components(tools: Toolchain, layout: Layout, state: State, tls: ssl.SSLContext) -> Mapping[str, Component]:
    """Every component of this sandbox in start order; Prometheus only when it was asked for."""
    ports = state.ports
    made = [
        Component(ETCD, _etcd(tools, layout, state), f"http://127.0.0.1:{ports.etcd}/readyz", None, 30),
        Component(APISERVER, _apiserver(tools, layout, state), f"https://127.0.0.1:{ports.apiserver}/readyz", tls, 60),
        Component(
            CONTROLLER_MANAGER,
            _controller_manager(tools, layout, state),
            f"https://127.0.0.1:{ports.controller_manager}/healthz",
            tls,
            60,
        ),
        Component(
            SCHEDULER,
            _scheduler(tools, layout, state),
            f"https://127.0.0.1:{ports.scheduler}/readyz",
            tls,
            60,
        ),
    ]
    if state.settings.prometheus:
        url = f"http://127.0.0.1:{ports.prometheus}/-/ready"
        made.append(Component(PROMETHEUS, _prometheus(tools, layout, state), url, None, 60))
    return {component.name: component for component in made}


def scheduler_config(kubeconfig: Path) -> str:
    """Back-off is shorter than the default 10 s: a simulated node that came should be used at once."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 200, "burst": 400},
            "leaderElection": {"leaderElect": False},
            "parallelism": 4,
            "podInitialBackoffSeconds": 1,
            "podMaxBackoffSeconds": 4,
        }
    )


def _etcd(tools: Toolchain, layout: Layout, state: State) -> tuple[str, ...]:
    client, peer = (f"http://127.0.0.1:{port}" for port in (state.ports.etcd, state.ports.etcd_peer))
    return (
        *tools.etcd,
        "--name=sandbox",
        f"--data-dir={layout.data / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=sandbox={peer}",
        # A killed process loses nothing without fsync, only a crash of the machine does: fine for a sandbox,
        # and several times faster on laptop disks.
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def _apiserver(tools: Toolchain, layout: Layout, state: State) -> tuple[str, ...]:
    pki, settings = Pki(layout.pki), state.settings
    return (
        *tools.kube_apiserver,
        f"--etcd-servers=http://127.0.0.1:{state.ports.etcd}",
        "--bind-address=127.0.0.1",
        # Nothing reaches the API server through the `kubernetes` Service here; loopback is no valid endpoint.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={state.ports.apiserver}",
        f"--tls-cert-file={pki.serving_cert}",
        f"--tls-private-key-file={pki.serving_key}",
        f"--client-ca-file={pki.ca_file}",
        "--authorization-mode=Node,RBAC",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki.service_account_key}",
        f"--service-account-signing-key-file={pki.service_account_key}",
        "--allow-privileged=true",
        f"--default-not-ready-toleration-seconds={settings.eviction_toleration_s}",
        f"--default-unreachable-toleration-seconds={settings.eviction_toleration_s}",
        "--event-ttl=1h",
        "--profiling=false",
    )


def _controller_manager(tools: Toolchain, layout: Layout, state: State) -> tuple[str, ...]:
    pki, settings = Pki(layout.pki), state.settings
    return (
        *tools.kube_controller_manager,
        f"--kubeconfig={layout.config / 'controller-manager.kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={state.ports.controller_manager}",
        f"--tls-cert-file={pki.serving_cert}",
        f"--tls-private-key-file={pki.serving_key}",
        "--leader-elect=false",
        # Each controller acts under its own ServiceAccount and RBAC role, as on any real cluster. Without this
        # the bare user lacks most permissions and the controllers fail one by one.
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki.service_account_key}",
        f"--root-ca-file={pki.ca_file}",
        "--allocate-node-cidrs=false",
        f"--controllers=*,{','.join('-' + name for name in _IDLE_CONTROLLERS)}",
        f"--node-monitor-period={settings.node_monitor_period_s:g}s",
        f"--node-monitor-grace-period={settings.node_monitor_grace_s:g}s",
        f"--node-startup-grace-period={settings.node_startup_grace_s:g}s",
        "--node-eviction-rate=10",
        f"--terminated-pod-gc-threshold={settings.terminated_pod_gc_threshold}",
        "--concurrent-gc-syncs=5",
        "--concurrent-namespace-syncs=4",
        "--concurrent-rc-syncs=1",
        "--concurrent-statefulset-syncs=1",
        "--concurrent-daemonset-syncs=1",
        "--concurrent-endpoint-syncs=2",
        # The default of 20 requests a second would be the bottleneck with a thousand fleets.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    )


def _scheduler(tools: Toolchain, layout: Layout, state: State) -> tuple[str, ...]:
    pki = Pki(layout.pki)
    return (
        *tools.kube_scheduler,
        f"--config={layout.config / 'scheduler.yaml'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={state.ports.scheduler}",
        f"--tls-cert-file={pki.serving_cert}",
        f"--tls-private-key-file={pki.serving_key}",
    )


def _prometheus(tools: Toolchain, layout: Layout, state: State) -> tuple[str, ...]:
    return (
        *tools.prometheus,
        f"--config.file={layout.config / 'prometheus.yml'}",
        f"--storage.tsdb.path={layout.data / 'prometheus'}",
        "--storage.tsdb.retention.time=24h",
        f"--web.listen-address=127.0.0.1:{state.ports.prometheus}",
        "--web.enable-lifecycle",  # POST /-/reload, how scrape settings change at run time
        "--log.level=warn",
    )


__all__ = [
    "APISERVER", "CONTROLLER_MANAGER", "ETCD", "PROMETHEUS", "SCHEDULER", "SERVICE_IP", "START_ORDER",
    "STOP_ORDER", "Component", "components", "scheduler_config",
]  # fmt: skip
