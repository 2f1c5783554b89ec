"""Tables, raw figures and plots of each scenario, and one page over all."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.paper import RESULTS, Table, load_average, provenance
from benchmarks.policies.figures import Figures
from benchmarks.policies.plays import CLAIRVOYANT, OURS, Variant
from benchmarks.policies.plots import draw
from benchmarks.policies.scenes import Scene
from benchmarks.policies.statistics import Interval, Point, at_equal_attainment, interval
from inferencefleet.simulator import laws

FOLDER = RESULTS / "policies"
DECLARED = 0.99
CHEAPER_AIM = 0.30
Pick = Callable[[Figures], float]


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    pick: Pick
    digits: int = 2
    scale: float = 1.0
    spread: bool = True
    """Show the interval, not the mean alone."""

    def cell(self, found: Sequence[Figures]) -> str:
        over = interval(self.pick(each) for each in found)
        return (over if self.spread else Interval(over.mean, math.nan)).text(self.digits, self.scale)


COLUMNS = (
    Column("attainment %", lambda f: f.attainment, 2, 100),
    Column("worst 5 min %", lambda f: f.worst_five_minutes, 1, 100),
    Column("dollars", lambda f: f.dollars),
    Column("beyond reserved", lambda f: f.dollars_beyond_reserved),
    Column("mean replicas", lambda f: f.mean_replicas),
    Column("changes/h", lambda f: f.changes_per_hour, 1, spread=False),
    Column("reversals/h", lambda f: f.reversals_per_hour, 1, spread=False),
)
LATENCIES = (
    Column("TTFT p50 s", lambda f: f.ttft_p50_s, 2, spread=False),
    Column("p95", lambda f: f.ttft_p95_s, 2, spread=False),
    Column("p99", lambda f: f.ttft_p99_s, 2, spread=False),
    Column("TPOT p50 ms", lambda f: f.tpot_p50_s, 0, 1000, spread=False),
    Column("p95 ", lambda f: f.tpot_p95_s, 0, 1000, spread=False),
    Column("p99 ", lambda f: f.tpot_p99_s, 0, 1000, spread=False),
    Column("failed", lambda f: f.failed, 1, spread=False),
    Column("sent twice", lambda f: f.retries, 1, spread=False),
    Column("replicas killed", lambda f: f.replicas_killed, 1, spread=False),
)


@dataclass(frozen=True, slots=True)
class SceneResults:
    """Of one scene: by policy and role (`default`, `tuned`, `matched`) the setting and its plays, seed by seed."""

    scene: Scene
    roles: Mapping[str, Mapping[str, tuple[Variant, Sequence[Figures]]]]

    def default(self, policy: str) -> Sequence[Figures] | None:
        by_role = self.roles.get(policy)
        return by_role["default"][1] if by_role else None

    def points(self, policy: str | None = None) -> list[Point]:
        """Every setting that was played on the evaluation seeds."""
        found = {}
        for name, by_role in self.roles.items():
            if policy in (None, name):
                for variant, plays in by_role.values():
                    found[variant] = Point(
                        name, variant.label(), _mean(plays, lambda f: f.attainment), _mean(plays, lambda f: f.dollars)
                    )
        return list(found.values())

    def over_optimum(self, found: Sequence[Figures]) -> Interval:
        """Dollars over those of the optimum of the same seed."""
        best = self.optimum_dollars()
        if best is None:
            return Interval(math.nan, math.nan)
        return interval(each.dollars / dollars for each, dollars in zip(found, best, strict=True))

    def optimum_dollars(self) -> list[float] | None:
        """Of each seed: the schedule's, or those of whoever attained the declared share for less.

        The schedules that are searched are not all that there are; a law that beats them shows that they are not the
        least, and then its dollars are the better estimate.
        """
        schedules = self.default(CLAIRVOYANT)
        if schedules is None:
            return None
        plays = [found for by_role in self.roles.values() for _, found in by_role.values()]
        return [
            min([schedule.dollars, *(found[seed].dollars for found in plays if found[seed].attainment >= DECLARED)])
            for seed, schedule in enumerate(schedules)
        ]

    def rivals(self) -> list[tuple[str, Point | None]]:
        """Of every law the cheapest setting that attains as much as ours; None where none does."""
        ours = self.points(OURS)
        if not ours:
            return []
        return [
            (policy, at_equal_attainment(self.points(policy), ours[0].attainment))
            for policy in self.roles
            if policy in laws.LAWS
        ]


def _mean(found: Sequence[Figures], pick: Pick) -> float:
    return interval(pick(each) for each in found).mean


def write_scenario(number: int, results: Sequence[SceneResults], about: Mapping[str, str], into: Path | None) -> None:
    folder = into or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# Scenario {number}", ""]
    for each in results:
        lines += section(each)
    if any(each.scene.scenario == 7 for each in results):
        lines += [f"Spot markets: {about.get('spot markets', '')}.", ""]
    lines += _measured_on(about)
    name = f"scenario-{number:02d}"
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")
    _write_csv(folder / f"{name}.csv", results)
    draw(folder / f"{name}.png", [(each.scene.name, each.points()) for each in results], DECLARED)
    print("\n".join(lines), flush=True)


def section(each: SceneResults) -> list[str]:
    rows = []
    for policy, by_role in each.roles.items():
        shown: dict[Variant, str] = {}
        for role, (variant, _) in by_role.items():
            shown[variant] = f"{shown[variant]} = {role}" if variant in shown else role
        plays = dict(by_role.values())
        for variant, role in shown.items():
            found = plays[variant]
            setting = role if variant.label() == "default" else f"{role}: {variant.label()}"
            over = each.over_optimum(found).text(2)
            rows.append((policy, setting, *(column.cell(found) for column in COLUMNS), over))
    latencies = [
        (policy, *(column.cell(by_role["default"][1]) for column in LATENCIES))
        for policy, by_role in each.roles.items()
    ]  # fmt: skip
    lines = [f"## {each.scene.name}: {each.scene.sentence}", ""]
    lines += [*Table(("policy", "setting", *(c.title for c in COLUMNS), "x optimum"), rows).markdown(), ""]
    lines += [*beside_published(each), *by_fleet(each)]
    lines += ["Latencies with the default settings:", ""]
    lines += [*Table(("policy", *(column.title for column in LATENCIES)), latencies).markdown(), ""]
    return [*lines, *equal_attainment(each), ""]


def beside_published(each: SceneResults) -> list[str]:
    """How near the simulation of a law comes to what its project measured."""
    told = each.scene.published
    found = each.default(told.policy) if told is not None else None
    if told is None or found is None:
        return []
    ours = interval(play.attainment for play in found).text(1, 100)
    replicas = interval(play.mean_replicas for play in found).text(2)
    return [
        f"Published of `{told.policy}` on this very scenario, on real GPUs: {100 * told.attainment:.1f} % at "
        f"{told.mean_replicas:.2f} mean replicas ({told.source}). Simulated here, with its defaults: {ours} % at "
        f"{replicas}.", "",
    ]  # fmt: skip


def by_fleet(each: SceneResults) -> list[str]:
    rows = []
    names: list[str] = []
    for policy, by_role in each.roles.items():
        found = by_role["default"][1]
        names = list(found[0].attainment_by_fleet)
        cells = [interval(play.attainment_by_fleet[name] for play in found).text(2, 100) for name in names]
        rows.append((policy, *cells))
    if not names:
        return []
    return [
        "Attainment of each fleet, %, with the default settings:",
        "",
        *Table(("policy", *names), rows).markdown(),
        "",
    ]


def equal_attainment(each: SceneResults) -> list[str]:
    """What ours saves against each law at the attainment of ours."""
    rivals = each.rivals()
    if not rivals:
        return []
    ours = each.points(OURS)[0]
    rows = []
    for policy, point in sorted(rivals, key=lambda pair: (pair[1] is None, pair[1].dollars if pair[1] else 0.0)):
        if point is None:
            most = max(each.points(policy), key=lambda other: other.attainment)
            rows.append(
                (policy, "no setting attains as much", f"{100 * most.attainment:.2f}", f"{most.dollars:.2f}", "-")
            )
        else:
            saved = 1 - ours.dollars / point.dollars
            row = (
                policy,
                point.variant,
                f"{100 * point.attainment:.2f}",
                f"{point.dollars:.2f}",
                f"{100 * saved:.0f} %",
            )
            rows.append(row)
    head = (
        f"At the attainment of ours ({100 * ours.attainment:.2f} % for {ours.dollars:.2f} dollars), within 0.1 point:"
    )
    return [
        head,
        "",
        *Table(("law", "cheapest setting", "attainment %", "dollars", "ours is cheaper by"), rows).markdown(),
    ]


def _write_csv(path: Path, results: Sequence[SceneResults]) -> None:
    names = [name for name in Figures.__dataclass_fields__ if name not in ("attainment_by_fleet", "notes")]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("scene", "policy", "role", "setting", "play", *names))
        for each in results:
            for policy, by_role in each.roles.items():
                for role, (variant, found) in by_role.items():
                    for number, play in enumerate(found, 1):
                        values = [f"{getattr(play, name):.6g}" for name in names]
                        writer.writerow((each.scene.name, policy, role, variant.label(), number, *values))


def write_all(results: Sequence[SceneResults], about: Mapping[str, str], into: Path | None) -> None:
    """One line for each scene: ours, the optimum and the best of the others."""
    folder = into or FOLDER
    rows = [summary(each) for each in results if each.default(OURS) is not None]
    columns = (
        "scenario", "scene", "ours %", "dollars", "x optimum", "optimum %", "nearest law at equal attainment",
        "its dollars", "ours is cheaper by", "laws that attain as much", "aims",
    )  # fmt: skip
    lines = [
        "# Ours, the laws of its peers and the optimum", "",
        "Means over seeds with 95 % intervals. Each law is taken with its published defaults, tuned on other seeds to "
        "99 %, and tuned to the attainment of ours; the cheapest that attains as much as ours counts. The tables of "
        "each scenario stand beside this page.", "",
        *Table(columns, rows).markdown(), "", *_measured_on(about),
    ]  # fmt: skip
    (folder / "policies.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)


def summary(each: SceneResults) -> tuple[str, ...]:
    ours = each.default(OURS) or ()
    best = each.default(CLAIRVOYANT) or ()
    point = each.points(OURS)[0]
    rivals = [(policy, rival) for policy, rival in each.rivals() if rival is not None]
    name, nearest = min(rivals, key=lambda pair: pair[1].dollars) if rivals else ("none", None)
    return (
        f"{each.scene.scenario}",
        each.scene.name,
        interval(f.attainment for f in ours).text(2, 100),
        interval(f.dollars for f in ours).text(2),
        each.over_optimum(ours).text(2),
        interval(f.attainment for f in best).text(2, 100) if best else "-",
        name,
        f"{nearest.dollars:.2f}" if nearest else "-",
        f"{100 * (1 - point.dollars / nearest.dollars):.0f} %" if nearest else "-",
        f"{len(rivals)} of {len(each.rivals())}",
        "; ".join(missed(each)) or "met",
    )


def missed(each: SceneResults) -> list[str]:
    """Which aims are missed, and by how much."""
    ours, best = each.default(OURS) or (), each.default(CLAIRVOYANT) or ()
    point = each.points(OURS)[0]
    found = []
    reachable = not best or _mean(best, lambda f: f.attainment) >= DECLARED
    if reachable and point.attainment < DECLARED:
        found.append(f"attains {100 * point.attainment:.2f} %, aim 99 %")
    over = each.over_optimum(ours).mean
    aim = each.scene.most_over_optimum
    if aim is not None and over > aim:
        found.append(f"{over:.2f} x the optimum, aim {aim:.2f}")
    if each.scene.scenario == 1 and _mean(ours, lambda f: f.mean_replicas) > 5.3:
        found.append(f"{_mean(ours, lambda f: f.mean_replicas):.2f} replicas, aim 5.3")
    if each.scene.scenario in (2, 3, 7):
        cheaper = [(policy, 1 - point.dollars / rival.dollars) for policy, rival in each.rivals() if rival is not None]
        near = [f"{policy} {100 * saved:.0f} %" for policy, saved in cheaper if saved < CHEAPER_AIM]
        if near:
            found.append(f"cheaper by less than 30 % than {', '.join(near)}")
    return found


def _measured_on(about: Mapping[str, str]) -> list[str]:
    told = {**provenance(), **about, "load average at the end": load_average()}
    return ["## Measured on", "", *Table(("", ""), list(told.items())).markdown()]
