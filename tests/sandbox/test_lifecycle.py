"""Start, attach, crash, recover, stop: no process and no lock is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Cluster, SandboxError
from sandbox.__main__ import main
from sandbox.layout import REPO, Settings
from sandbox.processes import Record
from sandbox.waiting import wait_until

pytestmark = pytest.mark.cluster
BARE = Settings(prometheus=False)


def records(folder: Path) -> dict[str, Record]:
    found = [Record.read(path) for path in sorted((folder / "run").glob("*.pid"))]
    return {each.name: each for each in found if each is not None}


def test_a_second_start_attaches_and_only_the_owner_stops_the_cluster(tmp_path: Path) -> None:
    with Cluster.start(tmp_path, settings=BARE) as first:
        started = records(tmp_path)
        with Cluster.start(tmp_path, settings=BARE) as second:
            assert not second.owned
            assert second.server_url == first.server_url
            assert records(tmp_path) == started
        assert all(each.alive for each in started.values()), "the guest's exit must not stop the cluster"
    assert len(started) == 4
    assert not any(each.alive for each in started.values())
    assert records(tmp_path) == {}


def test_components_die_with_the_process_that_started_them_attached(tmp_path: Path) -> None:
    script = (
        "import sys, sandbox; from sandbox.layout import Settings;"
        "sandbox.Cluster.start(sys.argv[1], settings=Settings(prometheus=False));"
        "print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        started = records(tmp_path)
        assert all(each.alive for each in started.values())
        parent.kill()  # no chance to clean up
        parent.wait()
        wait_until(lambda: not any(each.alive for each in started.values()), "all components are gone", timeout_s=10)
    assert len(started) == 4


def test_a_detached_cluster_outlives_its_starter_and_recovers_from_a_crash_with_its_objects(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def sandbox(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sandbox", *args, "--state-dir", str(tmp_path)]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False, timeout=120)

    up = sandbox("up", "--no-prometheus")
    assert up.returncode == 0, up.stderr
    try:
        cluster = Cluster.attach(tmp_path)
        assert cluster.server_url in up.stdout
        cluster.kubectl("create", "namespace", "precious")
        started = records(tmp_path)
        for name in ("etcd", "kube-apiserver"):
            os.kill(started[name].pid, signal.SIGKILL)
        wait_until(lambda: not started["etcd"].alive and not started["kube-apiserver"].alive, "crash", timeout_s=10)
        assert json.loads(sandbox("status", "--json").stdout)["components"][0]["running"] is False

        again = sandbox("up", "--no-prometheus")
        assert again.returncode == 0, again.stderr
        assert "Ended what an earlier sandbox left running" in again.stderr
        assert not any(each.alive for each in started.values()), "survivors of the crash must be gone"
        Cluster.attach(tmp_path).kubectl("get", "namespace", "precious")
        started = records(tmp_path)
    finally:
        down = sandbox("down")
    assert down.stdout.startswith("Stopped kube-scheduler, kube-controller-manager, kube-apiserver, etcd")
    assert not any(each.alive for each in started.values())
    assert sandbox("down").stdout.startswith("Nothing was running")


def test_a_torn_state_file_and_half_made_keys_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"format": 1, "por')
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "serving.crt").write_text("-----BEGIN")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "etcd.pid").write_text("")
    with Cluster.start(tmp_path, settings=BARE) as cluster:
        cluster.kubectl("get", "namespaces")


def test_attaching_to_nothing_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"No sandbox runs in(.|\n)*python -m sandbox up"):
        Cluster.attach(tmp_path)


def test_a_component_that_cannot_start_is_reported_with_its_log_and_leaves_nothing_running(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "etcd").write_text("a file where etcd wants a folder")
    with pytest.raises(SandboxError, match=r"etcd ended while starting(.|\n)*log: .*etcd.log(.|\n)*way out"):
        Cluster.start(tmp_path, settings=BARE)
    assert records(tmp_path) == {}


def test_status_of_nothing_has_its_own_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--state-dir", str(tmp_path)]) == 3
    assert "No sandbox runs" in capsys.readouterr().out
