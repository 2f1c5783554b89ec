"""Building the binaries once: locked, in a temporary folder, checked, then renamed into place."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import ToolchainError, tail
from sandbox.toolchain.golang import find_go
from sandbox.toolchain.progress import Progress
from sandbox.toolchain.versions import MODULE, TAGS, Number, Versions, dotted, reported
from sandbox.waiting import pause

FREE_BYTES = 7 * 2**30  # measured: 3.5 GB build cache + 1.6 GB modules + 0.3 GB binaries, and some air
PACKAGES = {
    "controlplane": ".",
    "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
    "promtool": "github.com/prometheus/prometheus/cmd/promtool",
    "helm": "helm.sh/helm/v4/cmd/helm",
}


@dataclass(frozen=True)
class Store:
    """The cache folder of one set of versions, outside the checkout so that checkouts share it."""

    root: Path
    versions: Versions

    @classmethod
    def default(cls, versions: Versions, environ: Mapping[str, str] = os.environ) -> Store:
        base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return cls(Path(base) / "inferencefleet", versions)

    @property
    def folder(self) -> Path:
        return self.root / self.versions.key

    @property
    def log(self) -> Path:
        return self.root / f"{self.versions.key}.log"

    def checks(self, folder: Path) -> dict[str, tuple[list[str], Number]]:
        """Per binary the command that tells its version, and the version it must tell."""
        versions = self.versions
        return {
            "controlplane": ([str(folder / "controlplane"), "kube-apiserver", "--version"], versions.kubernetes),
            "prometheus": ([str(folder / "prometheus"), "--version"], versions.prometheus),
            "promtool": ([str(folder / "promtool"), "--version"], versions.prometheus),
            "helm": ([str(folder / "helm"), "version", "--short"], versions.helm),
        }

    def wrong(self, folder: Path) -> list[str]:
        """Binaries that are missing or tell another version, as sentences; empty when all is well."""
        problems = []
        for name, (command, wanted) in self.checks(folder).items():
            found = reported(command)
            if found != wanted:
                told = "no version" if found is None else dotted(found)
                problems.append(f"{name} reports {told}, wanted {dotted(wanted)}")
        return problems

    def ready(self) -> bool:
        return self.folder.is_dir() and not self.wrong(self.folder)


def ensure_built(store: Store) -> Path:
    """The folder with the four binaries; builds them when it is not there."""
    if store.ready():
        return store.folder
    store.root.mkdir(parents=True, exist_ok=True)
    with _one_builder(store):
        if not store.ready():  # another process may have built it while we waited for the lock
            _build(store)
    return store.folder


@contextmanager
def _one_builder(store: Store) -> Iterator[None]:
    path = store.root / f"{store.versions.key}.lock"
    with path.open("a+") as lock:
        progress = Progress("Waiting for another process that builds the control plane")
        waited = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = True
                progress.update(f"(lock {path})")
                pause(0.5)
        if waited:
            progress.finish("done")
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


def _build(store: Store) -> None:
    free = shutil.disk_usage(store.root).free
    if free < FREE_BYTES:
        raise ToolchainError(
            f"Building the control plane needs {FREE_BYTES / 2**30:.0f} GiB free in {store.root}, "
            f"there are {free / 2**30:.1f} GiB",
            way_out="free some space or point XDG_CACHE_HOME at a larger disk",
        )
    go = find_go()
    # Kept when a build fails, so that the next try goes on from here; dropped after success.
    scratch = {"build": store.root / "go-build", "modules": store.root / "go-modules"}
    fresh = store.root / f"{store.versions.key}.new"
    _remove(fresh)
    fresh.mkdir(parents=True)
    environ = _environment(go, scratch)
    _compile(store, go, fresh, environ)
    problems = store.wrong(fresh)
    if problems:
        raise ToolchainError(
            f"The build succeeded, but: {'; '.join(problems)}",
            log=store.log,
            way_out=f"remove {store.root} and try again; if it stays, sandbox/controlplane/go.mod is inconsistent",
        )
    _remove(store.folder)
    fresh.rename(store.folder)
    for path in scratch.values():
        _remove(path)


def _environment(go: Path, scratch: Mapping[str, Path]) -> dict[str, str]:
    environ = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false -modcacherw",
        "GOCACHE": str(scratch["build"]),
    }
    asked = subprocess.run(
        [str(go), "env", "GOMODCACHE"], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )
    own = asked.stdout.strip()
    # Somebody who has a module cache keeps using it; nobody gets a new 1.6 GB folder in their home for this.
    environ["GOMODCACHE"] = own if own and Path(own).is_dir() else str(scratch["modules"])
    return environ


def _linker_flags(versions: Versions) -> str:
    kubernetes = "k8s.io/component-base/version"
    major, minor, _ = versions.kubernetes
    values = {
        # Without these the server reports v0.0.0-master+$Format, which kubectl and helm cannot parse.
        f"{kubernetes}.gitVersion": f"v{dotted(versions.kubernetes)}",
        f"{kubernetes}.gitMajor": str(major),
        f"{kubernetes}.gitMinor": str(minor),
        f"{kubernetes}.gitTreeState": "archive",
        "github.com/prometheus/common/version.Version": dotted(versions.prometheus),
        "helm.sh/helm/v4/internal/version.version": f"v{dotted(versions.helm)}",
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


def _compile(store: Store, go: Path, into: Path, environ: Mapping[str, str]) -> None:
    command = [
        str(go), "build", "-v", "-mod=readonly", "-trimpath", "-tags", TAGS,
        "-ldflags", _linker_flags(store.versions), "-o", f"{into}{os.sep}", *PACKAGES.values(),
    ]  # fmt: skip
    kubernetes, prometheus = dotted(store.versions.kubernetes), dotted(store.versions.prometheus)
    progress = Progress(
        f"Building Kubernetes {kubernetes}, Prometheus {prometheus} and Helm (once, 4-10 min on 2 cores)"
    )
    with store.log.open("w") as log:
        print(f"$ {' '.join(command)}", file=log, flush=True)
        process = subprocess.Popen(
            command, cwd=MODULE, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None:
                progress.update(_doing(store.log))
                try:
                    process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:  # Ctrl-C included: the compiler must not go on behind our back
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            progress.finish("interrupted; what was compiled is kept for the next try")
            raise
    if process.returncode != 0:
        progress.finish("FAILED")
        raise ToolchainError(
            f"Building the control plane failed: go build ended with status {process.returncode}",
            detail=tail(store.log),
            log=store.log,
            way_out="look at the log (network? disk? memory?), then run `python -m sandbox toolchain` again: "
            "it goes on where it stopped",
        )
    progress.finish(f"done: {store.folder}")


def _doing(log: Path) -> str:
    """What the compiler is at, from its own log: packages compiled, or the module being fetched."""
    lines = log.read_text(errors="replace").splitlines()[1:]
    compiled = sum(1 for line in lines if re.fullmatch(r"[\w.-]+(/[\w.~-]+)*", line))
    if compiled:
        return f"{compiled} packages compiled"
    last = lines[-1] if lines else "starting"
    return last.removeprefix("go: ")


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
