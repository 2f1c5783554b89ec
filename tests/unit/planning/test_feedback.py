"""Utilisation follows the share of requests that missed their SLO, slowly, within bounds, and for no other reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet.api.convert import feedback_from_status
from inferencefleet.domain.feedback import Feedback
from inferencefleet.domain.fleet import Fleet, ScalingTerms
from inferencefleet.domain.observation import Histogram
from inferencefleet.domain.plan import Reason
from inferencefleet.planning.feedback import LARGEST_EXCESS, LEAST_LOG, MOST_LOG, STEP_LOG_PER_S, learn_feedback
from tests.builders import GAP, NOW_S, a_fleet, metrics
from tests.unit.planning.test_scenarios import pools
from tests.unit.planning.world import World, a_tp2_fleet

FLEET = a_fleet()
TTFT_TARGET_S = next(slo.target_s for slo in FLEET.slos if slo.metric == "ttft")
ALLOWED = 1 - next(slo.percentile for slo in FLEET.slos if slo.metric == "ttft") / 100
WINDOW_S = 60.0


def a_window(missed: float, total: float = 600.0) -> Histogram:
    bounds = (TTFT_TARGET_S, 10 * TTFT_TARGET_S, float("inf"))
    return Histogram(bounds=bounds, counts=((1 - missed) * total, missed * total, 0.0), total=total, sum=total)


def after(windows: int, missed: float, *, fleet: Fleet = FLEET, short: bool = False, total: float = 600.0) -> Feedback:
    known = Feedback(looked_s=NOW_S)
    seen = metrics(rps=10.0, ttft_s=a_window(missed, total), itl_s=None)
    for number in range(1, windows + 1):
        known = learn_feedback(known, fleet, seen, at_s=NOW_S + number * WINDOW_S, short=short)
    return known


def test_an_hour_without_a_miss_lets_the_plan_count_on_six_percent_more() -> None:
    assert after(60, 0.0).factor == pytest.approx(1.062, abs=0.001)


def test_as_many_misses_as_may_move_nothing() -> None:
    assert after(60, ALLOWED).factor_log == pytest.approx(0.0, abs=1e-9)


def test_more_misses_make_it_more_careful_in_proportion_and_a_disaster_counts_as_ten_times_too_many() -> None:
    twice, all_of_them = after(1, 2 * ALLOWED), after(1, 1.0)
    assert twice.factor_log == pytest.approx(-STEP_LOG_PER_S * WINDOW_S)
    assert all_of_them.factor_log == pytest.approx(-LARGEST_EXCESS * STEP_LOG_PER_S * WINDOW_S)


def test_it_never_leaves_its_bounds() -> None:
    assert after(1000, 0.0).factor_log == MOST_LOG
    assert after(1000, 1.0).factor_log == LEAST_LOG


def test_a_window_counts_once_however_often_it_is_looked_at() -> None:
    seen = metrics(rps=10.0, ttft_s=a_window(0.0), itl_s=None)
    known = Feedback(looked_s=NOW_S)
    for tick in range(1, 9):
        known = learn_feedback(known, FLEET, seen, at_s=NOW_S + 15.0 * tick, short=False)
    assert known.factor_log == pytest.approx(STEP_LOG_PER_S * 2 * WINDOW_S)


def test_misses_for_want_of_gpus_teach_nothing_and_requests_that_kept_it_do() -> None:
    assert after(10, 0.5, short=True).factor_log == 0.0
    assert after(10, 0.0, short=True).factor_log > 0.0


def test_few_values_a_gap_and_a_declared_headroom_change_nothing() -> None:
    assert after(10, 0.5, total=19.0).factor_log == 0.0
    known = Feedback(factor_log=0.05, looked_s=NOW_S)
    assert learn_feedback(known, FLEET, GAP, at_s=NOW_S + 600, short=False) == known
    assert after(10, 0.5, fleet=a_fleet(scaling=ScalingTerms(headroom=0.7))).factor_log == 0.0


def test_after_a_long_silence_one_window_speaks_for_a_few_minutes_only() -> None:
    seen = metrics(rps=10.0, ttft_s=a_window(0.0), itl_s=None)
    later = learn_feedback(Feedback(looked_s=NOW_S), FLEET, seen, at_s=NOW_S + 86_400, short=False)
    assert later.factor_log == pytest.approx(STEP_LOG_PER_S * 300)


def test_a_fleet_that_misses_nothing_needs_fewer_replicas_in_time_and_says_why() -> None:
    world = World([a_tp2_fleet()], pools(), {"chat": 45.0}, without=frozenset())
    before = world.settle(15).sizings[0].planned_requests_per_s
    later = world.settle(120)
    assert later.sizings[0].planned_requests_per_s > 1.1 * before
    step = next(verdict for verdict in later.verdicts if verdict.code is Reason.MEASURED_ATTAINMENT)
    assert step.after is not None
    assert step.after > 1.1
    assert "fewer requests missed their SLO than may" in step.sentence


def test_a_restart_finds_the_factor_in_the_status_and_nothing_in_one_that_was_edited() -> None:
    assert feedback_from_status({"plan": {"attainmentFactor": 0.9}}).factor == pytest.approx(0.9)
    for wrong in ({}, {"plan": None}, {"plan": {"attainmentFactor": "high"}}, {"plan": {"attainmentFactor": -1}}):
        assert feedback_from_status(wrong) == Feedback()


def test_whoever_declares_a_headroom_gets_it_whatever_was_learnt_before() -> None:
    fleet = a_tp2_fleet(scaling=ScalingTerms(max_replicas=40, horizon_s=60.0, headroom=0.5))
    world = World([fleet], pools(), {"chat": 45.0}, without=frozenset())
    world.settle(5)
    world.memory[fleet.key] = replace(world.memory[fleet.key], feedback=Feedback(factor_log=0.1))
    decided = world.tick()
    assert decided.sizings[0].utilisation == 0.5
    assert decided.memory.feedback.factor == 1.0
