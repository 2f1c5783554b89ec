"""Pictures of a replay as SVG text, for a page that needs nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from inferencefleet.cli.refusal import Refusal
from inferencefleet.cli.simulate.answer import Simulated, one
from inferencefleet.domain.slo import SloMetric
from inferencefleet.simulator.replay import Replayed
from inferencefleet.simulator.servers import Floats

COLOURS = ("#1f618d", "#c0392b", "#1e8449", "#b7950b", "#6c3483", "#616a6b")
SIZE = (10.0, 3.4)
MOST_POINTS = 720
"""Of one line: longer replays are averaged over several minutes."""


def pictures(answer: Simulated) -> dict[str, str]:
    """Title and SVG. Raises `Refusal` without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise Refusal("--report: needs matplotlib; install it with: pip install 'inferencefleet[simulate]'") from None
    # The same replay must give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "inferencefleet", "svg.fonttype": "none", "font.size": 9}):
        first = answer.runs[0]
        found = {f"Traffic and replicas of {first.policy}": _drawn(lambda axes: _replicas(axes, first))}
        found["Within the SLO, by minute"] = _drawn(lambda axes: _attainment(axes, answer))
        found["Dollars so far"] = _drawn(lambda axes: _dollars(axes, answer))
        found["Time to first token"] = _drawn(lambda axes: _latency(axes, answer, SloMetric.TTFT))
        found["Time between tokens (mean of each request)"] = _drawn(lambda axes: _latency(axes, answer, SloMetric.ITL))
    return found


def _drawn(draw: Callable[[Any], None]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.grid(visible=True, alpha=0.25)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _replicas(axes: Any, run: Replayed) -> None:
    minutes = one(run).minutes
    hours = _thinned(minutes.start_s) / 3600
    bottom = np.zeros(hours.size)
    for colour, (pool, counts) in zip(COLOURS * 9, sorted(minutes.ready.items()), strict=False):
        if counts.any():
            values = _thinned(counts)
            axes.fill_between(hours, bottom, bottom + values, color=colour, alpha=0.55, label=f"ready in {pool}", lw=0)
            bottom = bottom + values
    wanted = sum((_thinned(counts) for counts in minutes.wanted.values()), np.zeros(hours.size))
    axes.plot(hours, wanted, color="black", lw=0.9, label="wanted")
    axes.set_xlabel("hours")
    axes.set_ylabel("replicas")
    axes.set_ylim(bottom=0)
    other = axes.twinx()
    other.plot(hours, _thinned(minutes.arrivals) / 60, color="#b7950b", lw=0.9, label="arrivals")
    other.set_ylabel("requests/s")
    other.set_ylim(bottom=0)
    lines, labels = axes.get_legend_handles_labels()
    more, names = other.get_legend_handles_labels()
    axes.legend([*lines, *more], [*labels, *names], loc="upper left", fontsize=8)


def _attainment(axes: Any, answer: Simulated) -> None:
    for colour, run in zip(COLOURS * 9, answer.runs, strict=False):
        minutes = one(run).minutes
        axes.plot(
            _thinned(minutes.start_s) / 3600, 100 * _thinned(minutes.attainment), color=colour, lw=1, label=run.policy
        )
    axes.axhline(100 * answer.fleet.attainment, color="grey", ls=":", label="declared")
    axes.set_xlabel("hours")
    axes.set_ylabel("% of requests")
    axes.set_ylim(top=101)
    axes.legend(fontsize=8, loc="lower left")


def _dollars(axes: Any, answer: Simulated) -> None:
    for colour, run in zip(COLOURS * 9, answer.runs, strict=False):
        by_minute = sum(run.dollars_by_minute.values(), np.zeros(one(run).minutes.start_s.size))
        axes.plot(one(run).minutes.start_s / 3600, np.cumsum(by_minute), color=colour, label=run.policy)
    axes.set_xlabel("hours")
    axes.set_ylabel("dollars")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="upper left")


def _latency(axes: Any, answer: Simulated, metric: SloMetric) -> None:
    """Share of requests above each latency: where the tail is."""
    for colour, run in zip(COLOURS * 9, answer.runs, strict=False):
        fleet = one(run)
        values = fleet.results.ttft_s if metric is SloMetric.TTFT else fleet.results.tpot_s
        known = np.sort(values[fleet.counted & ~np.isnan(values)])
        if known.size:
            above = np.geomspace(1, 1 / known.size, MOST_POINTS)
            axes.plot(np.quantile(known, 1 - above), above, color=colour, label=run.policy)
    for slo in answer.fleet.slos:
        if slo.metric is metric:
            axes.axvline(slo.target_s, color="grey", ls=":", label=str(slo))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("share of requests above")
    axes.legend(fontsize=8, loc="lower left")


def _thinned(values: Floats) -> Floats:
    """Means of neighbours, so that a week is as small a picture as an hour."""
    width = -(-values.size // MOST_POINTS)
    if width <= 1:
        return values
    padded = np.append(values, np.full(-values.size % width, np.nan)).reshape(-1, width)
    known = ~np.isnan(padded)
    sums = np.where(known, padded, 0.0).sum(axis=1)
    means: Floats = np.divide(sums, known.sum(axis=1), out=np.full(sums.size, np.nan), where=known.any(axis=1))
    return means
