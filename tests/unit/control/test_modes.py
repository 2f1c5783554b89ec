"""What a fleet says of itself when nobody acts on its plan."""

from __future__ import annotations

from tests.unit.control.stage import Stage, a_fleet_manifest


async def _told(mode: str) -> Stage:
    stage = Stage()
    stage.reader.fleets = [a_fleet_manifest(spec__scaling={"mode": mode})]
    await stage.tick()
    return stage


async def test_recommend_shows_the_plan_and_starts_nothing() -> None:
    stage = await _told("Recommend")
    assert stage.asked() == 0
    assert stage.status()["recommendation"]["target"] >= 1
    assert stage.condition("ScalingActive")["reason"] == "RecommendOnly"
    ready = stage.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NotActing")
    assert "mode is Recommend, so none is started" in ready["message"]


async def test_off_recommends_nothing_either() -> None:
    stage = await _told("Off")
    assert stage.asked() == 0
    assert "recommendation" not in stage.status()
    assert stage.condition("RecommendationProvided")["reason"] == "Off"
    assert stage.condition("ScalingActive")["message"] == "spec.scaling.mode is Off: replicas stay as they are"
