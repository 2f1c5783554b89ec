"""Calibration through the whole loop: learnt from metrics, used in plans, written rarely, restored after a restart."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.control.report.material import calibration_changed, calibration_moved, structure_differs
from inferencefleet.domain.capacity import Scales
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import PoolMetrics
from inferencefleet.telemetry.metrics import Telemetry
from tests.builders import a_mix
from tests.calibrating import ENGINES, Synthetic
from tests.unit.control.stage import Stage

CHAT = FleetKey("default", "chat")
SLOW = Scales(memory=1.3, compute=1.3, overhead=1.3)
RATES = (1.5, 2.5, 3.5, 2.0)


class Served(Stage):
    """Four replicas in one pool whose engines are slower than modelled."""

    def begin(self) -> None:
        self.edit(
            "chat",
            spec__scaling__minReplicas=ENGINES,
            spec__scaling__maxReplicas=ENGINES,
            spec__placement__pools=["reserved"],
        )

    async def window(self, number: int, bend: Any = lambda seen: seen) -> None:
        """A minute: four ticks, the last ones with nothing new to learn."""
        key = FleetKey("default", "chat")
        shape = (await self.gatherer.gather(self.clock.at_s, {})).snapshot.fleets[0].fleet
        source = Synthetic(_shape(self, shape), SLOW, a_mix(), seed=number)
        seen: PoolMetrics = bend(source.window(RATES[number % len(RATES)]))
        assert len(self.reader.replicas.get(key, ())) in {0, ENGINES}
        for _ in range(4):
            self.serve("chat", rps=8.0, pools={"reserved": seen})
            await self.tick()


def _shape(stage: Stage, fleet: Any) -> Any:
    from inferencefleet.planning.calibrate import running_shape

    (workload,) = stage.reader.workloads[CHAT]
    pool = next(pool for pool in stage.gatherer._pools if pool.name == "reserved")
    return running_shape(fleet, pool.gpu, workload.tensor_parallel)


async def served(windows: int = 12) -> Served:
    stage = Served()
    stage.begin()
    await stage.tick()
    for number in range(windows):
        await stage.window(number)
    return stage


def block(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.status()["calibration"][0]
    return found


async def test_engines_that_are_slower_are_found_out_and_told() -> None:
    stage = await served()
    told = block(stage)
    assert told["state"] == "Calibrated"
    assert told["factor"] == pytest.approx(1.3, abs=0.06)
    assert stage.status()["summary"]["calibration"].startswith("Calibrated x1.")
    steps = {step["code"]: step for step in stage.status()["plan"]["steps"]}
    assert "Calibrated" in steps, "it changes what a replica is worth"
    assert steps["Calibrated"]["after"] < steps["Calibrated"]["before"]
    assert "req/s a replica by" in steps["Calibrated"]["message"]
    (sizing,) = [each for each in stage.status()["sizing"] if each["pool"] == "reserved"]
    assert sizing["requestsPerSecond"] == steps["Calibrated"]["after"]


async def test_a_restart_goes_on_from_the_status() -> None:
    stage = await served()
    known = stage.loop._memory[CHAT].calibration[0]
    after = Served(reader=stage.reader, clock=stage.clock, metrics=stage.metrics)
    after.metrics.answers.clear()
    await after.tick()
    again = after.loop._memory[CHAT].calibration[0]
    written = block(stage)["windows"]
    assert known.used - 10 < written == again.used <= known.used
    assert again.applied is not None
    assert again.applied.memory == pytest.approx(known.applied.memory if known.applied else 0, rel=0.05)


async def test_ticks_without_a_new_window_write_nothing() -> None:
    stage = await served()
    stage.writer.fleet_writes.clear()
    last = stage.metrics.answers["chat"]
    for _ in range(3):
        stage.metrics.answers["chat"] = replace(last, at_s=stage.clock.at_s)  # type: ignore[type-var]
        await stage.tick(after_s=1.0)
    assert stage.writer.fleet_writes == []


async def test_steady_windows_are_written_once_in_ten_and_not_each() -> None:
    stage = await served(25)
    stage.writer.fleet_writes.clear()
    for number in range(25, 45):
        await stage.window(number)
    assert len(stage.writer.fleet_writes) <= 8, "80 ticks, 20 windows"


async def test_the_reason_of_a_freeze_is_told_once_and_not_on_every_tick() -> None:
    stage = await served()
    stage.writer.fleet_writes.clear()
    for number in range(12, 20):
        await stage.window(number, lambda seen: replace(seen, window=replace(seen.window, preemptions_per_s=1.0)))
    assert block(stage)["state"] == "Frozen"
    assert block(stage)["reason"] == "Preemptions"
    assert len(stage.writer.fleet_writes) <= 2


async def test_numbers_of_calibration_are_no_structure() -> None:
    stage = await served()
    status = stage.status()
    other = {**status, "calibration": [{**status["calibration"][0], "factor": 3.0, "message": "x", "windows": 13}]}
    assert not structure_differs(other, status)
    assert not calibration_moved(other, status)
    assert not calibration_changed(other, status)
    frozen = {**status, "calibration": [{**status["calibration"][0], "state": "Frozen"}]}
    assert calibration_changed(frozen, status)
    assert calibration_changed({**status, "calibration": []}, status)
    surer = {**status, "calibration": [{**status["calibration"][0], "sigma": 0.19}]}
    assert calibration_moved(surer, status)


async def test_the_operator_s_own_metrics_show_ratio_sigma_windows_and_state() -> None:
    stage = await served()
    labels = {"namespace": "default", "fleet": "chat", "pool": "reserved"}
    size = {"tensor_parallel": str(stage.reader.workloads[CHAT][0].tensor_parallel)}

    def value(name: str, **more: str) -> float:
        found = stage.telemetry.registry.get_sample_value(f"inferencefleet_calibration_{name}", labels | size | more)
        return math.nan if found is None else found

    assert value("ratio", metric="itl") == pytest.approx(1.3, abs=0.06)
    assert value("sigma") < 0.1
    # The first two may be so far from the prior that they are suspected.
    assert value("windows", verdict="used") + value("windows", verdict="rejected") == 12
    assert value("windows", verdict="used") >= 10
    assert value("state", state="Calibrated") == 1
    assert value("state", state="Frozen") == 0
    assert isinstance(stage.telemetry, Telemetry)
