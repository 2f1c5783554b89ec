"""Step 5: the ordered guards on the number of replicas."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.fleet import (
    FallbackBehavior,
    FallbackTerms,
    RatePolicy,
    RateRules,
    RateSelect,
    RateUnit,
    ScalingTerms,
)
from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.guards import GUARDS, GuardContext, Guarded, affordable, remember_change, run_guards
from tests.builders import GAP, NOW_S, a_fleet

Ago = tuple[float, int]
"""(seconds ago, replicas or change of replicas)."""


def context(
    current: int,
    *history: Ago,
    gap: bool = False,
    ready: int | None = None,
    changes: tuple[Ago, ...] = (),
    terms: dict[str, Any] | None = None,
    budget: float | None = None,
    **seen: Any,
) -> GuardContext:
    """`history` are recommendations, `changes` scale events, `seen` what the context says of traffic and money."""
    return GuardContext(
        fleet=a_fleet(scaling=ScalingTerms(**(terms or {})), most_per_hour=budget),
        at_s=NOW_S,
        current=current,
        ready=current if ready is None else ready,
        gap=GAP if gap else None,
        recommendations=tuple((NOW_S - ago, n) for ago, n in history),
        scale_events=tuple((NOW_S - ago, n) for ago, n in changes),
        **seen,
    )


def pods(value: int, period_s: float = 60.0) -> RatePolicy:
    return RatePolicy(unit=RateUnit.PODS, value=value, period_s=period_s)


def percent(value: int, period_s: float = 60.0) -> RatePolicy:
    return RatePolicy(unit=RateUnit.PERCENT, value=value, period_s=period_s)


def codes(guarded: Guarded) -> list[Reason]:
    return [verdict.code for verdict in guarded.verdicts]


def said(guarded: Guarded, code: Reason) -> Verdict:
    return next(verdict for verdict in guarded.verdicts if verdict.code is code)


def test_without_objection_the_proposal_stands_and_nobody_speaks() -> None:
    assert run_guards(7, context(5)) == Guarded(total=7, recommended=7, verdicts=())


# ---- metrics missing --------------------------------------------------------------------------------------


def test_a_gap_holds_up_and_never_down() -> None:
    held = run_guards(2, context(6, gap=True))
    assert (held.total, codes(held)) == (6, [Reason.METRICS_MISSING])
    assert held.verdicts[0].sentence == "Prometheus does not answer; holding 6 replicas"
    assert run_guards(8, context(6, gap=True)).total == 8


def test_what_is_held_in_a_gap_is_what_the_windows_remember() -> None:
    assert run_guards(2, context(6, gap=True)).recommended == 6


def test_a_gap_before_the_first_replica_serves_is_no_gap() -> None:
    assert codes(run_guards(3, context(3, gap=True, ready=0))) == []
    assert codes(run_guards(3, context(0, gap=True))) == []


def test_a_gap_while_nothing_serves_still_never_shrinks() -> None:
    assert run_guards(2, context(6, gap=True, ready=0)).total == 6


def test_the_fallback_may_hold_whatever_the_declared_traffic_needs() -> None:
    terms = {"fallback": FallbackTerms(behavior=FallbackBehavior.CURRENT)}
    held = run_guards(9, context(6, gap=True, terms=terms))
    assert (held.total, held.verdicts[0].sentence) == (6, "Prometheus does not answer; holding 6 replicas")


def test_a_static_fallback_raises_to_its_number_and_does_not_shrink_to_it() -> None:
    terms = {"fallback": FallbackTerms(behavior=FallbackBehavior.STATIC, replicas=8)}
    raised = run_guards(2, context(6, gap=True, terms=terms))
    assert (raised.total, codes(raised)) == (8, [Reason.METRICS_MISSING])
    assert "spec.scaling.fallback.replicas is 8, and there are 6" in raised.verdicts[0].sentence
    assert run_guards(2, context(11, gap=True, terms=terms)).total == 11


def test_a_fallback_is_not_asked_while_metrics_are_there() -> None:
    terms = {"fallback": FallbackTerms(behavior=FallbackBehavior.STATIC, replicas=8), "scale_down_stabilization_s": 0}
    assert run_guards(2, context(6, terms=terms)).total == 2


# ---- tolerance and windows --------------------------------------------------------------------------------


def test_a_change_within_the_declared_tolerance_is_none_and_is_remembered_as_none() -> None:
    terms = {"up": RateRules(tolerance=0.1), "down": RateRules(tolerance=0.2)}
    quiet = run_guards(22, context(20, terms=terms))
    assert (quiet.total, quiet.recommended, codes(quiet)) == (20, 20, [Reason.WITHIN_TOLERANCE])
    assert "22 are 10.0% from the 20 there are" in quiet.verdicts[0].sentence
    assert run_guards(23, context(20, terms=terms)).total == 23
    assert run_guards(16, context(20, terms=terms)).total == 20
    assert run_guards(15, context(20, terms=terms)).total == 15


def test_without_a_declared_tolerance_every_replica_counts() -> None:
    assert run_guards(101, context(100, terms={"max_replicas": 200})).total == 101


def test_down_goes_to_the_highest_of_the_window() -> None:
    held = run_guards(2, context(8, (299, 6), (100, 4), (15, 3)))
    assert (held.total, codes(held)) == (6, [Reason.STABILIZING])
    assert (held.verdicts[0].before, held.verdicts[0].after) == (2, 6)
    assert "300 s" in held.verdicts[0].sentence


def test_what_left_the_window_is_forgotten() -> None:
    assert run_guards(2, context(8, (300, 8))).total == 2


def test_up_goes_to_the_lowest_of_its_own_window() -> None:
    held = run_guards(9, context(3, (70, 3), (50, 5), (15, 8), terms={"scale_up_stabilization_s": 60.0}))
    assert (held.total, codes(held)) == (5, [Reason.STABILIZING])


def test_the_windows_remember_what_was_wanted_and_not_what_they_made_of_it() -> None:
    assert run_guards(2, context(8, (15, 6))).recommended == 2


# ---- rate policies ----------------------------------------------------------------------------------------


def test_without_a_policy_a_fleet_grows_at_once() -> None:
    assert run_guards(90, context(1)).total == 90


def test_at_most_so_many_replicas_are_added_in_a_period() -> None:
    terms = {"up": RateRules(policies=(pods(4),))}
    limited = run_guards(20, context(10, terms=terms))
    assert (limited.total, codes(limited)) == (14, [Reason.RATE_LIMITED])
    assert "spec.scaling.behavior.scaleUp: 4 replicas in 60 s" in limited.verdicts[0].sentence
    assert run_guards(20, context(10, changes=((59, 3),), terms=terms)).total == 11, "three were added already"
    assert run_guards(20, context(10, changes=((60, 3),), terms=terms)).total == 14, "that was another period"
    assert run_guards(20, context(10, changes=((30, 9),), terms=terms)).total == 10, "never away from the wish"


def test_percentages_count_from_the_start_of_the_period() -> None:
    terms = {"down": RateRules(policies=(percent(50, 300.0),)), "scale_down_stabilization_s": 0}
    assert run_guards(1, context(8, terms=terms)).total == 4
    assert run_guards(1, context(5, changes=((100, -3),), terms=terms)).total == 4, "half of the eight there were"


def test_the_most_cautious_or_the_boldest_policy_counts_as_selected() -> None:
    both = (pods(1), percent(100))
    assert run_guards(30, context(10, terms={"up": RateRules(policies=both)})).total == 20
    assert run_guards(30, context(10, terms={"up": RateRules(policies=both, select=RateSelect.MIN)})).total == 11


def test_a_disabled_direction_stays_where_it_is_and_the_other_moves() -> None:
    terms = {"down": RateRules(select=RateSelect.DISABLED), "scale_down_stabilization_s": 0}
    held = run_guards(2, context(6, terms=terms))
    assert (held.total, codes(held)) == (6, [Reason.RATE_LIMITED])
    assert "scaleDown: selectPolicy is Disabled" in held.verdicts[0].sentence
    assert run_guards(9, context(6, terms=terms)).total == 9


def test_the_limits_hold_whatever_a_rate_policy_allows() -> None:
    terms = {"min_replicas": 5, "up": RateRules(policies=(pods(1),))}
    assert run_guards(5, context(1, terms=terms)).total == 5, "a floor is a floor"


def test_changes_are_forgotten_when_no_policy_looks_back_that_far() -> None:
    scaling = ScalingTerms(up=RateRules(policies=(pods(4, 120.0),)), down=RateRules(policies=(pods(4, 30.0),)))
    events = ((NOW_S - 121, 1), (NOW_S - 119, 2), (NOW_S - 15, -1))
    kept = remember_change(events, at_s=NOW_S, change=3, scaling=scaling, cooling_s=60.0)
    assert kept == ((NOW_S - 119, 2), (NOW_S - 15, -1), (NOW_S, 3))
    assert remember_change(events, at_s=NOW_S, change=0, scaling=ScalingTerms(), cooling_s=0.0) == ()


# ---- cooling and backlog ----------------------------------------------------------------------------------


def test_right_after_growing_nothing_is_removed() -> None:
    terms = {"scale_down_stabilization_s": 0}
    held = run_guards(3, context(9, changes=((20, 4),), cooling_s=60.0, terms=terms))
    assert (held.total, codes(held)) == (9, [Reason.COOLING_DOWN])
    assert "grew 20 s ago" in held.verdicts[0].sentence
    assert "for another 40 s" in held.verdicts[0].sentence
    assert run_guards(3, context(9, changes=((60, 4),), cooling_s=60.0, terms=terms)).total == 3
    assert run_guards(3, context(9, changes=((20, -4),), cooling_s=60.0, terms=terms)).total == 3
    assert run_guards(12, context(9, changes=((20, 4),), cooling_s=60.0, terms=terms)).total == 12


def test_a_backlog_is_worked_off_before_anything_is_removed() -> None:
    terms = {"scale_down_stabilization_s": 0}
    held = run_guards(3, context(9, backlog_requests=41.0, terms=terms))
    assert (held.total, codes(held)) == (9, [Reason.BACKLOG_DRAIN])
    assert "41 requests are still to be worked off; keeping 9 replicas" in held.verdicts[0].sentence
    assert run_guards(3, context(9, terms=terms)).total == 3


def test_while_requests_wait_no_fewer_replicas_stay_than_can_take_what_arrives() -> None:
    terms = {"scale_down_stabilization_s": 0}
    busy = {"arrivals_per_s": 25.0, "capacity_per_s": 4.0}
    held = run_guards(3, context(9, waiting_requests=2.0, terms=terms, **busy))
    assert (held.total, codes(held)) == (7, [Reason.BACKLOG_DRAIN])
    assert run_guards(3, context(9, terms=terms, **busy)).total == 3, "nobody waits"
    assert run_guards(8, context(9, waiting_requests=2.0, terms=terms, **busy)).total == 8, "eight can take it"
    assert run_guards(3, context(5, waiting_requests=2.0, terms=terms, **busy)).total == 5, "a guard does not add"


# ---- limits and money -------------------------------------------------------------------------------------


def test_min_and_max_have_the_last_word() -> None:
    raised = run_guards(1, context(1, terms={"min_replicas": 3}))
    assert (raised.total, codes(raised)) == (3, [Reason.MIN_REPLICAS])
    cut = run_guards(2, context(9, (15, 9), terms={"max_replicas": 4}))
    assert (cut.total, codes(cut)) == (4, [Reason.STABILIZING, Reason.MAX_REPLICAS])
    assert "spec.scaling.maxReplicas is 4" in cut.verdicts[-1].sentence


@pytest.mark.parametrize("gap", [True, False])
def test_a_lowered_maximum_counts_in_a_gap_too(gap: bool) -> None:
    assert run_guards(9, context(9, gap=gap, terms={"max_replicas": 4})).total == 4


def test_money_cuts_everything_but_the_floor() -> None:
    cut = run_guards(9, context(9, backlog_requests=10.0, budget=20.0, affordable=5))
    assert (cut.total, codes(cut)) == (5, [Reason.BUDGET])
    assert cut.verdicts[0].sentence == "9 are wanted, the budget of 20.00 an hour pays for 5"
    kept = run_guards(9, context(9, budget=20.0, affordable=5, terms={"min_replicas": 7}))
    assert (kept.total, codes(kept)) == (7, [Reason.BUDGET])
    assert "raise spec.budget or lower minReplicas" in kept.verdicts[0].sentence


def test_a_budget_pays_for_the_replicas_that_would_be_taken_first() -> None:
    assert affordable(10.0, [2.0, 2.0, 3.0, 3.0, 1.0]) == 4
    assert affordable(0.3, [0.1, 0.1, 0.1]) is None, "exactly enough, although binary fractions say 0.30000000000000004"
    assert affordable(1.0, [2.0]) == 0
    assert affordable(None, [2.0]) is None


# ---- the chain --------------------------------------------------------------------------------------------


def test_the_order_of_the_chain_is_part_of_its_meaning() -> None:
    assert [guard.__name__ for guard in GUARDS] == [
        "without_metrics", "tolerate", "stabilize", "limit_rate", "cool_down", "keep_for_backlog",
        "at_least_min", "at_most_max", "within_budget",
    ]  # fmt: skip


anything = st.integers(0, 40)
rules = st.builds(
    RateRules,
    select=st.sampled_from(RateSelect),
    policies=st.lists(
        st.builds(RatePolicy, unit=st.sampled_from(RateUnit), value=st.integers(1, 200), period_s=st.just(60.0)),
        max_size=2,
    ).map(tuple),
    tolerance=st.one_of(st.none(), st.floats(0, 0.5)),
)
ago = st.tuples(st.floats(0, 700), st.integers(-9, 9))
contexts = st.builds(
    lambda current, history, changes, gap, least, room, up, down, fallback, backlog, money: context(
        current,
        *((seconds, abs(n)) for seconds, n in history),
        gap=gap,
        changes=tuple(changes),
        terms={"min_replicas": least, "max_replicas": least + room, "up": up, "down": down, "fallback": fallback},
        backlog_requests=backlog,
        cooling_s=60.0,
        affordable=money,
    ),
    anything, st.lists(ago, max_size=4), st.lists(ago, max_size=4), st.booleans(), st.integers(1, 5),
    st.integers(0, 30), rules, rules, st.builds(FallbackTerms, behavior=st.sampled_from(FallbackBehavior)),
    st.sampled_from([0.0, 3.0]), st.one_of(st.none(), anything),
)  # fmt: skip


@settings(derandomize=True, max_examples=300, deadline=None)
@given(proposed=anything, at=contexts)
def test_the_outcome_is_always_within_the_limits_and_told_without_a_gap(proposed: int, at: GuardContext) -> None:
    guarded, scaling = run_guards(proposed, at), at.fleet.scaling
    assert scaling.min_replicas <= guarded.total <= scaling.max_replicas
    told = [proposed, *(int(verdict.after or 0) for verdict in guarded.verdicts)]
    assert told[-1] == guarded.total
    assert [int(verdict.before or 0) for verdict in guarded.verdicts] == told[:-1], "each step starts where one ended"


@settings(derandomize=True, max_examples=300, deadline=None)
@given(proposed=anything, at=contexts)
def test_while_metrics_are_missing_only_a_limit_makes_a_fleet_smaller(proposed: int, at: GuardContext) -> None:
    guarded, scaling = run_guards(proposed, at), at.fleet.scaling
    if at.gap is not None:
        paid = scaling.max_replicas if at.affordable is None else max(at.affordable, scaling.min_replicas)
        assert guarded.total >= min(at.current, scaling.max_replicas, paid)
