"""`why` on statuses that the real control loop wrote, and its boundaries against the planner itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from inferencefleet.api.convert import fleet_from_manifest
from inferencefleet.api.status_fleet import FleetStatus
from inferencefleet.cli.whatif.traffic import at_rates
from inferencefleet.cli.why.boundaries import boundaries
from inferencefleet.cli.why.lines import lines
from inferencefleet.cli.why.sentences import fitted, span
from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.planning.plan import plan
from tests.unit.cli.runner import answer, refusal, run
from tests.unit.control.stage import Stage

CHAT = FleetKey("default", "chat")


@pytest.fixture
async def stage() -> Stage:
    """A fleet that has served 20 requests/s until everything has settled."""
    stage = Stage()
    for _ in range(60):
        await stage.tick()
        stage.serve(rps=20.0)
    await stage.tick()
    return stage


def manifest(stage: Stage) -> dict[str, Any]:
    return copy.deepcopy(dict(stage.reader.fleets[0]))


def saved(path: Path, *objects: Any) -> Path:
    path.write_text(json.dumps({"items": list(objects)}, default=str))
    return path


def parsed(found: dict[str, Any]) -> tuple[Fleet, FleetStatus]:
    fleet = fleet_from_manifest(found)
    assert isinstance(fleet, Fleet)
    return fleet, FleetStatus.model_validate(found["status"])


def said(found: dict[str, Any], **limits: tuple[int, int]) -> dict[str, str]:
    fleet, status = parsed(found)
    return {line.topic: line.text for line in lines(fleet, status, limits, now_s=None)}


def test_ten_lines_that_fit_a_terminal_tell_size_reason_and_what_is_next(stage: Stage, tmp_path: Path) -> None:
    result = run("why", "-f", saved(tmp_path / "all.json", manifest(stage), *stage.reader.pools))
    assert result.exit_code == 0, result.output
    told = result.stdout.splitlines()
    assert len(told) <= 10
    assert max(map(len, told)) <= 110
    text = result.stdout
    replicas = manifest(stage)["status"]["replicas"]
    assert f"default/chat: {replicas} replicas wanted, {replicas} ready" in text
    assert "20 req/s now (observed)" in text
    assert "binds first" in text
    assert "one more at about +" in text
    assert "reserved has room for" in text


async def test_the_boundary_is_where_the_planner_itself_wants_one_more(stage: Stage) -> None:
    snapshot, told = stage.loop.last, manifest(stage)
    assert snapshot is not None
    [decided] = plan(snapshot).fleets
    assert decided.forecast is not None
    # A status is not written again for a change that nobody would notice.
    told["status"]["plan"]["upperRequestsPerSecond"] = decided.forecast.upper_per_s
    fleet, status = parsed(told)
    found = boundaries(fleet, status, {})
    assert found is not None
    assert found.more_at_per_s is not None
    change = found.change(found.more_at_per_s)
    assert change > 0.01

    def wanted(factor: float) -> int:
        [decided] = plan(at_rates({CHAT: factor})(snapshot)).fleets
        return sum(pool.placed for pool in decided.pools)

    now = wanted(1.0)
    assert wanted(1 + 0.8 * change) == now, "just before the boundary nothing changes"
    assert wanted(1 + 1.3 * change) > now, "just behind it there is one more"


def test_a_held_number_names_the_clamp_with_its_numbers(stage: Stage) -> None:
    found = manifest(stage)
    found["status"]["plan"]["steps"].append(
        {"code": "Stabilizing", "message": "3 would do now, 5 by the window of 300 s", "before": 3.0, "after": 5.0}
    )
    told = said(found)
    assert told["held"].startswith("Stabilizing 3 -> 5: 3 would do now")
    assert told["next"].startswith("the window lets go within 5 min unless demand returns")
    assert said(manifest(stage))["held"].startswith("nothing")


def test_a_fleet_that_only_watches_says_so(stage: Stage) -> None:
    found = manifest(stage)
    found["spec"]["scaling"] = {"mode": "Recommend"}
    assert said(found)["held"].startswith("mode Recommend: nothing is changed")


def test_missing_metrics_and_what_cannot_be_planned_come_first_in_their_lines(stage: Stage) -> None:
    found = manifest(stage)
    for condition in found["status"]["conditions"]:
        if condition["type"] == "MetricsAvailable":
            condition.update(status="False", message="Prometheus does not answer")
        if condition["type"] == "Stalled":
            condition.update(status="True", message="spec.model.id='x': is unknown")
    told = said(found)
    assert told["inputs"].startswith("metrics missing: Prometheus does not answer")
    assert told["why"].startswith("cannot be planned, its replicas stay as they are: spec.model.id")


def test_a_full_pool_and_the_limit_of_the_fleet_are_told(stage: Stage) -> None:
    assert "reserved has room for 0 more" in said(manifest(stage), reserved=(16, 16))["next"]
    found = manifest(stage)
    found["spec"]["scaling"] = {"maxReplicas": found["status"]["replicas"]}
    assert "no more: maxReplicas=" in said(found)["next"]


def test_replicas_on_spot_have_a_stated_risk(stage: Stage) -> None:
    assert said(manifest(stage))["risk"] == "no replica lives on spot"
    found = manifest(stage)
    found["status"]["plan"]["risk"] = "losing 2 nodes of spot leaves 8.00 of 9.00 req/s"
    assert said(found)["risk"].startswith("spot: losing 2 nodes")


def test_every_line_fits_whatever_the_names_are(stage: Stage) -> None:
    found = manifest(stage)
    long = "x" * 40
    found["metadata"].update(name=long, namespace=long)
    found["status"]["pools"][0].update(name=long, capacityType="Reserved")
    fleet, status = parsed(found)
    for line in lines(fleet, status, {}, now_s=1.9e9):
        assert len(line.text) <= 100, line


def test_the_document_holds_every_clause_also_those_without_room(stage: Stage, tmp_path: Path) -> None:
    document = answer("why", "-f", saved(tmp_path / "fleet.json", manifest(stage)))
    assert document["kind"] == "Why"
    assert document["reason"] == manifest(stage)["status"]["summary"]["reason"]
    by_topic = {line["topic"]: line for line in document["lines"]}
    assert len(by_topic) == len(document["lines"]) <= 10
    assert "; ".join(by_topic["next"]["details"]).startswith(by_topic["next"]["text"])


def test_without_a_status_or_with_a_broken_one_there_is_nothing_to_say(stage: Stage, tmp_path: Path) -> None:
    bare = manifest(stage)
    del bare["status"]
    assert "no status.plan yet" in refusal("why", "-f", saved(tmp_path / "bare.json", bare), exit_code=3)
    broken = manifest(stage)
    broken["status"]["replicas"] = "many"
    assert "status.replicas='many'" in refusal("why", "-f", saved(tmp_path / "broken.json", broken))
    assert "excludes --namespace" in refusal("why", "-f", tmp_path / "x", "-n", "y")


def test_light_clauses_go_first_and_a_long_one_is_cut_at_a_word() -> None:
    assert fitted(["one", None, "two", "three"], 8) == "one; two"
    assert fitted(["some words that are long"], 15) == "some words..."
    assert [span(s) for s in (5, 150, 7300, 9e4, 9e5)] == ["5 s", "2.5 min", "2 h", "25 h", "10 d"]
