"""Starting and stopping the components of one sandbox, with deadlines and errors that carry the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sandbox.components import APISERVER, ETCD, START_ORDER, STOP_ORDER, Component
from sandbox.errors import ComponentError, SandboxError, tail
from sandbox.layout import Layout
from sandbox.processes import Record, resident_bytes, spawn, terminate
from sandbox.waiting import DeadlineExceeded, wait_until

_LOG_LIMIT = 64 * 2**20  # a log larger than this is set aside once at the next start
# The API server waits up to a minute for open watches, which clients on this machine would never end. It keeps
# no state of its own, so it is not given that minute.
_GRACE_S = {APISERVER: 4.0}


@dataclass(frozen=True)
class ComponentStatus:
    name: str
    pid: int | None
    running: bool
    ready: bool
    resident_bytes: int
    detail: str


@dataclass(frozen=True)
class Supervisor:
    layout: Layout
    components: Mapping[str, Component]
    detached: bool

    def running(self, name: str) -> Record | None:
        record = Record.read(self.layout.pid_file(name))
        return record if record is not None and record.alive else None

    def launch(self, name: str) -> None:
        """Start a component unless it runs already; does not wait."""
        component = self.component(name)
        if self.running(name):
            return
        log = self.layout.log(name)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        spawn(
            name, component.command,
            log=log, pid_file=self.layout.pid_file(name), detached=self.detached, cwd=self.layout.root,
        )  # fmt: skip

    def wait_ready(self, name: str) -> None:
        """Until the component answers its probe; fails at once when its process ends."""
        component, log = self.component(name), self.layout.log(name)

        def answers() -> bool:
            if self.running(name) is None:
                raise ComponentError(
                    f"{name} ended while starting",
                    log=log,
                    detail=tail(log),
                    way_out="the log says why; `python -m sandbox up --fresh` starts from an empty state",
                )
            return component.probe().ok

        try:
            wait_until(answers, name, timeout_s=component.deadline_s)
        except DeadlineExceeded as error:
            answer = component.probe()
            raise ComponentError(
                f"{name} was not ready within {component.deadline_s:g} s: "
                f"{component.probe_url} says {answer.status or 'nothing'} {answer.text.strip()[:300]}",
                log=log,
                detail=tail(log),
                way_out="a loaded machine? look at the log, then `python -m sandbox down` and up again",
            ) from error

    def start(self, names: Iterable[str]) -> None:
        """Launch and wait, in the order that dependencies ask for."""
        wanted = [name for name in START_ORDER if name in set(names) and name in self.components]
        for name in (ETCD, APISERVER):
            if name in wanted:
                self.launch(name)
                self.wait_ready(name)
        rest = [name for name in wanted if name not in (ETCD, APISERVER)]
        for name in rest:  # these need the API server only, so they start side by side
            self.launch(name)
        for name in rest:
            self.wait_ready(name)
        if ETCD in wanted and APISERVER not in wanted and self.running(APISERVER):
            self.wait_ready(APISERVER)  # it reconnects by itself, callers should not see the gap

    def stop(self, names: Iterable[str] = START_ORDER) -> list[str]:
        """End what runs, etcd last; returns what was running. A failure does not keep the others alive."""
        stopped: list[str] = []
        failures: list[ComponentError] = []
        for name in [each for each in STOP_ORDER if each in set(names)]:
            pid_file = self.layout.pid_file(name)
            record = Record.read(pid_file)
            if record is None:
                continue
            try:
                if terminate(record, grace_s=_GRACE_S.get(name, 15), log=self.layout.log(name)):
                    stopped.append(name)
                pid_file.unlink(missing_ok=True)
            except ComponentError as error:
                failures.append(error)
        if failures:
            raise ComponentError("\n".join(str(failure) for failure in failures))
        return stopped

    def status(self) -> list[ComponentStatus]:
        told = []
        for name, component in self.components.items():
            record = self.running(name)
            if record is None:
                told.append(ComponentStatus(name, None, False, False, 0, "not running"))
                continue
            answer = component.probe()
            detail = "ready" if answer.ok else f"{answer.status or 'no answer'} {answer.text.strip()[:80]}"
            told.append(ComponentStatus(name, record.pid, True, answer.ok, resident_bytes(record.pid), detail))
        return told

    def component(self, name: str) -> Component:
        """The component of that name, or an error that lists those there are."""
        if name not in self.components:
            raise SandboxError(
                f"This sandbox has no component {name!r}; it has {', '.join(self.components)}",
                way_out="Prometheus is there only when the sandbox was started with it",
            )
        return self.components[name]
