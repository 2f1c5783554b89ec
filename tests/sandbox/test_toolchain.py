"""Binaries come from the first place that has the right version; a failed build explains itself."""

from __future__ import annotations

import io
import os
import sysconfig
from pathlib import Path

import pytest

from sandbox.errors import ToolchainError
from sandbox.toolchain import Versions, resolve
from sandbox.toolchain import build as building
from sandbox.toolchain.build import Store, ensure_built
from sandbox.toolchain.golang import find_go
from sandbox.toolchain.progress import Progress
from sandbox.toolchain.versions import dotted

V = Versions(kubernetes=(1, 36, 3), etcd=(3, 6, 8), prometheus=(3, 15, 0), helm=(4, 3, 1), fingerprint="f00d")
ALL = {
    "etcd": "etcd Version: 3.6.8",
    "kube-apiserver": "Kubernetes v1.36.3",
    "kube-controller-manager": "Kubernetes v1.36.3",
    "kube-scheduler": "Kubernetes v1.36.3",
    "prometheus": "prometheus, version 3.15.0 (branch: )",
    "promtool": "promtool, version 3.15.0 (branch: )",
    "helm": "v4.3.1+gabcdef",
    "kubectl": "Client Version: v1.37.1",
}


def program(path: Path, says: str, status: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)


def built(cache: Path) -> Path:
    """A cache that looks as after a build."""
    folder = Store(cache / "inferencefleet", V).folder
    program(folder / "controlplane", "Kubernetes v1.36.3")
    for tool in ("prometheus", "promtool", "helm"):
        program(folder / tool, ALL[tool])
    return folder


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which nothing of this machine is found but what a test puts on PATH."""
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "no-scripts"))
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_go_mod_is_the_single_source_of_versions() -> None:
    wanted = Versions.wanted()
    assert wanted.kubernetes == (1, 36, 3)
    assert wanted.prometheus == (3, 15, 0), "the module numbers release 3.15.0 as v0.315.0"
    assert wanted.fingerprint in wanted.key
    assert f"kubernetes-{dotted(wanted.kubernetes)}" in wanted.key


def test_binaries_of_the_right_version_on_path_are_used_and_nothing_is_built(
    tmp_path: Path, only_path: dict[str, str]
) -> None:
    for tool, says in ALL.items():
        program(tmp_path / "bin" / tool, says)
    found = resolve(only_path, V)
    assert found.etcd == (str(tmp_path / "bin" / "etcd"),)
    assert found.command("kube-apiserver") == (str(tmp_path / "bin" / "kube-apiserver"),)
    assert not (tmp_path / "cache").exists()


def test_kubebuilder_assets_come_before_path(tmp_path: Path, only_path: dict[str, str]) -> None:
    for tool, says in ALL.items():
        program(tmp_path / "bin" / tool, says)
        program(tmp_path / "assets" / tool, says)
    found = resolve({**only_path, "KUBEBUILDER_ASSETS": str(tmp_path / "assets")}, V)
    assert found.kube_scheduler == (str(tmp_path / "assets" / "kube-scheduler"),)


def test_a_control_plane_is_never_mixed_from_two_places(tmp_path: Path, only_path: dict[str, str]) -> None:
    folder = built(tmp_path / "cache")
    for tool, says in ALL.items():
        program(tmp_path / "bin" / tool, says)
    program(tmp_path / "bin" / "kube-apiserver", "Kubernetes v1.33.0")
    found = resolve(only_path, V)
    assert found.etcd == (str(folder / "controlplane"), "etcd")
    assert found.kube_apiserver == (str(folder / "controlplane"), "kube-apiserver")
    assert found.helm == (str(tmp_path / "bin" / "helm"),)


def test_kubectl_may_be_one_minor_away_and_an_older_one_is_named_in_the_error(
    tmp_path: Path, only_path: dict[str, str]
) -> None:
    built(tmp_path / "cache")
    program(tmp_path / "bin" / "kubectl", "Client Version: v1.35.0")
    assert resolve(only_path, V).kubectl == (str(tmp_path / "bin" / "kubectl"),)
    program(tmp_path / "bin" / "kubectl", "Client Version: v1.32.4")
    with pytest.raises(ToolchainError, match=r"1\.36: found only .*kubectl \(1\.32\.4\)(.|\n)*sandbox extra"):
        resolve(only_path, V)


def test_go_that_is_too_old_is_passed_over_and_named(
    tmp_path: Path, only_path: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "go", "go1.21.5")
    monkeypatch.setattr("sys.base_prefix", "same")
    monkeypatch.setattr("sys.prefix", "same")
    with pytest.raises(ToolchainError, match=r"go \(1\.21\.5\)(.|\n)*not a virtual environment"):
        find_go(only_path)
    program(tmp_path / "bin" / "go", "go1.27rc1")
    assert find_go(only_path) == tmp_path / "bin" / "go"


def _with_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir(parents=True, exist_ok=True)
    go.write_text(f"#!/bin/sh\n{script}\n")
    go.chmod(0o755)
    monkeypatch.setattr(building, "find_go", lambda: go)
    monkeypatch.setattr(building, "FREE_BYTES", 0)


def test_a_failed_build_names_the_log_and_leaves_no_half_made_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_go(tmp_path, monkeypatch, 'test "$1" = env || { echo "dial tcp: no route" >&2; exit 1; }')
    store = Store(tmp_path / "cache", V)
    with pytest.raises(ToolchainError, match=r"status 1(.|\n)*no route(.|\n)*log: (.|\n)*it goes on where it stopped"):
        ensure_built(store)
    assert not store.folder.exists()
    assert "no route" in store.log.read_text()


def test_a_build_of_another_version_is_not_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_go(tmp_path, monkeypatch, "exit 0")
    store = Store(tmp_path / "cache", V)
    with pytest.raises(ToolchainError, match=r"controlplane reports no version, wanted 1\.36\.3"):
        ensure_built(store)
    assert not store.folder.exists()


def test_a_good_build_is_renamed_into_place_and_its_caches_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ready = built(tmp_path / "elsewhere")
    _with_go(
        tmp_path, monkeypatch,
        'test "$1" = env && exit 0\n'
        'mkdir -p "$GOCACHE" "$GOMODCACHE"\n'
        'while [ "$1" != -o ]; do shift; done\n'
        f'cp {ready}/* "$2"',
    )  # fmt: skip
    store = Store(tmp_path / "cache", V)
    assert ensure_built(store) == store.folder
    assert sorted(os.listdir(store.root)) == sorted([V.key, f"{V.key}.lock", f"{V.key}.log"]), (
        "scratch folders must be gone"
    )
    assert "done" in capfd.readouterr().err
    _with_go(tmp_path, monkeypatch, "exit 1")
    assert ensure_built(store) == store.folder, "the second call finds it"


def test_a_full_disk_is_noticed_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "FREE_BYTES", 2**60)
    with pytest.raises(ToolchainError, match=r"GiB free in(.|\n)*XDG_CACHE_HOME"):
        ensure_built(Store(tmp_path / "cache", V))


def test_progress_without_a_terminal_is_plain_lines_that_do_not_flood() -> None:
    out = io.StringIO()
    progress = Progress("Building", stream=out, plain_every_s=60)
    for count in range(100):
        progress.update(f"{count} packages")
    progress.finish("done")
    assert out.getvalue().splitlines() == ["Building  0:00  0 packages", "Building  0:00  done"]
