"""`explain` on statuses that the real control loop wrote, true ones and falsified ones."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.errors import Forbidden, NotFound
from inferencefleet.cli.explain import source
from tests.builders import GAP
from tests.unit.api import manifests
from tests.unit.cli.runner import answer, refusal, run
from tests.unit.control.stage import Stage


@pytest.fixture
async def stage() -> Stage:
    """Two pools and a fleet that has served 4 requests/s for a while."""
    stage = Stage()
    for _ in range(5):
        await stage.tick()
        stage.serve()
    await stage.tick()
    return stage


@pytest.fixture
def live(stage: Stage) -> dict[str, Any]:
    return copy.deepcopy(dict(stage.reader.fleets[0]))


def saved(path: Path, *objects: Any) -> Path:
    path.write_text(json.dumps({"items": list(objects)}, default=str))
    return path


def test_a_status_that_the_operator_wrote_adds_up(stage: Stage, live: dict[str, Any], tmp_path: Path) -> None:
    document = answer("explain", "-f", saved(tmp_path / "all.json", live, *stage.reader.pools))
    assert document["agrees"] is True
    verdicts = {check["field"]: check["verdict"] for check in document["checks"]}
    assert verdicts["plan.upperRequestsPerSecond"] == "agrees"
    assert verdicts["plan.steps[Sized].after"] == "agrees"
    assert verdicts["cost.hourly"] == "agrees"
    assert verdicts["sizing[reserved].requestsPerSecond"] in ("agrees", "near")
    assert document["plan"] == live["status"]["plan"]


async def test_what_is_carried_on_while_nothing_is_observed_adds_up_too(tmp_path: Path) -> None:
    """A ramp of 4 to 12 requests/s, and then Prometheus goes blind: the bound is above all that was seen."""
    stage = Stage()
    for tick in range(14):
        await stage.tick()
        stage.serve(rps=max(4.0, float(tick)))
    stage.metrics.answers["chat"] = GAP
    await stage.tick()
    live = dict(stage.reader.fleets[0])
    said = live["status"]["plan"]
    assert said["demandObserved"] is False
    assert said["upperRequestsPerSecond"] > said["levelRequestsPerSecond"] == 12
    document = answer("explain", "-f", saved(tmp_path / "blind.json", live, *stage.reader.pools))
    found = next(check for check in document["checks"] if check["field"] == "plan.upperRequestsPerSecond")
    assert found["verdict"] == "agrees", found


def test_without_the_pools_the_gpu_is_looked_up_by_its_name(live: dict[str, Any], tmp_path: Path) -> None:
    document = answer("explain", "-f", saved(tmp_path / "fleet.json", live))
    assert {replica["gpu"] for replica in document["recomputed"]} == {"H100-SXM"}


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("sizing", 0, "requestsPerSecond"), 99.0, "sizing[reserved].requestsPerSecond"),
        (("sizing", 0, "plannedRequestsPerSecond"), 0.5, "sizing[reserved].plannedRequestsPerSecond"),
        (("plan", "upperRequestsPerSecond"), 50.0, "plan.upperRequestsPerSecond"),
        (("replicas",), 17, "replicas"),
        (("cost", "hourly"), 1.0, "cost.hourly"),
        (("recommendation", "target"), 17, "recommendation.target"),
    ],
)
def test_a_value_that_does_not_follow_is_named_with_both_numbers(
    live: dict[str, Any], tmp_path: Path, path: tuple[Any, ...], value: float, field: str
) -> None:
    at: Any = live["status"]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    document = answer("explain", "-f", saved(tmp_path / "fleet.json", live), exit_code=1)
    check = next(check for check in document["checks"] if check["field"] == field)
    assert check["verdict"] == "differs"
    assert check["status"] == value
    assert check["recomputed"] != value
    assert document["agrees"] is False


def test_the_derivation_is_told_in_the_order_in_which_it_is_made(live: dict[str, Any], tmp_path: Path) -> None:
    text = run("explain", "chat", "-f", saved(tmp_path / "fleet.json", live)).stdout
    order = [
        "1. Demand and horizon",
        "2. Capacity of one replica",
        "3. Replicas and placement",
        "4. Steps",
        "Recomputed",
    ]
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)
    assert live["status"]["plan"]["forecastMessage"] in text


def test_a_gpu_that_nobody_describes_cannot_be_recomputed_and_that_is_said(
    live: dict[str, Any], tmp_path: Path
) -> None:
    for sizing in live["status"]["sizing"]:
        sizing["gpu"] = "OurGPU"
    document = answer("explain", "-f", saved(tmp_path / "fleet.json", live))
    unknown = [check for check in document["checks"] if check["verdict"] == "cannot be recomputed"]
    assert unknown
    assert "give its GPUPool" in unknown[0]["note"]


def test_the_status_may_come_from_a_pipe(live: dict[str, Any]) -> None:
    result = run("explain", "-f", "-", stdin=json.dumps(live, default=str))
    assert result.exit_code == 0
    assert "(standard input)" in result.stdout


def test_a_status_of_an_older_operator_without_calibration_is_read(live: dict[str, Any], tmp_path: Path) -> None:
    live["status"].pop("calibration", None)
    live["status"]["fieldOfTomorrow"] = {"a": 1}
    assert run("explain", "-f", saved(tmp_path / "fleet.json", live)).exit_code == 0


def test_a_fleet_that_was_never_planned_has_nothing_to_explain(tmp_path: Path) -> None:
    text = refusal("explain", "-f", saved(tmp_path / "fleet.json", manifests.fleet()), exit_code=3)
    assert "has no status.plan yet" in text


def test_without_a_kubeconfig_the_way_out_is_a_saved_object(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    text = refusal("explain", "chat", exit_code=3)
    assert "there is no kubeconfig" in text
    assert "kubectl fleet explain -f -" in text


@pytest.mark.parametrize(
    ("error", "says"),
    [(NotFound(404, "not found"), "kubectl get ifleet -A"), (Forbidden(403, "no"), "ask for get on inferencefleets")],
)
def test_what_the_api_server_refuses_ends_with_3_and_a_way_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    async def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr(source, "_read", refused)
    assert says in refusal("explain", "chat", exit_code=3)
