"""The chain of guards inside the plan, tick after tick: what it remembers, and what it may spend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.domain.fleet import FallbackBehavior, FallbackTerms, RatePolicy, RateRules, RateUnit, ScalingTerms
from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from inferencefleet.domain.plan import FleetPlan, Reason
from inferencefleet.domain.snapshot import FleetMemory, FleetState
from inferencefleet.planning.plan import plan
from tests.builders import GAP, NOW_S, a_snapshot, a_state, metrics, replicas
from tests.unit.planning.world import a_tp2_fleet

pytestmark = pytest.mark.usefixtures("a_replica_is_worth_four")

QUICK = ScalingTerms(max_replicas=40, scale_down_stabilization_s=0, horizon_s=60)


def running(count: int, seen: FleetMetrics | MetricsGap, scaling: ScalingTerms = QUICK, **fleet: Any) -> FleetState:
    return a_state(a_tp2_fleet(scaling=scaling, **fleet), replicas("reserved", count), seen=seen)


def decide(state: FleetState, memory: FleetMemory | None = None, *, after_s: float = 0.0) -> FleetPlan:
    known = {} if memory is None else {state.fleet.key: memory}
    return plan(a_snapshot(state, memory=known, at_s=NOW_S + after_s)).fleets[0]


def placed(decided: FleetPlan) -> int:
    return sum(pool.placed for pool in decided.pools)


def said(decided: FleetPlan, code: Reason) -> str:
    return next(verdict.sentence for verdict in decided.verdicts if verdict.code is code)


def test_a_rate_policy_lets_a_fleet_grow_step_by_step_and_says_so() -> None:
    policy = RatePolicy(unit=RateUnit.PODS, value=2, period_s=60)
    terms = replace(QUICK, up=RateRules(policies=(policy,)))
    first = decide(running(2, metrics(rps=30), terms))
    assert (placed(first), first.reason) == (4, Reason.RATE_LIMITED)
    assert "4 are allowed now by spec.scaling.behavior.scaleUp: 2 replicas in 60 s" in said(first, Reason.RATE_LIMITED)
    assert first.memory.scale_events == ((NOW_S, 2),)

    soon = decide(running(4, metrics(rps=30), terms), first.memory, after_s=15)
    assert placed(soon) == 4, "two in this minute already"
    later = decide(running(4, metrics(rps=30), terms), soon.memory, after_s=61)
    assert placed(later) == 6
    assert later.memory.scale_events == ((NOW_S + 61, 2),), "the first change is past every period"


def test_right_after_growing_a_fleet_does_not_shrink_on_a_rate_that_reaches_back_before() -> None:
    grown = decide(running(2, metrics(rps=18)))
    there = placed(grown)
    soon = decide(running(there, metrics(rps=1)), grown.memory, after_s=30)
    assert (placed(soon), soon.reason) == (there, Reason.COOLING_DOWN)
    later = decide(running(there, metrics(rps=1)), soon.memory, after_s=61)
    assert placed(later) < there


def test_a_backlog_is_not_stranded() -> None:
    waiting = decide(running(8, metrics(rps=4, waiting=200.0, growth=-3.0)))
    assert placed(waiting) >= 8
    assert placed(decide(running(8, metrics(rps=4)))) < 8


def test_money_is_spent_on_the_replicas_that_are_taken_first() -> None:
    """Two reserved H100 cost 4.20 an hour, two on demand 7.80; eight replicas fit into the reservation."""
    fleet = {"rps": 60.0, "most_per_hour": 8 * 4.2 + 7.8 + 1.0}
    decided = plan(a_snapshot(a_state(a_tp2_fleet(scaling=QUICK, **fleet)))).fleets[0]
    assert decided.reason is Reason.BUDGET
    assert decided.hourly_cost <= fleet["most_per_hour"]
    assert f"{fleet['most_per_hour']:.2f}" in said(decided, Reason.BUDGET), "how much that is, it says as well"
    assert decided.uncapped is not None
    assert decided.uncapped > placed(decided), "the need is told whatever the money"
    rich = plan(a_snapshot(a_state(a_tp2_fleet(scaling=QUICK, rps=60.0, most_per_hour=500.0)))).fleets[0]
    assert placed(rich) > placed(decided)


def test_a_static_fallback_holds_its_number_while_metrics_are_missing() -> None:
    terms = replace(QUICK, fallback=FallbackTerms(behavior=FallbackBehavior.STATIC, replicas=6))
    assert placed(decide(running(4, GAP, terms, rps=2.0))) == 6
    assert placed(decide(running(7, GAP, terms, rps=2.0))) == 7
    hold = replace(QUICK, fallback=FallbackTerms(behavior=FallbackBehavior.CURRENT))
    assert placed(decide(running(4, GAP, hold, rps=60.0))) == 4
    assert placed(decide(running(4, GAP, QUICK, rps=24.0))) > 4, "by default the declared traffic counts"
