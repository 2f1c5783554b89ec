"""Status documents, conditions, and when a status is worth a write."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import pytest

from inferencefleet.api.status_fleet import HISTORY_KEPT, FleetStatus
from inferencefleet.api.times import to_timestamp
from inferencefleet.control.report.changes import fleet_events
from inferencefleet.control.report.conditions import LONGEST_MESSAGE, Statement, conditions
from inferencefleet.control.report.fleet_status import broken_status, fleet_status
from inferencefleet.control.report.material import (
    is_stabilizing,
    numbers_moved,
    stabilization_flipped,
    structure_differs,
)
from inferencefleet.control.report.slo import read_slos
from inferencefleet.domain.fleet import Fleet, FleetKey, ScalingTerms
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Phase
from inferencefleet.domain.snapshot import BrokenFleet, FleetState
from inferencefleet.planning.plan import plan
from tests.builders import (
    GAP,
    ITL,
    NOW_S,
    TTFT,
    a_fleet,
    a_histogram,
    a_pool,
    a_pool_state,
    a_snapshot,
    a_state,
    a_workload,
    metrics,
    replicas,
    three_pools,
)
from tests.unit.control.reporting import PROBLEM, condition
from tests.unit.planning.conftest import replace_physics


def running(seen: FleetMetrics | MetricsGap | None = None, *, fleet: Fleet | None = None, count: int = 4) -> FleetState:
    return a_state(fleet or a_fleet(), replicas("reserved", count), seen=seen or metrics(rps=10))


def report(state: FleetState, reported: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    world = a_snapshot(state, at_s=kwargs.pop("at_s", NOW_S))
    decided = plan(world).fleets[0]
    pools = {pool.pool.name: pool.pool for pool in world.pools}
    return fleet_status(state, decided, pools, reported or {}, refusal=kwargs.pop("refusal", None), at_s=world.at_s)


WORLDS = {
    "serving": running(),
    "without metrics": running(GAP),
    "not born yet": a_state(a_fleet()),
    "refused": running(fleet=a_fleet(pools=("nowhere",))),
    "with a warning": running(fleet=a_fleet(pools=("reserved", "nowhere"))),
    "idle": running(metrics(rps=0.0, ttft_s=None, itl_s=None, ttft_long_s=None, itl_long_s=None)),
    "starved": a_state(a_fleet(rps=5000)),
    "failing": a_state(a_fleet(), replicas("reserved", 3, phase=Phase.FAILED)),
}


@pytest.mark.parametrize("name", WORLDS)
def test_every_status_survives_the_typed_model_unchanged(name: str) -> None:
    status = report(WORLDS[name])
    assert FleetStatus.model_validate(status).to_json() == status
    assert status["observedGeneration"] == 1
    assert len({c["type"] for c in status["conditions"]}) == len(status["conditions"]) == 8


@pytest.mark.parametrize("name", WORLDS)
def test_a_status_holds_only_numbers_that_json_knows(name: str) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, float):
            assert math.isfinite(value)

    walk(report(WORLDS[name]))


@pytest.mark.parametrize("name", WORLDS)
def test_the_same_tick_again_is_no_reason_for_a_write(name: str) -> None:
    status = report(WORLDS[name])
    again = report(WORLDS[name], status, at_s=NOW_S + 15)
    kept = {key: status[key] for key in status if key != "history"}
    assert not structure_differs({key: again[key] for key in again if key != "history"}, kept)


def test_a_condition_keeps_the_time_of_its_last_transition_until_its_status_changes() -> None:
    first = report(running())
    later = report(running(GAP), first, at_s=NOW_S + 600)
    assert condition(later, "Ready")["lastTransitionTime"] == to_timestamp(NOW_S)
    assert condition(later, "MetricsAvailable")["lastTransitionTime"] == to_timestamp(NOW_S + 600)
    assert condition(later, "MetricsAvailable")["status"] == "False"


def test_a_new_reason_alone_is_no_transition() -> None:
    old = {
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "A", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]
    }
    (now,) = conditions(
        [Statement(type="Ready", holds=False, reason="B", message="m" * 9000)], old, generation=7, at_s=NOW_S
    )
    assert (now.reason, now.last_transition_time) == ("B", "2026-01-01T00:00:00Z")
    assert now.observed_generation == 7
    assert len(now.message) == LONGEST_MESSAGE


def test_the_derivation_can_be_summed_up_by_whoever_reads_it() -> None:
    derived = report(running())["plan"]
    ways = derived["forecasters"]
    assert sum(way["weight"] for way in ways) == pytest.approx(1, abs=0.001)
    # All of them say the same after one tick, so the quantile of their mixture is that of each.
    z = NormalDist().inv_cdf(derived["quantile"])
    (expected,) = {way["requestsPerSecond"] + z * way["deviationRequestsPerSecond"] for way in ways}
    looks = 1 + 300 / derived["horizonSeconds"]
    kept = 1 - (1 - derived["quantile"]) ** looks
    assert kept >= 0.9, "the highest look of a scale-down window is never below the declared attainment"
    assert derived["upperRequestsPerSecond"] == pytest.approx(expected + derived["backlogDrainRequestsPerSecond"], 0.01)
    assert derived["demandObserved"] is True
    assert [set(step) >= {"code", "message"} for step in derived["steps"]] == [True] * len(derived["steps"])


def test_cost_is_per_hour_and_per_million_tokens() -> None:
    status = report(running())
    assert status["cost"]["hourly"] == pytest.approx(4 * 2 * 2.1)
    assert status["cost"]["marginalHourly"] == 0
    assert status["cost"]["currency"] == "USD"
    tokens_per_hour = 10 * 211 * 3600
    assert status["cost"]["perMillionOutputTokens"] == pytest.approx(4 * 2 * 2.1 / tokens_per_hour * 1e6, rel=0.01)


def test_cost_tells_what_a_dollar_buys_and_what_is_paid_beyond_reserved_gpus() -> None:
    cost = report(running())["cost"]
    assert cost["monthly"] == pytest.approx(730 * cost["hourly"], abs=0.01)
    assert cost["outputTokensPerDollar"] == pytest.approx(1e6 / cost["perMillionOutputTokens"], rel=0.01)
    assert cost["marginalPerMillionOutputTokens"] == 0, "reserved GPUs are paid already"
    assert "budgetHourly" not in cost


def test_a_recommendation_says_what_is_around_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_physics(monkeypatch)
    capped = report(running(metrics(rps=40), fleet=a_fleet(scaling=ScalingTerms(max_replicas=2))))["recommendation"]
    assert capped["target"] == 2
    assert capped["uncapped"] > capped["lower"] > 2


def test_the_budget_condition_is_there_only_with_a_budget() -> None:
    assert "WithinBudget" not in {each["type"] for each in report(running())["conditions"]}


def test_a_fleet_within_its_budget_says_how_much_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_physics(monkeypatch)
    status = report(running(fleet=a_fleet(most_per_hour=100.0)))
    within = condition(status, "WithinBudget")
    assert (within["status"], within["reason"]) == ("True", "WithinBudget")
    assert within["message"] == f"{status['cost']['hourly']:.2f} of at most 100.00 an hour"
    assert status["cost"]["budgetHourly"] == 100


def test_demand_beyond_the_budget_is_a_condition_a_reason_and_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_physics(monkeypatch)
    before = report(running(fleet=a_fleet(most_per_hour=100.0)))
    status = report(running(metrics(rps=60), fleet=a_fleet(most_per_hour=20.0)), before)
    assert status["cost"]["hourly"] <= 20
    within = condition(status, "WithinBudget")
    assert (within["status"], within["reason"]) == ("False", "BudgetReached")
    assert "of at most 20.00 an hour" in within["message"]
    assert condition(status, "ScalingLimited")["reason"] == "BudgetReached"
    told = fleet_events(FleetKey("default", "chat"), "uid", before, status, scaled=None)
    assert [(event.type, event.reason) for event in told if event.reason == "BudgetReached"] == [
        ("Warning", "BudgetReached")
    ]
    back = fleet_events(FleetKey("default", "chat"), "uid", status, before, scaled=None)
    assert [event.type for event in back if event.reason == "WithinBudget"] == ["Normal"]


def test_history_is_newest_first_and_bounded() -> None:
    status: dict[str, Any] = {}
    for tick in range(HISTORY_KEPT + 3):
        state = a_state(a_fleet(rps=5 + 40 * (tick % 2)))
        status = report(state, status, at_s=NOW_S + 60 * tick)
    assert len(status["history"]) == HISTORY_KEPT
    assert [entry["at"] for entry in status["history"]] == sorted((e["at"] for e in status["history"]), reverse=True)


def test_a_refusal_by_the_api_server_is_a_condition_in_its_words() -> None:
    status = report(running(), refusal="Deployment chat-reserved: exceeded quota: gpus")
    assert condition(status, "ScalingActive")["reason"] == "ApplyRefused"
    assert "exceeded quota" in condition(status, "ScalingActive")["message"]


def test_a_refused_spec_keeps_what_was_reported_and_counts_what_runs() -> None:
    good = report(running())
    bad = report(running(fleet=a_fleet(pools=("nowhere",), generation=2)), good)
    assert (bad["replicas"], bad["readyReplicas"]) == (4, 4)
    assert bad["plan"] == good["plan"]
    assert condition(bad, "Stalled")["reason"] == "UnknownPool"
    assert bad["observedGeneration"] == 2


def test_a_spec_that_cannot_be_read_is_stalled_and_its_replicas_counted() -> None:
    broken = BrokenFleet(
        key=FleetKey("default", "chat"),
        uid="u",
        generation=3,
        problems=(PROBLEM,),
        workloads=(a_workload("reserved", 4),),
        replicas=replicas("reserved", 3),
    )
    status = broken_status(broken, report(running()), at_s=NOW_S)
    assert FleetStatus.model_validate(status).to_json() == status
    assert (status["replicas"], status["readyReplicas"]) == (4, 3)
    assert condition(status, "Ready")["message"].startswith("3 replicas serve unchanged")
    assert status["summary"]["reason"] == "UnknownModel"


def test_small_noise_is_no_news_and_a_large_move_is(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_physics(monkeypatch)  # so that neither load is at the edge between two sizes
    old = report(running(metrics(rps=8.3)))
    noisy = report(running(metrics(rps=8.6)), old)
    assert not structure_differs(noisy, old)
    assert not numbers_moved(noisy, old)
    assert numbers_moved(report(running(metrics(rps=13)), old), old)


def test_what_demand_might_need_breathes_and_what_is_wanted_is_news() -> None:
    old = report(running())
    assert old["recommendation"]["target"] == sum(pool["placed"] for pool in old["pools"])
    breath = copy.deepcopy(old)
    for name in ("lower", "upper", "uncapped"):
        breath["recommendation"][name] += 1
    assert not structure_differs(breath, old)
    assert not numbers_moved(breath, old), "one replica more or less at the edge of a size"
    breath["recommendation"]["uncapped"] += 3
    assert numbers_moved(breath, old), "worth a look once a minute"
    wanted = copy.deepcopy(old)
    wanted["pools"][0]["placed"] += 1
    assert structure_differs(wanted, old)


def test_a_pool_that_a_fleet_waits_for_is_shown_with_what_belongs_there() -> None:
    low = a_state(a_fleet("low"), replicas("reserved", 8), seen=metrics(rps=40))
    waiting = a_state(a_fleet("chat", rps=10, priority=100))
    world = a_snapshot(low, waiting, pools=(a_pool_state(a_pool()),))
    decided = next(each for each in plan(world).fleets if each.key.name == "chat")
    status = fleet_status(waiting, decided, {"reserved": a_pool()}, {}, refusal=None, at_s=NOW_S)
    (pool,) = status["pools"]
    assert pool["placed"] > pool["desired"] == 0
    assert pool["reason"] == condition(status, "ScalingLimited")["reason"] == "WaitingForGPUs"


def test_a_new_reason_a_new_pool_or_another_number_of_replicas_is_news() -> None:
    old = report(running())
    for path, value in (("replicas", 5), ("readyReplicas", 3)):
        assert structure_differs({**old, path: value}, old)
    renamed = copy.deepcopy(old)
    renamed["summary"]["reason"] = "RampAhead"
    assert structure_differs(renamed, old)
    worded = copy.deepcopy(old)
    worded["summary"]["message"] = "other words"
    worded["conditions"][0]["message"] = "other words"
    assert not structure_differs(worded, old)


def test_demand_that_breathes_around_the_edge_of_a_size_is_told_apart_from_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_physics(monkeypatch)
    held = report(running(metrics(rps=4)))
    met = copy.deepcopy(held)
    assert held["summary"]["reason"] == "Stabilizing"
    for said in (met["summary"], *met["pools"]):
        said["reason"] = "DemandMet"
    limited = condition(met, "ScalingLimited")
    limited["status"], limited["reason"] = "False", "WithinLimits"
    assert structure_differs(held, met)
    assert stabilization_flipped(held, met)
    assert stabilization_flipped(met, held)
    assert is_stabilizing(held)
    assert not is_stabilizing(met)
    assert not stabilization_flipped({**held, "replicas": 9}, met)
    assert not stabilization_flipped(met, met)


def test_a_number_that_appears_or_vanishes_is_news() -> None:
    old = report(running())
    less = copy.deepcopy(old)
    del less["observed"]["ttft"]
    assert numbers_moved(less, old)
    assert numbers_moved(old, less)


def test_too_few_requests_in_the_window_are_judged_by_the_attainment_window() -> None:
    few = metrics(rps=0.1, ttft_s=a_histogram(9.0, total=3), ttft_long_s=a_histogram(0.3, total=2000))
    readings = {reading.slo: reading for reading in read_slos(a_fleet(), few, long=False)}
    assert readings[TTFT].holds
    assert readings[ITL].holds


def test_no_request_is_no_verdict_about_the_slo() -> None:
    status = report(WORLDS["idle"])
    assert (condition(status, "SLOAttained")["status"], condition(status, "SLOAttained")["reason"]) == (
        "Unknown",
        "NoRequests",
    )


def test_the_columns_of_kubectl_get_add_up() -> None:
    summary = report(a_state(a_fleet(rps=60)))["summary"]
    total = summary["reserved"] + summary["onDemand"] + summary["spot"]
    assert total == report(a_state(a_fleet(rps=60)))["replicas"]
    assert float(summary["hourly"]) > 0


def test_gpus_in_two_currencies_have_no_common_one() -> None:
    euro = tuple(
        replace(state, pool=replace(state.pool, currency="EUR", max_gpus=4)) if state.pool.name == "reserved" else state
        for state in three_pools()
    )
    state = a_state(a_fleet(rps=30))
    world = a_snapshot(state, pools=euro)
    pools = {pool.pool.name: pool.pool for pool in euro}
    status = fleet_status(state, plan(world).fleets[0], pools, {}, refusal=None, at_s=NOW_S)
    assert "currency" not in status["cost"]


def test_replicas_that_cannot_start_are_named_with_the_words_of_the_kubelet() -> None:
    pods = replicas("reserved", 3, phase=Phase.FAILED, message="ImagePullBackOff: manifest unknown")
    status = report(a_state(a_fleet(), pods))
    ready = condition(status, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReplicasFailing")
    assert "3 cannot start, reserved-failed-0: ImagePullBackOff: manifest unknown" in ready["message"]
    assert status["pools"][0]["blocked"] == 3


def test_one_failing_replica_among_enough_that_serve_is_told_and_the_fleet_is_ready() -> None:
    status = report(a_state(a_fleet(), replicas("reserved", 3), replicas("reserved", 1, phase=Phase.FAILED)))
    assert condition(status, "Ready")["status"] == "True"
    assert "1 cannot start" in condition(status, "Ready")["message"]


def test_what_was_refused_does_not_look_healthy_in_the_columns() -> None:
    summary = report(running(), refusal="Deployment chat-spot: quota exceeded")["summary"]
    assert (summary["reason"], summary["message"]) == ("ApplyRefused", "Deployment chat-spot: quota exceeded")


def test_the_slo_is_read_over_the_long_window_when_few_values_came_and_unknown_when_none_did() -> None:
    late, early = a_histogram(5.0, total=5), a_histogram(0.3)
    few = read_slos(a_fleet(slos=(TTFT,)), metrics(rps=1, ttft_s=late, ttft_long_s=early), long=False)
    assert few[0].holds, "five late answers are no percentile"
    many = read_slos(a_fleet(slos=(TTFT,)), metrics(rps=1, ttft_s=a_histogram(5.0), ttft_long_s=early), long=False)
    assert not many[0].holds
    none = read_slos(
        a_fleet(slos=(TTFT,)), metrics(rps=0, ttft_s=a_histogram(5.0, total=0), ttft_long_s=late), long=False
    )
    assert none[0].share is None, "yesterday's misses are not today's"


def test_a_pool_may_surge_only_while_it_has_room() -> None:
    def surges(count: int) -> bool:
        decided = plan(
            a_snapshot(a_state(a_fleet(pools=("reserved",)), replicas("reserved", count), seen=metrics(rps=10)))
        )
        [pool] = decided.fleets[0].pools
        assert pool.replicas == count
        return pool.surge

    assert surges(4)
    assert not surges(8), "16 GPUs hold eight replicas of two"
