"""The picture: demand, replicas by pool and latency over time."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

COLOURS = {"reserved": "#2f6db5", "on-demand": "#e08a1e", "spot": "#5aa469"}


def read_timeline(path: Path) -> dict[str, list[float | None]]:
    """Columns of the twin's timeline.csv; empty cells are None."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {
        name: [None if row[name] in {"", "None"} else float(row[name]) for row in rows]
        for name in (rows[0] if rows else ())
    }


def draw(timeline: dict[str, list[Any]], targets: list[tuple[float, int]], slo: dict[str, Any], path: Path) -> None:
    """Write the PNG. `targets` are (seconds, replicas asked for) as the operator decided them."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    t = timeline["t_s"]
    pools = [name.removeprefix("ready:") for name in timeline if name.startswith("ready:")]
    figure, (top, middle, low, lowest) = plt.subplots(
        4, 1, figsize=(11, 11), sharex=True, height_ratios=[1, 1.3, 1, 1], layout="constrained"
    )
    top.plot(t, _smooth(timeline["arrived"], 5), color="#999999", lw=1, label="arrived (5 s mean)")
    top.plot(t, timeline["offered_rps"], color="black", lw=1.5, label="offered")
    top.set_ylabel("requests/s")
    top.legend(loc="upper left", frameon=False)
    top.set_title("Demand, replicas and latency: Qwen3-32B on H100, recorded conversation traffic")

    stacks = [timeline[f"ready:{pool}"] for pool in pools]
    colours = [COLOURS.get(_kind(pool), "#777777") for pool in pools]
    middle.stackplot(t, *stacks, labels=[f"{pool} ready" for pool in pools], colors=colours, step="post", alpha=0.85)
    if targets:
        middle.step(*zip(*targets, strict=True), where="post", color="black", lw=1.2, label="asked for")
    middle.set_ylabel("replicas")
    middle.legend(loc="upper left", frameon=False, ncols=2)

    for axis, name, target, label in (
        (low, "ttft_p95_s", slo["ttftTargetSeconds"], "TTFT p95"),
        (lowest, "itl_p95_s", slo["itlTargetSeconds"], "ITL p95"),
    ):
        axis.plot(t, [None if v is None else 1000 * v for v in timeline[name]], color="#7a3e9d", lw=1.2)
        axis.axhline(1000 * target, color="#c0392b", ls="--", lw=1, label=f"SLO {1000 * target:.0f} ms")
        axis.set_ylabel(f"{label}, ms")
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", frameon=False)
    lowest.set_xlabel("seconds")
    for axis in (top, middle, low, lowest):
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _kind(pool: str) -> str:
    return next((kind for kind in COLOURS if pool.endswith(kind)), pool)


def _smooth(values: list[Any], width: int) -> list[float]:
    smoothed = []
    for index in range(len(values)):
        window = [float(value or 0.0) for value in values[max(0, index - width + 1) : index + 1]]
        smoothed.append(sum(window) / len(window))
    return smoothed
