"""The state directory of one sandbox: where everything lies, and the choices that outlive a process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError
from sandbox.waiting import DeadlineExceeded, wait_until

REPO = Path(__file__).resolve().parent.parent
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What a sandbox is started with. Times are shorter than in production, so that scenarios are short."""

    prometheus: bool = True
    scrape_interval_s: float = 2
    operator_metrics: str | None = None  # host:port of the operator's own /metrics
    node_monitor_period_s: float = 2
    node_monitor_grace_s: float = 20  # a node whose lease is older than this becomes Unknown
    node_startup_grace_s: float = 30
    eviction_toleration_s: int = 30  # how long a pod stays bound to a node that is not ready
    terminated_pod_gc_threshold: int = 50


@dataclass(frozen=True)
class Ports:
    """Loopback ports; kept over a restart so that kubeconfig files stay valid."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    prometheus: int

    @classmethod
    def free(cls) -> Ports:
        sockets = [socket.socket() for _ in range(6)]
        try:
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            numbers = [int(each.getsockname()[1]) for each in sockets]
        finally:
            for each in sockets:
                each.close()
        return cls(*numbers)

    def all_free(self) -> bool:
        for number in asdict(self).values():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", number))
                except OSError:
                    return False
        return True


@dataclass(frozen=True)
class State:
    ports: Ports
    settings: Settings = field(default_factory=Settings)
    detached: bool = True


@dataclass(frozen=True)
class Layout:
    """Paths under one state directory."""

    root: Path

    @classmethod
    def named(cls, name: str) -> Layout:
        return cls(REPO / ".sandbox" / name)

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def log(self, component: str) -> Path:
        return self.root / "logs" / f"{component}.log"

    def pid_file(self, component: str) -> Path:
        return self.root / "run" / f"{component}.pid"

    @property
    def _state_file(self) -> Path:
        return self.root / "state.json"

    def save(self, state: State) -> None:
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(json.dumps({"format": FORMAT, **asdict(state)}, indent=2) + "\n")
        fresh.replace(self._state_file)

    def load(self) -> State | None:
        """None when there was never a sandbox here, or its state file is unreadable and must be made anew."""
        try:
            raw: dict[str, Any] = json.loads(self._state_file.read_text())
            if raw["format"] != FORMAT:
                return None
            return State(Ports(**raw["ports"]), Settings(**raw["settings"]), bool(raw["detached"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def wipe(self, *, keep_logs: bool) -> None:
        """Remove what a sandbox left; only folders that it made, never the directory as a whole."""
        for folder in (self.pki, self.config, self.data, self.cache, self.root / "run"):
            if folder.exists():
                shutil.rmtree(folder)
        if not keep_logs and (self.root / "logs").exists():
            shutil.rmtree(self.root / "logs")
        for path in (self.kubeconfig, self._state_file):
            path.unlink(missing_ok=True)

    @contextmanager
    def locked(self, timeout_s: float = 120) -> Iterator[None]:
        """One process at a time starts or stops this sandbox."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

        def take() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        try:
            try:
                wait_until(take, "lock", timeout_s=timeout_s)
            except DeadlineExceeded as error:
                raise SandboxError(
                    f"Another process has been starting or stopping the sandbox in {self.root} for {timeout_s:g} s",
                    way_out="wait for it or end it, then try again",
                ) from error
            yield
        finally:
            os.close(handle)
