"""Starting, recognising and ending local processes; only those that the sandbox itself started."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.errors import ComponentError, tail
from sandbox.waiting import DeadlineExceeded, wait_until

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1

# Handles of our own children: without them a dead child stays a zombie and looks alive.
_children: dict[int, subprocess.Popen[bytes]] = {}
_children_lock = threading.Lock()

# Linux ties "dies with its parent" to the *thread* that forked. Children are therefore forked by one thread
# that lives as long as the process, or a restart from a short-lived worker thread would kill the component.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-spawner")


@dataclass(frozen=True)
class Record:
    """What a pid file holds: enough to tell our process from a later one that got the same number."""

    name: str
    pid: int
    identity: str
    program: str

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """None when there is no file, or a torn one left by a crash: such a file proves nothing."""
        try:
            raw: dict[str, Any] = json.loads(path.read_text())
            return cls(str(raw["name"]), int(raw["pid"]), str(raw["identity"]), str(raw["program"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    @property
    def alive(self) -> bool:
        _reap(self.pid)
        return identity(self.pid) == self.identity


def identity(pid: int) -> str | None:
    """Start time within this boot; None when no such process runs (a zombie does not run)."""
    if not _LINUX:
        asked = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state, _, started = asked.stdout.strip().partition(" ")
        return None if asked.returncode != 0 or state.startswith("Z") else started.strip()
    try:
        # The second field is the command in brackets and may hold anything: split after the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone or this system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    pid_file: Path,
    detached: bool,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Record:
    """Start a process of its own session, log to a file, record it. Attached ones die with this process."""
    log.parent.mkdir(parents=True, exist_ok=True)

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=dict(environ) if environ is not None else None, cwd=cwd,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle, in the right order
                preexec_fn=None if detached else _die_with_parent(),  # noqa: PLW1509 - one prctl call, no locks
            )  # fmt: skip

    try:
        child = _spawner.submit(start).result()
    except OSError as error:
        raise ComponentError(
            f"{name} cannot be started: {command[0]}: {error.strerror or error}",
            way_out="run `python -m sandbox toolchain` to check the binaries",
        ) from error
    with _children_lock:
        _children[child.pid] = child
    # A child that died at once has no identity any more; the readiness wait reports it with its log.
    record = Record(name, child.pid, identity(child.pid) or "gone", str(command[0]))
    record.write(pid_file)
    return record


def _die_with_parent() -> Callable[[], None] | None:
    if not _LINUX:
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: the child must not import
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)

    return in_child


def _reap(pid: int) -> None:
    with _children_lock:
        child = _children.get(pid)
        if child is not None and child.poll() is not None:
            del _children[pid]


def terminate(record: Record, *, grace_s: float = 15, log: Path | None = None) -> bool:
    """SIGTERM, then SIGKILL after the grace; returns whether it was running. Waits until it is gone.

    Checks start time before every signal, so a process that merely got the same number is never touched.
    """
    if not record.alive:
        return False
    for signum, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        if record.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, signum)
        try:
            wait_until(lambda: not record.alive, f"{record.name} gone", timeout_s=patience, every_s=0.02)
            return True
        except DeadlineExceeded:
            continue
    raise ComponentError(
        f"{record.name} (process {record.pid}) is still there after SIGKILL",
        log=log,
        detail=tail(log) if log else "",
        way_out=f"see `ps -o pid,stat,wchan:30,cmd -p {record.pid}`: it is probably blocked on a disk",
    )
