"""Set-up time, cold and warm, in a fresh clone.

    python -m benchmarks.setup_time [--no-cold]

Cold: home and every cache (pip, Go, XDG) are empty folders, so everything is fetched and compiled. Takes 5-10 minutes
and 7 GiB of disk. `--no-cold` measures the warm steps only, with the caches of this machine.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.paper import REPOSITORY, Paper, Table, load_average, median
from sandbox.waiting import wait_until

CLUSTER_STARTS = 5
DEMO_STARTS = 2
READY = re.compile(r"^ready in ([\d.]+) s")
STARTED = re.compile(r"started in ([\d.]+) s")
Row = tuple[str, str, str, str]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.setup_time")
    parser.add_argument("--no-cold", action="store_true", help="warm steps only")
    args = parser.parse_args(argv)
    # A shell starts background jobs with interrupts ignored; the demo, which is interrupted here, would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    paper = Paper("setup_time", "Set-up time", seed=1)
    # Not under a deep temporary path: sockets and shebang lines have a maximum length.
    with tempfile.TemporaryDirectory(prefix="ifleet-setup-", ignore_cleanup_errors=True) as folder:
        clone = Path(folder) / "clone"
        run(["git", "clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(clone)], Path(folder), os.environ)
        measure(paper, clone, empty_home(Path(folder)) if not args.no_cold else None)
    paper.write()
    return 0


def measure(paper: Paper, clone: Path, cold: Mapping[str, str] | None) -> None:
    rows: list[Row] = []
    environ = cold or {**os.environ, "PYTHONPATH": str(clone / "operator")}
    python = str(clone / ".venv/bin/python") if cold else sys.executable
    if cold is not None:
        rows.append(timed("virtual environment, `make .venv/.ready`", "cold", ["make", ".venv/.ready"], clone, cold))
        rows.append(timed("toolchain compiled, `make toolchain`", "cold", ["make", "toolchain"], clone, cold))
    toolchain = ["make", "toolchain"] if cold else [python, "-m", "sandbox", "toolchain"]
    rows.append(
        timed(f"`{'make toolchain' if cold else 'sandbox toolchain'}` again", "warm", toolchain, clone, environ)
    )
    starts = [cluster_start(python, clone, environ) for _ in range(CLUSTER_STARTS)]
    rows.append(several("cluster: etcd, API server, controllers, scheduler, Prometheus", starts))
    ready = [demo_ready(python, clone, environ) for _ in range(DEMO_STARTS)]
    rows.append(several('demo from the command to "ready" (cluster, chart, twin, operator, fleet)', ready))
    paper.parts.append(Table(("step", "caches", "seconds", "load average before, after"), rows))
    paper.parts.append(
        "Load is the average of one minute over all cores: other programs that ran at the same time lengthen a step. "
        "Cold steps include what they fetch over the network."
    )
    if cold is not None:
        sizes = [(name, mebibytes(path)) for name, path in (
            ("virtual environment", clone / ".venv"),
            ("binaries of the toolchain", Path(cold["XDG_CACHE_HOME"]) / "inferencefleet"),
        )]  # fmt: skip
        paper.parts.append(Table(("left on disk", "MiB"), [(name, f"{size:.0f}") for name, size in sizes]))
        paper.figures["diskMiB"] = dict(sizes)
    paper.figures["steps"] = [dict(zip(("step", "caches", "seconds", "load"), row, strict=True)) for row in rows]
    paper.figures["clusterStartSeconds"] = starts
    paper.figures["demoReadySeconds"] = ready


def empty_home(folder: Path) -> dict[str, str]:
    """The environment of a machine that has seen nothing of ours. Network settings of pip and Go stay."""
    home = folder / "home"
    home.mkdir()
    asked = subprocess.run(["go", "env", "GOENV"], capture_output=True, text=True, check=False) if go() else None
    kept = {"GOENV": asked.stdout.strip()} if asked and asked.stdout.strip() else {}
    environ = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    return {
        **environ, **kept,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PIP_CACHE_DIR": str(home / "pip"),
        "GOPATH": str(home / "go"),
        "GOMODCACHE": str(home / "go" / "modules"),
        "GOCACHE": str(home / "go" / "build"),
    }  # fmt: skip


def go() -> bool:
    return any((Path(place) / "go").exists() for place in os.environ.get("PATH", "").split(os.pathsep))


def timed(step: str, caches: str, command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> Row:
    before, began = load_average(), time.monotonic()
    run(command, cwd, environ)
    took = time.monotonic() - began
    print(f"{step}: {took:.1f} s", flush=True)
    return step, caches, f"{took:.1f}", f"{before}, {load_average()}"


def several(step: str, seconds: Sequence[float]) -> Row:
    text = f"{median(seconds):.1f} (median of {len(seconds)}; {min(seconds):.1f} to {max(seconds):.1f})"
    print(f"{step}: {text}", flush=True)
    return step, "warm", text, f"-, {load_average()}"


def run(command: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-3000:]
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{said}")
    return done.stdout


def cluster_start(python: str, clone: Path, environ: Mapping[str, str]) -> float:
    """From nothing to a cluster that takes pods; the interpreter's start is not part of it."""
    try:
        told = STARTED.search(run([python, "-m", "sandbox", "up", "--fresh"], clone, environ))
    finally:
        run([python, "-m", "sandbox", "down"], clone, environ)
    assert told is not None
    return float(told[1])


def demo_ready(python: str, clone: Path, environ: Mapping[str, str]) -> float:
    """From the command until everything runs and the fleet is applied; the demo is then interrupted."""
    command = [python, "-m", "sandbox", "demo", "--plain", "--out", str(clone / "demo-report")]
    log = clone / "demo.log"
    with log.open("w") as out:
        began = time.monotonic()
        demo = subprocess.Popen(
            command, cwd=clone, env={**environ, "PYTHONUNBUFFERED": "1"}, stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def ready() -> bool:
        if demo.poll() is not None:
            raise SystemExit(f"the demo ended before it was ready:\n{log.read_text()[-3000:]}")
        return any(READY.match(line) for line in log.read_text().splitlines())

    try:
        wait_until(ready, "the demo to be ready", timeout_s=180, every_s=0.02)
        return time.monotonic() - began
    finally:
        if demo.poll() is None:
            os.kill(demo.pid, signal.SIGINT)
        demo.wait(timeout=60)


def mebibytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20


if __name__ == "__main__":
    sys.exit(main())
