"""What the status says about how far a capacity can be trusted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.api.status_fleet import FleetStatus
from inferencefleet.control.report.fleet_status import fleet_status
from inferencefleet.domain.capacity import Speculation
from inferencefleet.domain.fleet import (
    AWARE_UTILISATION,
    EVEN_UTILISATION,
    LONE_LOSS,
    Fleet,
    Routing,
    ScalingTerms,
    SpeculativeMethod,
    SpeculativeTerms,
)
from inferencefleet.physics.confidence import DENSE_SIGMA_LOG
from inferencefleet.planning.plan import plan
from inferencefleet.planning.size import UNCERTAINTY_Z
from tests.builders import NOW_S, a_fleet, a_snapshot, a_state, metrics, replicas


def sizing(fleet: Fleet) -> dict[str, Any]:
    state = a_state(fleet, replicas("reserved", 4), seen=metrics(rps=10))
    world = a_snapshot(state, at_s=NOW_S)
    pools = {pool.pool.name: pool.pool for pool in world.pools}
    status = fleet_status(state, plan(world).fleets[0], pools, {}, refusal=None, at_s=NOW_S)
    found = FleetStatus.model_validate(status).to_json()["sizing"][0]
    assert isinstance(found, dict)
    return found


def test_a_dense_model_on_a_measured_gpu_needs_no_caveat() -> None:
    found = sizing(a_fleet())
    assert found["confidence"] == "High"
    assert "caveats" not in found


def test_the_share_of_capacity_that_is_planned_with_is_told() -> None:
    for fleet, share in (
        (a_fleet(), EVEN_UTILISATION),
        (a_fleet(routing=Routing.LOAD_AWARE), AWARE_UTILISATION - LONE_LOSS / 4),
        (a_fleet(scaling=ScalingTerms(headroom=0.6)), 0.6),
    ):
        found = sizing(fleet)
        assert found["utilisation"] == pytest.approx(share, abs=1e-4)
        planned = found["requestsPerSecond"] * found["utilisation"] * math.exp(-UNCERTAINTY_Z * DENSE_SIGMA_LOG)
        assert found["plannedRequestsPerSecond"] == pytest.approx(planned, rel=1e-3)


def test_speculation_is_told_with_its_reason() -> None:
    plain = a_fleet()
    terms = SpeculativeTerms(
        method=SpeculativeMethod.NGRAM, draft_model=None, assumed=Speculation(draft_tokens=3, acceptance=0.5)
    )
    found = sizing(a_fleet(engine=replace(plain.engine, speculative=terms)))
    assert found["confidence"] == "Low"
    assert "50% of drafts accepted" in found["caveats"][0]
    assert any("below 0.6 drafts rarely pay" in caveat for caveat in found["caveats"])
