"""The HorizontalPodAutoscaler's arithmetic, on the worked examples of its page and of its controller's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.simulator.laws.hpa import (
    Behavior,
    Hpa,
    PolicyType,
    RatePolicy,
    Rules,
    SelectPolicy,
    from_average_value,
    from_pods,
    from_value,
)

DEFAULTS = Behavior()
PODS_4 = RatePolicy(PolicyType.PODS, 4, 60.0)
PERCENT_10 = RatePolicy(PolicyType.PERCENT, 10, 60.0)


def walk(hpa: Hpa, proposals: list[int | None], *, start: int, least: int = 1, most: int = 100) -> list[int]:
    """What it sets at each sync, 15 s apart."""
    current, history = start, []
    for index, proposal in enumerate(proposals):
        current = hpa.step(15.0 * index, current=current, proposals=[proposal], least=least, most=most)
        history.append(current)
    return history


def downwards(*policies: RatePolicy, select: SelectPolicy = SelectPolicy.MAX) -> Hpa:
    return Hpa(Behavior(down=Rules(stabilization_s=0.0, policies=policies, select=select)))


def test_a_metric_at_twice_its_target_doubles_and_at_half_halves() -> None:
    # The page: 200m against 100m doubles, 50m halves. Four pods are ready.
    assert from_value(200, 100, current=4, ready=4, behavior=DEFAULTS) == 8
    assert from_value(50, 100, current=4, ready=4, behavior=DEFAULTS) == 2


def test_a_ratio_within_ten_percent_changes_nothing() -> None:
    assert from_value(110, 100, current=4, ready=4, behavior=DEFAULTS) == 4
    assert from_value(111, 100, current=4, ready=4, behavior=DEFAULTS) == 5  # ceil(4 x 1.11)
    assert from_value(90, 100, current=4, ready=4, behavior=DEFAULTS) == 4


def test_an_average_value_is_of_all_pods_and_does_not_multiply_them() -> None:
    # 58 waiting, 10 for each pod, 2 pods: 58 / 20 is outside the tolerance, ceil(58 / 10) = 6. KAITO's page shows it.
    assert from_average_value(58, 10, replicas=2, behavior=DEFAULTS) == 6
    # 58 on 6 pods is 0.97 of the target: no change.
    assert from_average_value(58, 10, replicas=6, behavior=DEFAULTS) == 6


def test_one_replica_more_than_ten_is_within_the_tolerance() -> None:
    assert from_average_value(10, 1, replicas=9, behavior=DEFAULTS) == 10
    assert from_average_value(11, 1, replicas=10, behavior=DEFAULTS) == 10


def test_pods_without_a_sample_damp_in_both_directions() -> None:
    # Up: 2 pods at 200 of 100, 1 missing counts 0: ratio 400 / 300 = 1.33, ceil(1.33 x 3) = 4 and not 2 x 3 = 6.
    up = from_pods({"a": 200, "b": 200}, 100, current=3, missing=1, unready=0, behavior=DEFAULTS)
    assert up == 4
    # Down: 2 pods at 20, 1 missing counts 100: 140 / 300 = 0.47, ceil(0.47 x 3) = 2 and not ceil(0.2 x 2) = 1.
    down = from_pods({"a": 20, "b": 20}, 100, current=3, missing=1, unready=0, behavior=DEFAULTS)
    assert down == 2


def test_pods_that_are_pending_count_as_idle_only_when_the_fleet_grows() -> None:
    # 2 pods at 150, 1 pending: 300 / 300 = 1.0, within the tolerance. What comes is enough.
    assert from_pods({"a": 150, "b": 150}, 100, current=3, missing=0, unready=1, behavior=DEFAULTS) == 3
    # Shrinking, they are not looked at: ceil(0.2 x 2) = 1.
    assert from_pods({"a": 20, "b": 20}, 100, current=3, missing=0, unready=1, behavior=DEFAULTS) == 1


def test_a_ratio_that_missing_pods_turn_round_changes_nothing() -> None:
    # 1 pod at 120, 2 missing count 0: 120 / 300 = 0.4 would shrink what was to grow.
    assert from_pods({"a": 120}, 100, current=3, missing=2, unready=0, behavior=DEFAULTS) == 3


def test_no_sample_at_all_is_no_proposal() -> None:
    assert from_pods({}, 100, current=3, missing=3, unready=0, behavior=DEFAULTS) is None


def test_eighty_replicas_shrink_by_a_tenth_then_by_four_as_the_page_says() -> None:
    # Percent 10 and Pods 4 in 60 s, Max. 80 -> 72 (8), then 72 x 0.9 = 64.8 -> 64 (8), 64 -> 57, 57 -> 51, 51 -> 45,
    # 45 -> 40, and from 40 down 4 at a time.
    hpa, current, seen = downwards(PODS_4, PERCENT_10), 80, [80]
    for minute in range(8):
        current = hpa.step(60.0 * minute, current=current, proposals=[10], least=1, most=100)
        seen.append(current)
    assert seen == [80, 72, 64, 57, 51, 45, 40, 36, 32]


def test_within_the_period_nothing_more_is_removed() -> None:
    assert walk(downwards(PODS_4), [10] * 5, start=80) == [76, 76, 76, 76, 72]


def test_select_policy_min_takes_the_smaller_change_and_disabled_none() -> None:
    pods_5 = RatePolicy(PolicyType.PODS, 5, 60.0)
    assert walk(downwards(PERCENT_10, pods_5, select=SelectPolicy.MIN), [10], start=80) == [75]
    assert walk(downwards(PERCENT_10, select=SelectPolicy.DISABLED), [10] * 9, start=80) == [80] * 9


def test_the_default_way_up_is_four_pods_or_double_in_15_s() -> None:
    assert walk(Hpa(DEFAULTS), [50, 50, 50, 50, 50], start=1) == [5, 10, 20, 40, 50]


def test_a_spec_without_behavior_grows_to_four_or_double_at_once() -> None:
    # Not the same as the default block: max(2 x 1, 4) = 4, then 8, 16, 32.
    assert walk(Hpa(None), [50, 50, 50, 50], start=1) == [4, 8, 16, 32]


def test_the_way_down_waits_until_the_highest_proposal_is_300_s_old() -> None:
    history = walk(Hpa(DEFAULTS), [8] + [2] * 21, start=4)
    assert history[:2] == [8, 8]
    assert history[19] == 8  # 285 s after the proposal of 8
    assert history[20] == 2  # 300 s after it: 100 % may go at once


def test_the_way_up_waits_until_no_lower_proposal_is_in_its_window() -> None:
    up = Rules(stabilization_s=60.0, policies=(RatePolicy(PolicyType.PODS, 2, 120.0),))
    # Wants 8 from 15 s on; the last proposal below is of 0 s, so it moves at 60 s: by 2 of the 4 asked, and 2 more
    # when 120 s have passed.
    history = walk(Hpa(Behavior(up=up)), [4] + [8] * 13, start=4)
    assert history[3] == 4
    assert history[4] == 6
    assert history[11] == 6
    assert history[12] == 8


def test_a_dip_in_the_up_window_starts_it_anew() -> None:
    up = Rules(stabilization_s=60.0, policies=(RatePolicy(PolicyType.PODS, 10, 15.0),))
    assert walk(Hpa(Behavior(up=up)), [8, 8, 8, 4, 8, 8, 8, 8], start=4) == [4, 4, 4, 4, 4, 4, 4, 8]


def test_with_a_metric_missing_it_may_grow_and_not_shrink() -> None:
    hpa = Hpa(Behavior(down=Rules(stabilization_s=0.0, policies=(PODS_4,))))
    assert hpa.step(0.0, current=4, proposals=[2, None], least=1, most=10) == 4
    assert hpa.step(15.0, current=4, proposals=[6, None], least=1, most=10) == 6
    assert hpa.step(30.0, current=6, proposals=[None, None], least=1, most=10) == 6


def test_of_several_metrics_the_largest_counts() -> None:
    assert Hpa(DEFAULTS).step(0.0, current=4, proposals=[2, 6, 5], least=1, most=10) == 6


def test_outside_the_bounds_it_returns_to_them_whatever_the_metric_says() -> None:
    assert Hpa(DEFAULTS).step(0.0, current=12, proposals=[30], least=2, most=8) == 8
    assert Hpa(DEFAULTS).step(0.0, current=1, proposals=[None], least=2, most=8) == 2


def test_between_two_syncs_nothing_happens() -> None:
    hpa = Hpa(DEFAULTS)
    assert hpa.step(0.0, current=4, proposals=[4], least=1, most=10) == 4
    assert hpa.step(10.0, current=4, proposals=[8], least=1, most=10) == 4
    assert hpa.step(15.0, current=4, proposals=[8], least=1, most=10) == 8


@given(
    proposals=st.lists(st.one_of(st.none(), st.integers(0, 60)), min_size=1, max_size=40),
    start=st.integers(0, 50),
    plain=st.booleans(),
)
def test_it_never_leaves_the_bounds_and_never_moves_without_a_metric(
    proposals: list[int | None], start: int, plain: bool
) -> None:
    hpa, current = Hpa(None if plain else DEFAULTS), start
    for index, proposal in enumerate(proposals):
        after = hpa.step(15.0 * index, current=current, proposals=[proposal], least=2, most=30)
        assert 2 <= after <= 30
        if proposal is None and 2 <= current <= 30:
            assert after == current
        current = after


def test_it_ends_where_the_genuine_controller_ended_with_min_policies_and_no_stabilization() -> None:
    # The HorizontalPodAutoscaler controller of Kubernetes 1.36.3, given these proposals 15 s apart, set these sizes.
    behavior = Behavior(
        up=Rules(
            stabilization_s=0.0,
            policies=(RatePolicy(PolicyType.PERCENT, 10, 60.0), RatePolicy(PolicyType.PODS, 1, 15.0)),
            select=SelectPolicy.MIN,
        ),
        down=Rules(
            stabilization_s=0.0,
            policies=(RatePolicy(PolicyType.PODS, 33, 60.0), RatePolicy(PolicyType.PERCENT, 50, 15.0)),
        ),
    )
    proposals = [31, 28, 32, 32, 32, 31, 29, 31, 28, 28, 30, 32, 28, 32, 28, 28, 32, 32, 30, 3, 7, 5, 3, 3, 3, 7, 45]
    sizes = [30, 28, 29, 30, 30, 30, 29, 30, 28, 28, 29, 30, 28, 29, 28, 28, 29, 30, 30, 3, 4, 5, 3, 3, 3, 4, 4]
    history = walk(Hpa(behavior), [30, *proposals], start=30, least=2, most=30)
    assert history[1:] == sizes


def test_it_ends_where_the_genuine_controller_ended_with_windows_both_ways() -> None:
    behavior = Behavior(
        up=Rules(
            stabilization_s=45.0,
            policies=(RatePolicy(PolicyType.PODS, 25, 120.0), RatePolicy(PolicyType.PODS, 4, 15.0)),
            select=SelectPolicy.MIN,
        ),
        down=Rules(
            stabilization_s=60.0,
            policies=(
                RatePolicy(PolicyType.PODS, 7, 120.0),
                RatePolicy(PolicyType.PERCENT, 50, 120.0),
                RatePolicy(PolicyType.PERCENT, 25, 120.0),
                RatePolicy(PolicyType.PERCENT, 21, 15.0),
            ),
        ),
    )
    proposals = [6, 8, 54, 54, 53, 54, 54, 13, 11, 12, 11, 44, 43, 45, 42, 43, 46, 46, 42, 47, 48, 46, 46, 49, 50, 47]
    proposals += [49, 49, 10, 8, 5, 5, 6, 5, 5, 5, 5, 5, 5, 6, 9, 28, 24, 56, 58, 56]
    sizes = [13, 13, 13, 13, 17, 21, 24, 24, 24, 24, 13, 13, 13, 17, 21, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24]
    sizes += [24, 24, 24, 24, 24, 12, 9, 7, 6, 6, 5, 5, 5, 5, 5, 6, 9, 13, 17, 21]
    history = walk(Hpa(behavior), [13, *proposals], start=13, least=2, most=24)
    assert history[1:] == sizes


def test_a_sync_period_of_zero_is_refused_with_the_rule() -> None:
    with pytest.raises(ValueError, match=r"interval_s=0.*more than 0"):
        Hpa(DEFAULTS, sync_s=0.0)
