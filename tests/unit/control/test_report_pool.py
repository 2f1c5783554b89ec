"""The status of a pool: its GPUs, what it did not deliver, a spec that is bad."""

from __future__ import annotations

from typing import Any

from inferencefleet.api.status_pool import PoolStatus
from inferencefleet.api.times import to_timestamp
from inferencefleet.control.report.pool_status import broken_pool_status, pool_status
from inferencefleet.domain.pool import Exhaustion
from inferencefleet.planning.plan import plan
from tests.builders import (
    NOW_S,
    a_pool,
    a_pool_state,
    a_snapshot,
)
from tests.unit.control.reporting import PROBLEM, condition


def outlook_status(exhaustion: Exhaustion | None, reported: dict[str, Any], at_s: float = NOW_S) -> dict[str, Any]:
    state = a_pool_state(a_pool(), exhaustion=exhaustion)
    world = a_snapshot(pools=(state,), at_s=at_s)
    return pool_status(state, plan(world).pools[0], reported, at_s=at_s)


def test_a_pool_reports_its_gpus_and_its_exhaustion_in_a_form_that_is_read_back() -> None:
    mark = Exhaustion(since_s=NOW_S - 100, until_s=NOW_S + 80, strikes=2)
    status = outlook_status(mark, {})
    assert PoolStatus.model_validate(status).to_json() == status
    assert status["gpus"] == {"total": 16, "used": 0, "planned": 0}
    assert status["exhaustion"]["strikes"] == 2
    assert condition(status, "Exhausted")["status"] == "True"
    healthy = outlook_status(None, status, NOW_S + 60)
    assert "exhaustion" not in healthy
    assert condition(healthy, "Exhausted")["lastTransitionTime"] == to_timestamp(NOW_S + 60)


def test_a_pool_whose_spec_is_bad_is_stalled() -> None:
    status = broken_pool_status((PROBLEM,), 4, {}, at_s=NOW_S)
    assert PoolStatus.model_validate(status).to_json() == status
    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "Stalled")["reason"] == "UnknownModel"
