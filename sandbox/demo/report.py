"""What is left behind in demo-report/: summary.md, summary.json, the picture, requests and timeline as CSV."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.demo.figure import draw, read_timeline
from sandbox.demo.verdict import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything known at the end of a run."""

    summary: dict[str, Any]
    prometheus: dict[str, float | None]
    """Share within the SLO as Prometheus saw it, by `ttft` and `itl`."""
    checks: Sequence[Check]
    decisions: Sequence[dict[str, Any]]
    targets: Sequence[tuple[float, int]]
    static_dollars: float
    static_replicas: int
    operator: dict[str, float]
    """CPU seconds, wall seconds, peak resident MiB."""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def write_report(outcome: Outcome, out: Path) -> Path:
    """Write all files; returns the path of the picture."""
    picture = out / "demo.png"
    draw(read_timeline(out / "timeline.csv"), list(outcome.targets), outcome.summary["slo"], picture)
    (out / "summary.md").write_text(markdown(outcome))
    document = {
        "passed": outcome.passed,
        "checks": [asdict(check) for check in outcome.checks],
        "seed": outcome.summary["seed"],
        "attainment": {
            "byRequestTTFT": outcome.summary["slo"]["requestAttainment"],
            "byTokenITL": outcome.summary["slo"]["tokenAttainment"],
            "byMinute": outcome.summary["slo"]["minuteAttainment"],
            "prometheusTTFT": outcome.prometheus["ttft"],
            "prometheusITL": outcome.prometheus["itl"],
        },
        "dollars": outcome.summary["cost"]["dollars"],
        "staticPeakDollars": outcome.static_dollars,
        "staticPeakReplicas": outcome.static_replicas,
        "requests": outcome.summary["requests"],
        "operator": outcome.operator,
        "machine": platform.processor() or platform.machine(),
    }
    (out / "verdict.json").write_text(json.dumps(document, indent=1))
    return picture


def markdown(outcome: Outcome) -> str:
    """The summary for people."""
    summary, slo = outcome.summary, outcome.summary["slo"]
    dollars = summary["cost"]["dollars"]
    lines = [
        f"# Demo: {'passed' if outcome.passed else 'FAILED'} (seed {summary['seed']})",
        "",
        *(f"- {'ok ' if check.passed else 'NO '} **{check.name}**: {check.says}" for check in outcome.checks),
        "",
        "| | measured by the twin | as Prometheus saw it |",
        "|---|---|---|",
        f"| TTFT within {slo['ttftTargetSeconds']:g} s | {_share(slo['requestAttainment'])} of requests | "
        f"{_share(outcome.prometheus['ttft'])} |",
        f"| ITL within {1000 * slo['itlTargetSeconds']:.0f} ms | {_share(slo['tokenAttainment'])} of tokens | "
        f"{_share(outcome.prometheus['itl'])} |",
        f"| minutes in which both held | {_share(slo['minuteAttainment'])} | |",
        "",
        "| | dollars | |",
        "|---|---|---|",
        f"| this run | {dollars:.2f} | reservation included |",
        f"| static peak | {outcome.static_dollars:.2f} | {outcome.static_replicas} replicas all the time, on-demand "
        "beyond the reservation |",
        f"| saved | {_share(1 - dollars / outcome.static_dollars)} | |",
        "",
        f"Operator: {outcome.operator['cpuSeconds']:.1f} CPU seconds in {outcome.operator['wallSeconds']:.0f} s, "
        f"{outcome.operator['residentMiB']:.0f} MiB resident.",
        "",
        "![Demand, replicas and latency](demo.png)",
        "",
        "## Every decision",
        "",
        "| time | object | reason | what |",
        "|---|---|---|---|",
        *(_decision(event) for event in outcome.decisions),
        "",
    ]
    return "\n".join(lines)


def _decision(event: dict[str, Any]) -> str:
    at = str(event.get("firstTimestamp") or event["metadata"]["creationTimestamp"])[11:19]
    what = event["involvedObject"]
    message = str(event["message"]).replace("|", "/")
    return f"| {at} | {what['kind']}/{what['name']} | {event['reason']} | {message} |"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
