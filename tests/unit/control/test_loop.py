"""One tick after the other, on fakes: what is written, what is said, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet.control.loop import log_defects
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import MetricsGap
from inferencefleet.domain.plan import Reason
from inferencefleet.planning.plan import plan
from inferencefleet.ports import ClusterUnavailable
from tests.builders import a_fleet, a_histogram, a_snapshot, a_state
from tests.fakes.ports import refused
from tests.unit.control.stage import Stage, a_fleet_manifest, a_pool_manifest

CHAT = FleetKey("default", "chat")
GAP = MetricsGap(code="PrometheusUnreachable", sentence="Prometheus at http://prometheus does not answer")


async def settled(**fleet_changes: object) -> Stage:
    stage = Stage()
    if fleet_changes:
        stage.edit("chat", **fleet_changes)
    await stage.tick()
    stage.serve()
    for _ in range(3):
        stage.report("chat", 4.0)
        await stage.tick()
    stage.sink.take()
    stage.writer.fleet_writes.clear()
    stage.writer.pool_writes.clear()
    return stage


def counter(stage: Stage, name: str, **labels: str) -> float:
    return stage.telemetry.registry.get_sample_value(f"inferencefleet_{name}", labels) or 0.0


async def test_the_first_tick_asks_for_replicas_writes_both_statuses_and_says_why() -> None:
    stage = Stage()
    await stage.tick()
    assert stage.asked() >= 1
    assert stage.writer.fleet_writes == ["chat"]
    assert sorted(stage.writer.pool_writes) == ["reserved", "spot"]
    assert stage.sink.take() == ["DeclaredTraffic"]
    assert stage.status()["summary"]["reason"] == "DeclaredTraffic"
    assert stage.condition("Ready")["reason"] == "Starting"


async def test_a_quiet_tick_writes_nothing_and_says_nothing() -> None:
    stage = await settled()
    writes = counter(stage, "object_writes_total")
    for _ in range(3):
        stage.report("chat", 4.0)
        await stage.tick()
    assert stage.writer.fleet_writes == []
    assert stage.writer.pool_writes == []
    assert stage.sink.take() == []
    assert counter(stage, "object_writes_total") == writes


async def test_an_api_server_that_cannot_be_read_skips_the_tick_and_touches_nothing() -> None:
    stage = await settled()
    before, applied = stage.asked(), len(stage.actuator.applied)
    stage.reader.unavailable = True
    await stage.tick()
    assert counter(stage, "ticks_skipped_total") == 1
    assert (stage.asked(), len(stage.actuator.applied)) == (before, applied)
    stage.reader.unavailable = False
    stage.report("chat", 4.0)
    await stage.tick()
    assert stage.sink.take() == []


async def test_a_refused_object_of_one_fleet_does_not_stop_another_and_is_said_once() -> None:
    stage = Stage()
    stage.reader.fleets.append(a_fleet_manifest("docs"))
    stage.actuator.fails["chat"] = refused()
    await stage.tick()
    await stage.tick()
    assert stage.asked("chat") == 0
    assert stage.asked("docs") > 0
    assert stage.condition("ScalingActive")["reason"] == "ApplyRefused"
    assert "exceeded quota" in stage.condition("ScalingActive")["message"]
    assert stage.condition("ScalingActive", "docs")["status"] == "True"
    assert [event.reason for event in stage.sink.events if event.name == "chat"] == ["ApplyRefused"]


@pytest.mark.parametrize("defect", [KeyError("resources"), ClusterUnavailable("connection refused")])
async def test_whatever_applying_one_fleet_raises_the_others_are_applied(defect: Exception) -> None:
    stage = Stage()
    stage.reader.fleets.append(a_fleet_manifest("docs"))
    stage.actuator.fails["chat"] = defect
    await stage.tick()
    assert stage.asked("docs") > 0
    assert stage.condition("ScalingActive")["status"] == "False"


@pytest.mark.parametrize("broken", [refused("status of chat: forbidden"), ClusterUnavailable("timeout"), KeyError("x")])
async def test_a_status_that_cannot_be_written_stops_neither_the_loop_nor_the_other_statuses(broken: Exception) -> None:
    stage = Stage()
    stage.reader.fleets.append(a_fleet_manifest("docs"))
    stage.writer.fails["chat"] = broken
    await stage.tick()
    assert stage.writer.fleet_writes == ["docs"]
    assert sorted(stage.writer.pool_writes) == ["reserved", "spot"]
    stage.writer.fails.clear()
    await stage.tick()
    assert "chat" in stage.writer.fleet_writes


async def test_a_metrics_outage_is_said_once_holds_and_its_end_is_said_once() -> None:
    stage = await settled()
    before = stage.asked()
    stage.metrics.answers["chat"] = GAP
    for _ in range(4):
        await stage.tick()
    assert stage.sink.take() == ["PrometheusUnreachable"]
    assert stage.condition("MetricsAvailable")["status"] == "False"
    assert stage.status()["summary"]["reason"] == "MetricsMissing"
    assert stage.asked() == before
    stage.report("chat", 4.0)
    await stage.tick()
    assert stage.sink.take() == ["MetricsBack"]


async def test_a_missed_slo_is_said_once_with_numbers() -> None:
    stage = await settled()
    for _ in range(2):
        stage.report("chat", 4.0, ttft_s=a_histogram(3.0))
        await stage.tick()
    missed = [event for event in stage.sink.events if event.reason == "SLOMissed"]
    assert len(missed) == 1
    assert missed[0].type == "Warning"
    assert "ttft p95 <= 2s: 0.0% within" in missed[0].message
    stage.sink.take()
    stage.report("chat", 4.0)
    await stage.tick()
    assert stage.sink.take() == ["SLOAttained"]


async def test_a_spec_that_turns_bad_keeps_its_replicas_says_why_once_and_disturbs_nobody() -> None:
    stage = await settled()
    before = stage.asked()
    stage.reader.fleets.append(a_fleet_manifest("docs"))
    stage.edit("chat", spec__model__id="nobody/knows-this")
    await stage.tick()
    await stage.tick()
    assert stage.asked() == before
    assert stage.asked("docs") > 0
    assert stage.condition("Stalled")["status"] == "True"
    assert stage.condition("Stalled")["reason"] == "UnknownModel"
    assert "spec.model.id='nobody/knows-this'" in stage.condition("Stalled")["message"]
    assert stage.status()["observedGeneration"] == 2
    chat = [event for event in stage.sink.events if event.name == "chat"]
    assert [(event.type, event.reason) for event in chat] == [("Warning", "UnknownModel")]
    assert "Replicas stay as they are" in chat[0].message

    stage.sink.take()
    stage.edit("chat")
    stage.report("chat", 4.0)
    await stage.tick()
    assert "SpecAccepted" in stage.sink.take()
    assert stage.condition("Stalled")["status"] == "False"
    assert stage.asked() == before


async def test_the_next_mistake_in_a_refused_spec_is_said_too() -> None:
    stage = await settled()
    stage.edit("chat", spec__model__id="nobody/knows-this")
    await stage.tick()
    stage.sink.take()
    stage.edit("chat", spec__placement={"pools": ["nowhere"]})
    await stage.tick()
    assert stage.sink.take() == ["UnknownPool"]


async def test_a_doomed_node_is_said_once_and_replaced() -> None:
    stage = await settled()
    before = stage.asked()
    stage.doom("chat", 1)
    stage.report("chat", 4.0)
    await stage.tick()
    assert stage.sink.take() == ["ReplacingDoomed"]
    assert stage.asked() == before + 1
    stage.report("chat", 4.0)
    await stage.tick()
    assert stage.sink.take() == []


async def test_scaling_is_said_with_from_to_and_the_reason_and_kept_in_the_history() -> None:
    stage = await settled()
    before = stage.asked()
    stage.report("chat", 25.0)
    await stage.tick()
    (event,) = stage.sink.events
    assert event.message.startswith(f"Replicas {before} -> {stage.asked()}: ")
    newest = stage.status()["history"][0]
    assert (newest["from"], newest["to"], newest["reason"]) == (before, stage.asked(), event.reason)


async def test_a_fleet_that_only_recommends_is_reported_and_not_applied() -> None:
    stage = Stage()
    stage.edit("chat", spec__scaling={"mode": "Recommend"})
    await stage.tick()
    assert stage.actuator.applied == []
    assert stage.condition("ScalingActive")["reason"] == "RecommendOnly"
    assert stage.status()["recommendation"]["target"] >= 1
    assert stage.sink.take() == []


async def test_too_few_gpus_is_a_condition_and_an_event_and_room_ends_both() -> None:
    stage = await settled()
    stage.report("chat", 500.0)
    await stage.tick()
    assert stage.condition("CapacityAvailable")["reason"] == "NotEnoughGPUs"
    assert stage.sink.take().count("NotEnoughGPUs") >= 1
    stage.reader.pools.append(a_pool_manifest("endless", "OnDemand", gpus=4000))
    stage.reader.fleets[0]["spec"]["scaling"] = {"maxReplicas": 1000}
    stage.reader.fleets[0]["metadata"]["generation"] += 1
    stage.report("chat", 500.0)
    await stage.tick()
    assert stage.condition("CapacityAvailable")["status"] == "True"
    assert "CapacityBack" in stage.sink.take()


async def test_gauges_of_what_is_gone_disappear() -> None:
    stage = await settled()
    assert counter(stage, "ready_replicas", namespace="default", fleet="chat", pool="reserved") > 0
    stage.reader.fleets.clear()
    stage.reader.pools.pop()
    await stage.tick()
    value = stage.telemetry.registry.get_sample_value
    assert value("inferencefleet_hourly_cost", {"namespace": "default", "fleet": "chat"}) is None
    assert value("inferencefleet_pool_exhausted", {"pool": "spot"}) is None
    assert value("inferencefleet_pool_exhausted", {"pool": "reserved"}) == 0
    assert value("inferencefleet_fleets", {}) == 0


async def test_waking_the_loop_is_idempotent() -> None:
    stage = Stage()
    stage.loop.settle_s = 0.0
    stage.loop.wake()
    stage.loop.wake()
    await stage.loop._next_reason_to_look()
    assert not stage.loop._changed.is_set()


def test_a_defect_of_the_planner_is_an_error_in_the_log_and_a_plan_is_not(caplog: pytest.LogCaptureFixture) -> None:
    decided = plan(a_snapshot(a_state(a_fleet("good")), a_state(a_fleet("bad"))))
    bad, good = decided.fleets
    log_defects(
        replace(decided, fleets=(replace(bad, reason=Reason.PLANNING_FAILED, sentence="ZeroDivisionError"), good))
    )
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "default/bad: ZeroDivisionError")
    ]
