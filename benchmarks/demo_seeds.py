"""The demo over several seeds: attainment, dollars, cost of the operator, verdict.

    python -m benchmarks.demo_seeds [--seeds 1,2,3,4,5] [--scenario quickstart] [--reuse DIR]

About eight minutes a seed, one after the other. `--reuse DIR` takes runs whose verdict lies in DIR/seed-N and plays
only those that are missing there (and keeps them there).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.paper import REPOSITORY, Paper, Table, median, percent

Verdict = dict[str, Any]
Figure = Callable[[Verdict], float | None]
SHARES: Sequence[tuple[str, Figure]] = (
    ("TTFT, requests", lambda verdict: verdict["attainment"]["byRequestTTFT"]),
    ("ITL, tokens", lambda verdict: verdict["attainment"]["byTokenITL"]),
    ("minutes", lambda verdict: verdict["attainment"]["byMinute"]),
    ("TTFT, Prometheus", lambda verdict: verdict["attainment"]["prometheusTTFT"]),
    ("ITL, Prometheus", lambda verdict: verdict["attainment"]["prometheusITL"]),
)
COSTS: Sequence[tuple[str, Figure, Callable[[float], str]]] = (
    ("dollars", lambda verdict: verdict["dollars"], lambda value: f"{value:.2f}"),
    ("static peak, dollars", lambda verdict: verdict["staticPeakDollars"], lambda value: f"{value:.2f}"),
    ("saved", lambda verdict: 1 - verdict["dollars"] / verdict["staticPeakDollars"], percent),
    ("peak replicas", lambda verdict: verdict["staticPeakReplicas"], lambda value: f"{value:g}"),
    ("requests finished", lambda verdict: verdict["requests"]["finished"], lambda value: f"{value:.0f}"),
    ("failed", lambda verdict: verdict["requests"]["failed"], lambda value: f"{value:g}"),
    ("operator CPU of one core",
     lambda verdict: verdict["operator"]["cpuSeconds"] / verdict["operator"]["wallSeconds"], percent),
    ("operator peak MiB", lambda verdict: verdict["operator"]["residentMiB"], lambda value: f"{value:.0f}"),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_seeds")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="separated by commas")
    parser.add_argument("--scenario", default="quickstart")
    parser.add_argument("--reuse", type=Path, help="folder of earlier runs; new ones are kept there")
    args = parser.parse_args(argv)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    paper = Paper("demo_seeds", f"The demo over {len(seeds)} seeds ({args.scenario})", seed=args.seeds)
    with tempfile.TemporaryDirectory(prefix="ifleet-seeds-") as folder:
        runs = args.reuse or Path(folder)
        found = {seed: played(seed, args.scenario, runs / f"seed-{seed}") for seed in seeds}
    report(paper, found)
    paper.write()
    return 0 if all(verdict is not None and verdict["passed"] for verdict in found.values()) else 1


def played(seed: int, scenario: str, out: Path) -> Verdict | None:
    """The verdict of this seed; None when the run ended without one."""
    path = out / "verdict.json"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        print(f"== seed {seed}", flush=True)
        command = [sys.executable, "-m", "sandbox", "demo", "--plain", "--scenario", scenario,
                   "--seed", str(seed), "--out", str(out), "--name", f"demo-seed-{seed}"]  # fmt: skip
        subprocess.run(command, cwd=REPOSITORY, check=False)
    return dict(json.loads(path.read_text())) if path.exists() else None


def report(paper: Paper, found: dict[int, Verdict | None]) -> None:
    there = [verdict for verdict in found.values() if verdict is not None]
    names = [name for name, _ in SHARES]
    rows = [(f"{seed}", outcome(verdict), *shares(verdict)) for seed, verdict in found.items()]
    rows += [(says, "", *(percent(over(pick, there, figure)) for _, figure in SHARES)) for says, pick in SUMMARY]
    costs = [(f"{seed}", *expenses(verdict)) for seed, verdict in found.items()]
    costs += [(says, *(shown(over(pick, there, figure), text) for _, figure, text in COSTS)) for says, pick in SUMMARY]
    passed = sum(bool(verdict["passed"]) for verdict in there)
    paper.parts += [
        f"{passed} of {len(found)} runs passed every check.",
        "## Attainment",
        "By request, token and minute as the twin measured it on the client's side of the router, and the same shares "
        "of requests and tokens as Prometheus saw them on the engines.",
        Table(("seed", "verdict", *names), rows),
        "## Dollars and the operator",
        "Static peak: the largest fleet of the run kept all the time, on-demand beyond the reservation. Both include "
        "the reservation.",
        Table(("seed", *(name for name, _, _ in COSTS)), costs),
    ]
    paper.figures["verdicts"] = {str(seed): verdict for seed, verdict in found.items()}


SUMMARY: Sequence[tuple[str, Callable[[Sequence[float]], float]]] = (
    ("least", min), ("median", median), ("most", max),
)  # fmt: skip


def outcome(verdict: Verdict | None) -> str:
    if verdict is None:
        return "crashed"
    missed = [str(check["name"]) for check in verdict["checks"] if not check["passed"]]
    return f"failed: {', '.join(missed)}" if missed else "passed"


def shares(verdict: Verdict | None) -> list[str]:
    return [percent(None if verdict is None else figure(verdict)) for _, figure in SHARES]


def expenses(verdict: Verdict | None) -> list[str]:
    return [shown(None if verdict is None else figure(verdict), text) for _, figure, text in COSTS]


def over(pick: Callable[[Sequence[float]], float], verdicts: Sequence[Verdict], figure: Figure) -> float | None:
    values = [value for verdict in verdicts if (value := figure(verdict)) is not None]
    return pick(values) if values else None


def shown(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)


if __name__ == "__main__":
    sys.exit(main())
