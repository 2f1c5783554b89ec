"""Attainment against dollars, one panel for each scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.policies.plays import CLAIRVOYANT, OURS
from benchmarks.policies.statistics import Point, frontier

LEAST_MISSED = 1e-4
"""Nobody is drawn as missing less than this share: a logarithm needs an end."""
MARKERS = "osD^v<>PX*hpd8"


def draw(path: Path, panels: Sequence[tuple[str, Sequence[Point]]], declared: float) -> None:
    """Lower and further left is better; the axis of missed requests is logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(6.4 * len(panels), 4.8), squeeze=False)
    names = sorted({point.policy for _, points in panels for point in points} - {OURS, CLAIRVOYANT})
    colours = pyplot.get_cmap("tab20")
    for axis, (title, points) in zip(axes[0], panels, strict=True):
        for point in points:
            if point.policy in (OURS, CLAIRVOYANT):
                colour, marker, size = ("black", "*", 180) if point.policy == OURS else ("tab:green", "X", 110)
            else:
                index = names.index(point.policy)
                colour, marker, size = colours(index % 20), MARKERS[index % len(MARKERS)], 45
            axis.scatter(
                point.dollars, 100 * max(1 - point.attainment, LEAST_MISSED), color=[colour], marker=marker, s=size,
                label=point.policy, zorder=3,
            )  # fmt: skip
        edge = frontier([point for point in points if point.policy != CLAIRVOYANT])
        steps = [(point.dollars, 100 * max(1 - point.attainment, LEAST_MISSED)) for point in edge]
        axis.plot([x for x, _ in steps], [y for _, y in steps], drawstyle="steps-post", color="grey", linewidth=1)
        axis.axhline(100 * (1 - declared), color="tab:red", linestyle="--", linewidth=1)
        axis.set_yscale("log")
        axis.set_xlabel("dollars")
        axis.set_ylabel("requests that miss, %")
        axis.set_title(title)
        axis.grid(alpha=0.3, which="both")
    by_label = {}
    for axis in axes[0]:
        handles, labels = axis.get_legend_handles_labels()
        by_label.update(dict(zip(labels, handles, strict=True)))
    figure.legend(by_label.values(), by_label.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
