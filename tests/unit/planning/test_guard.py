"""Step 5: the ordered guards on the number of replicas."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferencefleet.domain.fleet import ScalingTerms
from inferencefleet.domain.plan import Reason, Verdict
from inferencefleet.planning.guard import GuardContext, run_guards, stabilize
from tests.builders import GAP, NOW_S, a_fleet


def context(
    current: int,
    *history: tuple[float, int],
    gap: bool = False,
    ready: int | None = None,
    up_s: float = 0.0,
    down_s: float = 300.0,
    least: int = 1,
    most: int = 100,
) -> GuardContext:
    """`history` is (seconds ago, replicas)."""
    terms = ScalingTerms(
        min_replicas=least, max_replicas=most, scale_up_stabilization_s=up_s, scale_down_stabilization_s=down_s
    )
    return GuardContext(
        fleet=a_fleet(scaling=terms),
        at_s=NOW_S,
        current=current,
        ready=current if ready is None else ready,
        gap=GAP if gap else None,
        recommendations=tuple((NOW_S - ago, n) for ago, n in history),
    )


def codes(verdicts: tuple[Verdict, ...]) -> list[Reason]:
    return [verdict.code for verdict in verdicts]


def test_without_objection_the_proposal_stands_and_nobody_speaks() -> None:
    assert run_guards(7, context(5, (15, 5))) == (7, ())


def test_a_gap_holds_up_and_never_down() -> None:
    total, verdicts = run_guards(2, context(6, gap=True))
    assert (total, codes(verdicts)) == (6, [Reason.METRICS_MISSING])
    assert verdicts[0].sentence == "Prometheus does not answer; holding 6 replicas"
    assert run_guards(8, context(6, gap=True))[0] == 8


def test_a_gap_before_the_first_replica_serves_is_no_gap() -> None:
    assert run_guards(3, context(3, gap=True, ready=0)) == (3, ())
    assert run_guards(3, context(0, gap=True)) == (3, ())


def test_a_gap_while_nothing_serves_still_never_shrinks() -> None:
    assert run_guards(2, context(6, gap=True, ready=0))[0] == 6


def test_down_goes_to_the_highest_of_the_window() -> None:
    total, verdicts = run_guards(2, context(8, (299, 6), (100, 4), (15, 3)))
    assert (total, codes(verdicts)) == (6, [Reason.STABILIZING])
    assert (verdicts[0].before, verdicts[0].after) == (2, 6)
    assert "300 s" in verdicts[0].sentence


def test_what_left_the_window_is_forgotten() -> None:
    assert run_guards(2, context(8, (300, 8)))[0] == 2


def test_up_goes_to_the_lowest_of_its_own_window() -> None:
    total, verdicts = run_guards(9, context(3, (70, 3), (50, 5), (15, 8), up_s=60))
    assert (total, codes(verdicts)) == (5, [Reason.STABILIZING])


def test_min_and_max_have_the_last_word() -> None:
    assert run_guards(1, context(1, least=3))[0] == 3
    assert codes(run_guards(1, context(1, least=3))[1]) == [Reason.MIN_REPLICAS]
    total, verdicts = run_guards(2, context(9, (15, 9), most=4))
    assert (total, codes(verdicts)) == (4, [Reason.STABILIZING, Reason.MAX_REPLICAS])
    assert "spec.scaling.maxReplicas is 4" in verdicts[-1].sentence


@pytest.mark.parametrize("gap", [True, False])
def test_a_lowered_maximum_counts_in_a_gap_too(gap: bool) -> None:
    assert run_guards(9, context(9, gap=gap, most=4))[0] == 4


def as_kubernetes_does(desired: int, current: int, history: list[tuple[float, int]], up_s: float, down_s: float) -> int:
    """stabilizeRecommendationWithBehaviors of the HorizontalPodAutoscaler, line by line; ages in seconds."""
    up_recommendation = down_recommendation = desired
    for ago, recommendation in history:
        if ago < up_s:
            up_recommendation = min(recommendation, up_recommendation)
        if ago < down_s:
            down_recommendation = max(recommendation, down_recommendation)
    recommendation = current
    recommendation = max(recommendation, up_recommendation)
    return min(recommendation, down_recommendation)


@settings(
    derandomize=True, max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    desired=st.integers(0, 20),
    current=st.integers(0, 20),
    history=st.lists(st.tuples(st.integers(1, 700).map(float), st.integers(0, 20)), max_size=8),
    up_s=st.sampled_from([0.0, 60.0, 300.0]),
    down_s=st.sampled_from([0.0, 60.0, 300.0]),
)
def test_stabilization_is_that_of_the_horizontal_pod_autoscaler(
    desired: int, current: int, history: list[tuple[float, int]], up_s: float, down_s: float
) -> None:
    verdict = stabilize(desired, context(current, *history, up_s=up_s, down_s=down_s))
    ours = desired if verdict is None else verdict.after
    assert ours == as_kubernetes_does(desired, current, history, up_s, down_s)
