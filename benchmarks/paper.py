"""What every benchmark writes: Markdown for people and JSON for scripts, both with machine, versions, seed and date."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sandbox.toolchain.versions import Versions, dotted

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are strings as they shall be read; `rows` are of the length of `columns`."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> list[str]:
        return [
            f"| {' | '.join(self.columns)} |",
            f"|{'|'.join('---' if column == self.columns[0] else '--:' for column in self.columns)}|",
            *(f"| {' | '.join(row)} |" for row in self.rows),
        ]


@dataclass(slots=True)
class Paper:
    """One result: a title, paragraphs and tables in reading order, and the raw figures."""

    name: str
    title: str
    seed: int | str
    parts: list[str | Table] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    _began: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._began = provenance()

    def write(self, into: Path = RESULTS) -> Path:
        """Writes <name>.md and <name>.json and prints the former."""
        about = {**self._began, "seed": str(self.seed), "load average at the end": load_average()}
        lines = [f"# {self.title}", ""]
        for part in self.parts:
            lines += [*(part.markdown() if isinstance(part, Table) else [part]), ""]
        lines += ["## Measured on", "", *Table(("", ""), list(about.items())).markdown()]
        text = "\n".join(lines) + "\n"
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"{self.name}.md"
        path.write_text(text)
        (into / f"{self.name}.json").write_text(json.dumps({"about": about, **self.figures}, indent=1) + "\n")
        print(text)
        return path


def provenance() -> dict[str, str]:
    """Machine, versions, commit and date."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "numpy": version("numpy"),
        "Kubernetes server": dotted(Versions.wanted().kubernetes),
        "commit": commit(),
        "load average at the start": load_average(),
        **({"niceness": f"{os.nice(0)}: gave way to other programs"} if os.nice(0) else {}),
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def commit() -> str:
    """Short hash; says when files that are measured differ from it."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "operator", "sandbox"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (asked.stdout.strip() or "unknown") + (" and uncommitted changes" if changed.stdout.strip() else "")


def load_average() -> str:
    """Of the last minute: a benchmark that shares its cores says so."""
    return f"{os.getloadavg()[0]:.2f}"


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan


def milliseconds(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{1000 * seconds:.3g}" if seconds < 0.1 else f"{1000 * seconds:.0f}"


def percent(share: float | None) -> str:
    return "-" if share is None or math.isnan(share) else f"{100 * share:.2f} %"
