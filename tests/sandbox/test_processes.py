"""Only what the sandbox started is ended, and a zombie does not count as running."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.errors import ComponentError
from sandbox.processes import Record, identity, resident_bytes, spawn, terminate
from sandbox.waiting import wait_until

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
signal.pause()
"""


def start(tmp_path: Path, *command: str) -> Record:
    return spawn("child", command, log=tmp_path / "log", pid_file=tmp_path / "child.pid", detached=False)


def test_a_spawned_process_is_recorded_and_ended(tmp_path: Path) -> None:
    record = start(tmp_path, "sleep", "600")
    assert Record.read(tmp_path / "child.pid") == record
    assert record.alive
    assert resident_bytes(record.pid) > 0
    assert terminate(record)
    assert identity(record.pid) is None
    assert not terminate(record), "a second call finds nothing to end"


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    record = start(tmp_path, sys.executable, "-c", STUBBORN)
    wait_until(lambda: "deaf" in (tmp_path / "log").read_text(), "it ignores SIGTERM", timeout_s=10)
    assert terminate(record, grace_s=0.2)
    assert identity(record.pid) is None


def test_a_process_that_ended_by_itself_is_not_alive_though_nobody_waited_for_it(tmp_path: Path) -> None:
    record = start(tmp_path, "true")
    wait_until(lambda: not record.alive, "it ended", timeout_s=10)


def test_another_process_with_the_recorded_number_is_never_touched() -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        record = Record("etcd", stranger.pid, "some earlier boot/12345", "etcd")
        assert not record.alive
        assert not terminate(record)
        assert stranger.poll() is None
        stranger.kill()


def test_a_torn_pid_file_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "etcd.pid"
    for text in ("", "17", '{"name": "etcd"}', "[]"):
        path.write_text(text)
        assert Record.read(path) is None


def test_the_identity_of_this_process_is_stable_and_of_no_process_is_none() -> None:
    assert identity(os.getpid()) == identity(os.getpid())
    assert replace(Record("x", os.getpid(), identity(os.getpid()) or "", "x"), pid=2**22 + 1).alive is False


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"cannot be started: /no/such/program(.|\n)*toolchain"):
        start(tmp_path, "/no/such/program")
