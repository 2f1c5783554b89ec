"""The demo's judgement and its report, without a cluster."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo.report import Outcome, write_report
from sandbox.demo.verdict import Check, verdict
from sandbox.demo.view import sparkline

SUMMARY: dict[str, Any] = {
    "seed": 7,
    "slo": {
        "ttftPercentile": 95,
        "itlPercentile": 95,
        "ttftTargetSeconds": 2.0,
        "itlTargetSeconds": 0.06,
        "declaredAttainment": 0.99,
        "requestAttainment": 0.97,
        "tokenAttainment": 0.99,
        "minuteAttainment": 1.0,
        "minutes": [{"held": True}, {"held": True}],
    },
    "requests": {"finished": 100, "failed": 0, "refused": 0, "retried": 1},
    "cost": {"dollars": 3.0},
}


def judge(**changes: Any) -> dict[str, bool]:
    """Names of the checks with their outcome, after changing `slo` or `requests` or the facts."""
    summary = copy.deepcopy(SUMMARY)
    summary["slo"].update(changes.pop("slo", {}))
    summary["requests"].update(changes.pop("requests", {}))
    facts: dict[str, Any] = {
        "operator_alive": True,
        "defects": 0,
        "grew_into": {"reserved", "on-demand", "spot"},
        "lost_spot": True,
        "returned": True,
    }
    return {check.name: check.passed for check in verdict(summary, **{**facts, **changes})}


def test_a_run_that_kept_every_promise_passes() -> None:
    assert all(judge().values())


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"slo": {"requestAttainment": 0.949}}, "TTFT"),
        ({"slo": {"tokenAttainment": 0.94}}, "ITL"),
        ({"slo": {"minuteAttainment": 6 / 7}}, "Every minute"),
        ({"requests": {"failed": 1}}, "Nothing lost"),
        ({"grew_into": {"reserved", "spot"}}, "Grew"),
        ({"lost_spot": False}, "Survived"),
        ({"returned": False}, "Returned"),
        ({"operator_alive": False}, "Operator"),
        ({"defects": 1}, "Operator"),
    ],
)
def test_each_broken_promise_fails_its_own_check_and_no_other(changes: dict[str, Any], failing: str) -> None:
    assert [name for name, passed in judge(**changes).items() if not passed] == [failing]


def test_the_report_holds_the_verdict_every_decision_and_the_picture(tmp_path: Path) -> None:
    columns = ["t_s", "offered_rps", "arrived", "ttft_p95_s", "itl_p95_s", "ready:h100-reserved", "ready:h100-spot"]
    rows = [[0, 8, 7, "", "", 2, 0], [1, 8, 9, 0.3, 0.05, 2, 1]]
    lines = [",".join(map(str, row)) for row in [columns, *rows]]
    (tmp_path / "timeline.csv").write_text("\n".join(lines))
    event = {
        "involvedObject": {"kind": "InferenceFleet", "name": "chat"},
        "metadata": {"creationTimestamp": "2026-01-31T12:00:00Z"},
        "reason": "RampAhead",
        "message": "Replicas 2 -> 3: more arrive",
    }
    outcome = Outcome(
        summary=SUMMARY,
        prometheus={"ttft": 0.97, "itl": None},
        checks=[Check(name="TTFT", passed=False, says="too slow")],
        decisions=[event],
        targets=[(0.0, 2), (1.0, 3)],
        static_dollars=6.0,
        static_replicas=8,
        operator={"cpuSeconds": 1.0, "wallSeconds": 60.0, "residentMiB": 90.0},
    )
    picture = write_report(outcome, tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "summary.md").read_text()
    assert "FAILED (seed 7)" in text
    assert "| 12:00:00 | InferenceFleet/chat | RampAhead | Replicas 2 -> 3: more arrive |" in text
    assert "50.00 %" in text, "saved against the static peak"
    document = json.loads((tmp_path / "verdict.json").read_text())
    assert document["passed"] is False
    assert document["dollars"] == 3.0


def test_a_sparkline_is_scaled_to_its_own_maximum_and_thinned_to_its_width() -> None:
    assert sparkline([0.0, 4.0, 8.0]) == " ▄█"
    assert len(sparkline([1.0] * 1000, width=50)) <= 50
    assert sparkline([]) == ""
