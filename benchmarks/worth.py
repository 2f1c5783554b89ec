"""What each part of our planner is worth: ours with one part off beside ours, on every scene but the weeks.

    python -m benchmarks.worth [--seeds 3] [--jobs 2]

One row for each scene; in each column what leaving the part out does to dollars (percent) and attainment (points).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.paper import Table, provenance
from benchmarks.policies import ablations
from benchmarks.policies.figures import Figures
from benchmarks.policies.markets import DEFAULT_DATA
from benchmarks.policies.plays import OURS, Play, Variant, played, worker_starts
from benchmarks.policies.report import FOLDER
from benchmarks.policies.scenarios import SCENES
from benchmarks.policies.scenes import Options, Scene, evaluation_seeds

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
    cells = tuple(changed(found, policy) for policy in policies[1:])
    ours = found[OURS]
    print(scene.name, cells, flush=True)
    return (scene.name, f"{100 * attainment(ours):.2f}", f"{dollars(ours):.2f}", *cells)


def changed(found: Mapping[str, Sequence[Figures]], policy: str) -> str:
    """Dollars in percent, attainment in points, of ours without the part."""
    ours, without = found[OURS], found[policy]
    dearer = 100 * (dollars(without) / dollars(ours) - 1)
    return f"{dearer:+.1f} %, {100 * (attainment(without) - attainment(ours)):+.2f}"


def dollars(plays: Sequence[Figures]) -> float:
    return sum(play.dollars for play in plays) / len(plays)


def attainment(plays: Sequence[Figures]) -> float:
    return sum(play.attainment for play in plays) / len(plays)


if __name__ == "__main__":
    raise SystemExit(main())
