"""The terminal, once a second: demand, replicas by pool, latency against the SLO, dollars, the last decision."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sandbox.demo.sample import Sample

BARS = " ▁▂▃▄▅▆▇█"
DECISIONS_SHOWN = 6


class View:
    """Turns samples into one screen; remembers demand and decisions."""

    def __init__(self) -> None:
        self.demand: list[float] = []
        self.ready: list[float] = []

    def render(self, sample: Sample) -> RenderableType:
        twin = sample.twin
        self.demand.append(float(twin["demand"]["arrivedRps"]))
        self.ready.append(float(sum(pool["ready"] for pool in twin["pools"].values())))
        return Panel(
            Group(
                self._head(sample),
                _pools(sample),
                _latency(sample),
                self._curves(),
                _decisions(sample),
            ),
            title="InferenceFleet: Qwen3-32B on H100, recorded traffic",
            border_style="cyan",
        )

    def _head(self, sample: Sample) -> RenderableType:
        twin = sample.twin
        elapsed, duration = float(twin["elapsedSeconds"]), float(twin["durationSeconds"])
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            Text(f"{min(elapsed, duration):4.0f} / {duration:.0f} s", style="bold"),
            ProgressBar(total=duration, completed=min(elapsed, duration), width=30),
            Text(f"{twin['demand']['arrivedRps']:.1f} req/s arrive", style="bold yellow"),
            Text(f"${twin['cost']['hourly']:.2f}/h, ${twin['cost']['dollars']:.2f} so far", style="green"),
        )
        return grid

    def _curves(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_row("demand", Text(sparkline(self.demand), style="yellow"))
        grid.add_row("ready ", Text(sparkline(self.ready), style="green"))
        return grid


def sparkline(values: list[float], width: int = 78) -> str:
    """The last values, thinned to `width` characters, scaled to their own maximum."""
    if not values:
        return ""
    step = max(1, -(-len(values) // width))
    thinned = values[::-1][::step][::-1]
    top = max(thinned) or 1.0
    return "".join(BARS[min(8, round(8 * max(0.0, value) / top))] for value in thinned)


def _pools(sample: Sample) -> RenderableType:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("pool", "target", "ready", "starting", "going", "nodes", "$/h"):
        table.add_column(column, justify="left" if column == "pool" else "right")
    for name, pool in sample.twin["pools"].items():
        going = pool["doomed"] + pool["terminating"]
        ready = pool["ready"]
        table.add_row(
            name,
            str(sample.placed(name)),
            Text(str(ready), style="green" if ready >= sample.placed(name) else "yellow"),
            str(pool["starting"] or "-"),
            Text(str(going or "-"), style="red" if going else ""),
            f"{pool['nodes']}" + (f"+{pool['nodesComing']}" if pool["nodesComing"] else ""),
            f"{pool['hourly']:.2f}",
        )
    return table


def _latency(sample: Sample) -> RenderableType:
    latency, slo = sample.twin["latency"], sample.twin["slo"]
    replicas = sample.twin["replicas"]
    usages = [replica["kvUsage"] for replica in replicas] or [0.0]
    waiting = sum(replica["waiting"] for replica in replicas) + sample.twin["demand"]["routerWaiting"]
    grid = Table.grid(padding=(0, 3))
    grid.add_row(
        _against("TTFT p95", latency["ttftP95Seconds"], slo["ttftTargetSeconds"]),
        _against("ITL p95", latency["itlP95Seconds"], slo["itlTargetSeconds"]),
        Text(f"{waiting:.0f} waiting", style="red" if waiting > 20 else ""),
        Text(f"KV cache {100 * sum(usages) / len(usages):.0f} %"),
        Text(f"minutes in SLO {_percent(slo['minuteAttainment'])}"),
    )
    return grid


def _against(name: str, value: float | None, target: float) -> Text:
    if value is None:
        return Text(f"{name} -")
    style = "green" if value <= target else "bold red"
    return Text(f"{name} {1000 * value:.0f} ms (SLO {1000 * target:.0f})", style=style)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _decisions(sample: Sample) -> RenderableType:
    lines: list[Text] = []
    summary = sample.summary
    if summary:
        lines.append(Text(f"now: {summary.get('reason')}: {summary.get('message')}", style="bold"))
    for change in sample.status.get("history", [])[:DECISIONS_SHOWN]:
        lines.append(Text(_change(change), style="dim"))
    return Group(*lines)


def _change(change: dict[str, Any]) -> str:
    at, why = str(change["at"])[11:19], change.get("message", "")
    return f"{at}  {change['from']} -> {change['to']}  {change['reason']}: {why}"


def plain_line(sample: Sample) -> str:
    """For logs and pipes: everything that matters in one line."""
    twin = sample.twin
    pools = " ".join(f"{name} {sample.placed(name)}/{pool['ready']}" for name, pool in twin["pools"].items())
    latency = twin["latency"]
    ttft, itl = _milliseconds(latency["ttftP95Seconds"]), _milliseconds(latency["itlP95Seconds"])
    return (
        f"{twin['elapsedSeconds']:4.0f}s  {twin['demand']['arrivedRps']:5.1f} req/s  target/ready: {pools}  "
        f"TTFT p95 {ttft}  ITL p95 {itl}  ${twin['cost']['hourly']:.2f}/h  {sample.summary.get('reason', '')}"
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.0f} ms"


def console() -> Console:
    return Console(highlight=False)
