"""The last proof before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet.control.apply import Applier
from inferencefleet.control.validate import violations
from inferencefleet.domain.fleet import ScalingTerms
from inferencefleet.domain.plan import Plan
from inferencefleet.domain.snapshot import Snapshot
from inferencefleet.planning.plan import plan
from tests.builders import a_fleet, a_snapshot, a_state, metrics, replicas
from tests.fakes.ports import FakeActuator, FakeReader

WORLD = a_snapshot(
    a_state(a_fleet(scaling=ScalingTerms(max_replicas=6)), replicas("reserved", 2), seen=metrics(rps=10))
)


def forged(pool: str, count: int, world: Snapshot = WORLD) -> Plan:
    """The plan of that world, with another number in one pool: what a defect might do."""
    honest = plan(world)
    (fleet,) = honest.fleets
    pools = tuple(
        replace(share, replicas=count, placed=count) if share.pool == pool else share for share in fleet.pools
    )
    size = next(share.shape.tensor_parallel for share in fleet.pools if share.pool == pool)
    outlooks = tuple(
        replace(outlook, gpus_planned=count * size) if outlook.pool == pool else outlook for outlook in honest.pools
    )
    return replace(honest, fleets=(replace(fleet, pools=pools),), pools=outlooks)


def test_an_honest_plan_breaks_no_promise() -> None:
    assert violations(plan(WORLD), WORLD) == {}


def test_growth_above_the_maximum_is_caught() -> None:
    assert violations(forged("reserved", 7), WORLD) == {
        "default/chat": "7 replicas are above spec.scaling.maxReplicas=6"
    }


def test_growth_above_the_limit_of_a_pool_is_caught() -> None:
    generous = a_snapshot(
        a_state(a_fleet(scaling=ScalingTerms(max_replicas=90)), replicas("reserved", 2), seen=metrics(rps=10))
    )
    assert violations(forged("reserved", 20, generous), generous) == {
        "default/chat": "pool reserved would hold 40 GPUs of 16"
    }


def test_a_plan_that_is_only_shown_breaks_nothing() -> None:
    forged_plan = forged("reserved", 7)
    shown = replace(forged_plan, fleets=(replace(forged_plan.fleets[0], act=False),))
    assert violations(shown, WORLD) == {}


async def test_a_broken_promise_is_not_carried_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    bad = forged("reserved", 7)
    actuator = FakeActuator(FakeReader())
    applied = await Applier(actuator=actuator).apply(bad, WORLD, violations(bad, WORLD))
    assert actuator.applied == []
    (message,) = applied.refusals.values()
    assert message == "the plan was not carried out: 7 replicas are above spec.scaling.maxReplicas=6"
    assert "maxReplicas=6" in caplog.text
