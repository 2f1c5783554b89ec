"""The embedded cluster as one object: start or attach, use, break, stop."""

from __future__ import annotations

import logging
import os
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from sandbox.components import PROMETHEUS, START_ORDER, components, scheduler_config
from sandbox.errors import CommandError, SandboxError
from sandbox.kubeconfig import write_kubeconfig
from sandbox.layout import Layout, Ports, Settings, State
from sandbox.pki import Pki
from sandbox.prometheus import configuration, write_configuration
from sandbox.supervisor import ComponentStatus, Supervisor
from sandbox.toolchain import Toolchain, resolve
from sandbox.waiting import DeadlineExceeded, wait_until
from sandbox.web import Answer, call, trust

_log = logging.getLogger(__name__)


@dataclass
class Cluster:
    """A running sandbox. `owned`: this object started it, so leaving the `with` block stops it."""

    layout: Layout
    state: State
    tools: Toolchain
    owned: bool = False

    # ---- life cycle -------------------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        state_dir: Path | str,
        *,
        detached: bool = False,
        settings: Settings | None = None,
        prometheus: bool = True,
        scrape_interval_s: float = 2,
        fresh: bool = False,
        tools: Toolchain | None = None,
    ) -> Cluster:
        """Start the sandbox in `state_dir`, or attach to the one that runs there.

        Attached (the default) it dies with this process, detached it stays until `stop`. What a crash left is
        recovered: surviving processes are ended, data is kept unless `fresh`. `settings` overrides the two
        shorthand arguments.
        """
        layout = Layout(Path(state_dir).resolve())
        wanted = settings or Settings(prometheus=prometheus, scrape_interval_s=scrape_interval_s)
        tools = tools or resolve()
        with layout.locked():
            known = layout.load()
            if known is not None and not fresh:
                cluster = cls(layout, known, tools)
                if cluster._running() == set(cluster._supervisor().components):
                    cluster._supervisor().start(START_ORDER)  # launches nothing, waits until all are ready
                    if known.settings != wanted:
                        _log.info("The running sandbox keeps the settings it was started with: %s", known.settings)
                    return cluster
            _end_leftovers(layout)
            if fresh:
                layout.wipe(keep_logs=False)
            ports = known.ports if known is not None and known.ports.all_free() else Ports.free()
            cluster = cls(layout, State(ports, wanted, detached), tools, owned=True)
            try:
                cluster._bring_up()
            except BaseException:  # Ctrl-C too: a half-started sandbox must not stay behind
                cluster._supervisor().stop()
                raise
        return cluster

    @classmethod
    def attach(cls, state_dir: Path | str, tools: Toolchain | None = None) -> Cluster:
        """The sandbox that runs in `state_dir`; an error when none does."""
        layout = Layout(Path(state_dir).resolve())
        known = layout.load()
        if known is None or not (cluster := cls(layout, known, tools or resolve()))._running():
            raise SandboxError(f"No sandbox runs in {layout.root}", way_out="start one: python -m sandbox up")
        return cluster

    def stop(self, *, keep_data: bool = False) -> list[str]:
        """End every component, etcd last; returns the names of those that ran. Logs are kept."""
        with self.layout.locked():
            stopped = self._supervisor().stop()
            if not keep_data:
                self.layout.wipe(keep_logs=True)
        self.owned = False
        return stopped

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.owned:
            self.stop()

    def stop_component(self, name: str) -> None:
        """For fault tests. Components: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, prometheus."""
        with self.layout.locked():
            self._supervisor().stop([self._supervisor().component(name).name])

    def start_component(self, name: str) -> None:
        """Start again with the same flags and wait until it is ready."""
        with self.layout.locked():
            self._supervisor().start([self._supervisor().component(name).name])

    def restart(self, name: str) -> None:
        self.stop_component(name)
        self.start_component(name)

    def status(self) -> list[ComponentStatus]:
        return self._supervisor().status()

    # ---- addresses and credentials ----------------------------------------------------------------------

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator (group system:masters)."""
        return self.layout.kubeconfig

    @property
    def server_url(self) -> str:
        return f"https://127.0.0.1:{self.state.ports.apiserver}"

    @property
    def ca_file(self) -> Path:
        return Pki(self.layout.pki).ca_file

    @property
    def prometheus_url(self) -> str:
        if not self.state.settings.prometheus:
            raise SandboxError("This sandbox was started without Prometheus", way_out="start it with prometheus=True")
        return f"http://127.0.0.1:{self.state.ports.prometheus}"

    def user_kubeconfig(self, user: str, path: Path, *, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for any user; RBAC decides what the user may do."""
        identity = Pki(self.layout.pki).client(user, groups)
        return write_kubeconfig(path, server=self.server_url, ca_file=self.ca_file, user=user, identity=identity)

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path, *, duration_s: int = 24 * 3600) -> Path:
        """A kubeconfig with a token from the TokenRequest API, so that missing RBAC shows as on a real cluster."""
        answer = self.api(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
             "spec": {"expirationSeconds": duration_s}},
        )  # fmt: skip
        if not answer.ok:
            raise SandboxError(
                f"No token for ServiceAccount {namespace}/{name}: {answer.status or ''} {answer.text.strip()[:300]}",
                way_out="create the ServiceAccount first (the chart does), and check namespace and name",
            )
        token = str(answer.json()["status"]["token"])
        user = f"system:serviceaccount:{namespace}:{name}"
        return write_kubeconfig(
            path, server=self.server_url, ca_file=self.ca_file, user=user, token=token, namespace=namespace
        )

    # ---- doing things -----------------------------------------------------------------------------------

    def kubectl(
        self, *args: str, check: bool = True, input: str | None = None, timeout_s: float = 60,
        kubeconfig: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Genuine kubectl as administrator, or with another kubeconfig; raises CommandError on failure."""
        return self._command(self.tools.kubectl, args, check, input, timeout_s, kubeconfig)

    def helm(
        self, *args: str, check: bool = True, input: str | None = None, timeout_s: float = 300,
        kubeconfig: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        return self._command(self.tools.helm, args, check, input, timeout_s, kubeconfig)

    def api(self, method: str, path: str, body: object = None) -> Answer:
        """One raw request to the API server as administrator."""
        return call(self.server_url + path, method=method, body=body, tls=self._tls(), timeout_s=30)

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """For child processes: this cluster's kubeconfig, and tool caches in the state directory."""
        cache = self.layout.cache
        return {
            **os.environ,
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(cache / "kubectl"),
            "HELM_CACHE_HOME": str(cache / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(cache / "helm" / "config"),
            "HELM_DATA_HOME": str(cache / "helm" / "data"),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def configure_prometheus(
        self, *, scrape_interval_s: float | None = None, operator_metrics: str | None = None
    ) -> None:
        """Change the scrape interval or the operator's metrics address (host:port) and reload Prometheus.

        `None` keeps what is set; an empty address removes the operator's job.
        """
        current = self.state.settings
        address = current.operator_metrics if operator_metrics is None else operator_metrics or None
        changed = replace(
            current, operator_metrics=address, scrape_interval_s=scrape_interval_s or current.scrape_interval_s
        )
        with self.layout.locked():
            self.state = replace(self.state, settings=changed)
            self.layout.save(self.state)
            self._write_prometheus_config()
        self.reload_prometheus()

    def reload_prometheus(self) -> None:
        """Prometheus answers only after it has applied the file, and says what is wrong with it."""
        answer = call(f"{self.prometheus_url}/-/reload", method="POST", timeout_s=30)
        if not answer.ok:
            raise SandboxError(
                f"Prometheus did not reload: {answer.status or 'no answer'} {answer.text.strip()[:500]}",
                log=self.layout.log(PROMETHEUS),
                way_out=f"check {self.layout.config / 'prometheus.yml'}",
            )

    # ---- inside -----------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        layout, pki = self.layout, Pki(self.layout.pki)
        for folder in (layout.config, layout.data, layout.cache):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        pki.ensure()
        self.user_kubeconfig("admin", layout.kubeconfig, groups=["system:masters"])
        for user in ("controller-manager", "scheduler"):
            self.user_kubeconfig(f"system:kube-{user}", layout.config / f"{user}.kubeconfig")
        admin = pki.client("sandbox-probe", ["system:masters"])
        probe = layout.config / "probe.pem"
        probe.touch(mode=0o600)
        probe.write_bytes(admin.certificate + admin.key)
        (layout.config / "scheduler.yaml").write_text(scheduler_config(layout.config / "scheduler.kubeconfig"))
        self._write_prometheus_config()
        layout.save(self.state)
        supervisor = self._supervisor()
        supervisor.start(supervisor.components)
        self._wait_usable()

    def _wait_usable(self) -> None:
        """Ready endpoints are not enough: pods are refused until the controllers made the ServiceAccount."""
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        try:
            wait_until(lambda: self.api("GET", path).ok, "ServiceAccount default/default", timeout_s=60)
        except DeadlineExceeded as error:
            raise SandboxError(
                f"The controllers do not work: {error}",
                log=self.layout.log("kube-controller-manager"),
                way_out="look at the log of the controller manager",
            ) from error

    def _write_prometheus_config(self) -> None:
        settings = self.state.settings
        document = configuration(
            kubeconfig=self.kubeconfig,
            scrape_interval_s=settings.scrape_interval_s,
            operator_metrics=settings.operator_metrics,
        )
        write_configuration(self.layout.config / "prometheus.yml", document)

    def _tls(self) -> ssl.SSLContext:
        return trust(self.ca_file, self.layout.config / "probe.pem")

    def _supervisor(self) -> Supervisor:
        return Supervisor(
            self.layout, components(self.tools, self.layout, self.state, self._tls()), self.state.detached
        )

    def _running(self) -> set[str]:
        if not self.ca_file.exists():
            return set()
        supervisor = self._supervisor()
        return {name for name in supervisor.components if supervisor.running(name)}

    def _command(
        self, tool: Sequence[str], args: Sequence[str], check: bool, input: str | None, timeout_s: float,
        kubeconfig: Path | None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        shown = " ".join([Path(tool[0]).name, *args])
        try:
            done = subprocess.run(
                [*tool, *args], input=input, capture_output=True, text=True, timeout=timeout_s, check=False,
                env=self.environment(kubeconfig), stdin=subprocess.DEVNULL if input is None else None,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CommandError(
                f"`{shown}` did not end within {timeout_s:g} s", way_out="see status of the sandbox"
            ) from error
        if check and done.returncode != 0:
            raise CommandError(
                f"`{shown}` ended with status {done.returncode}", detail=(done.stderr or done.stdout)[-3000:]
            )
        return done


def _end_leftovers(layout: Layout) -> None:
    """Processes of a sandbox whose starter crashed: recorded, still running, and in the way."""
    leftovers = Supervisor(layout, {}, detached=True).stop()
    if leftovers:
        _log.warning("Ended what an earlier sandbox left running in %s: %s", layout.root, ", ".join(leftovers))
