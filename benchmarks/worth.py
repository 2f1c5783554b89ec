"""What each part of our planner is worth: ours with one part off beside ours, on every scene but the weeks.

    python -m benchmarks.worth [--seeds 3] [--jobs 2]

One row for each scene; in each column what leaving the part out does to dollars (percent) and attainment (points).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.paper import Table, provenance
from benchmarks.policies import ablations
from benchmarks.policies.figures import Figures
from benchmarks.policies.markets import DEFAULT_DATA
from benchmarks.policies.plays import OURS, Play, Variant, played, worker_starts
from benchmarks.policies.report import FOLDER
from benchmarks.policies.scenarios import SCENES
from benchmarks.policies.scenes import Options, Scene, evaluation_seeds
from benchmarks.policies.statistics import Point
from benchmarks.policies.tuning import point

WEEKS = 3
"""The scenario that takes longer than all others together."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worth", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args(argv)
    seeds = evaluation_seeds(args.seeds)
    options = Options(DEFAULT_DATA if DEFAULT_DATA.exists() else None, 1.0)
    scenes = [scene for scene in SCENES if scene.scenario != WEEKS]
    with ProcessPoolExecutor(max(1, args.jobs), initializer=worker_starts) as pool:
        rows = [row(scene, seeds, options, pool) for scene in scenes]
    columns = ("scene", "ours %", "dollars", *(f"no {part}" for part in ablations.offered()))
    about = {**provenance(), "seeds": ", ".join(map(str, seeds))}
    lines = [
        "# What each part is worth", "",
        "Ours with one part off: dollars in percent of ours, and attainment in points. Weeks are left out.", "",
        *(f"- **{part}**: {ablations.PARTS[part]}." for part in ablations.offered()), "",
        *Table(columns, rows).markdown(), "",
        "## Measured on", "", *Table(("", ""), list(about.items())).markdown(),
    ]  # fmt: skip
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "ablations.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)
    return 0


def row(scene: Scene, seeds: Sequence[int], options: Options, pool: ProcessPoolExecutor) -> tuple[str, ...]:
    policies = (OURS, *map(ablations.policy_name, ablations.offered()))
    plays = [Play(scene.name, seed, Variant(policy), options) for seed in seeds for policy in policies]
    found: dict[str, list[Figures]] = {policy: [] for policy in policies}
    for play, figures in zip(plays, pool.map(played, plays), strict=True):
        found[play.variant.policy].append(figures)
    points = {policy: point(Variant(policy), figures) for policy, figures in found.items()}
    ours = points[OURS]
    cells = tuple(changed(ours, points[policy]) for policy in policies[1:])
    print(scene.name, cells, flush=True)
    return (scene.name, f"{100 * ours.attainment:.2f}", f"{ours.dollars:.2f}", *cells)


def changed(ours: Point, without: Point) -> str:
    """Dollars in percent, attainment in points, of ours without the part."""
    dearer = 100 * (without.dollars / ours.dollars - 1)
    return f"{dearer:+.1f} %, {100 * (without.attainment - ours.attainment):+.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
