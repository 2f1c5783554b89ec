"""SkyServe: its request-rate law with delays, and its spot rule over any load law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.domain.observation import Phase
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.laws.skyserve import DELIVERY_S, SkyServeRate, SkyServeSpot, SpotZones
from inferencefleet.simulator.laws.static import Static
from inferencefleet.simulator.policy import ANY, Seen
from tests.builders import NOW_S, a_pool, a_pool_state, replicas, three_pools
from tests.unit.simulator.laws_world import cluster, decide, see

PROFILE = {"reserved": 2.0}


def walk(law: SkyServeRate, rates: list[float], start: int) -> list[int]:
    """Targets at decisions 20 s apart."""
    seen = [
        see(20.0 * index, start, arrivals_per_s=rate, profiled_requests_per_s=PROFILE)
        for index, rate in enumerate(rates)
    ]
    return [decide(law, each)[ANY] for each in seen]


def test_a_higher_target_must_hold_for_300_s() -> None:
    # ceil(9 / 2) = 5; 300 s are 15 decisions.
    history = walk(SkyServeRate(), [9.0] * 20, start=2)
    assert history[13] == 2
    assert history[14] == 5


def test_one_quiet_decision_starts_the_count_anew() -> None:
    history = walk(SkyServeRate(), [9.0] * 14 + [4.0] + [9.0] * 15, start=2)
    assert history[28] == 2
    assert history[29] == 5


def test_a_lower_target_must_hold_for_1200_s() -> None:
    history = walk(SkyServeRate(), [1.0] * 61, start=5)
    assert history[58] == 5
    assert history[59] == 1


def test_an_unknown_rate_counts_neither_way() -> None:
    law = SkyServeRate(upscale_delay_s=40.0)
    assert walk(law, [9.0], start=2) == [2]
    blind = see(20.0, 2, blind=True, profiled_requests_per_s=PROFILE)
    assert decide(law, blind)[ANY] == 2
    assert decide(law, see(40.0, 2, arrivals_per_s=9.0, profiled_requests_per_s=PROFILE))[ANY] == 5


@pytest.mark.parametrize(
    ("target", "spot_ready", "base", "over", "expected"),
    [
        (4, 4, 0, 0, (4, 0)),  # spot is there: on-demand is let go
        (4, 1, 0, 0, (4, 3)),  # three are not ready: three on-demand
        (4, 4, 1, 0, (3, 1)),  # one is always on-demand
        (4, 0, 1, 2, (5, 4)),  # min(4, 1 + 5): never behind the over-provisioned
        (4, 5, 0, 2, (6, 1)),  # over-provision counts as target of spot
        (2, 6, 0, 0, (2, 0)),  # shrinking: more ready than wanted
    ],
)
def test_the_spot_rule_by_hand(target: int, spot_ready: int, base: int, over: int, expected: tuple[int, int]) -> None:
    assert SkyServeSpot(base_ondemand=base, num_overprovision=over).split(target, spot_ready) == expected


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 5), st.integers(0, 5))
def test_ready_spot_and_on_demand_together_reach_the_target(target: int, ready: int, base: int, over: int) -> None:
    spot, on_demand = SkyServeSpot(base_ondemand=base, num_overprovision=over).split(target, ready)
    assert min(ready, spot) + on_demand >= min(target, spot + base)
    assert 0 <= on_demand <= target


def test_what_is_not_spot_is_left_to_the_node_autoscaler() -> None:
    seen = see(0.0, {"reserved": 2}, there=cluster(2))
    # No spot is ready: as many on-demand.
    assert decide(SkyServeSpot(Static(replicas=12)), seen, three_pools()) == {"spot": 12, ANY: 12}


def test_when_spot_is_ready_the_rest_is_given_back() -> None:
    there = replicas("spot", 12) + replicas("reserved", 8) + replicas("on-demand", 4)
    seen = see(0.0, {"spot": 12, ANY: 12}, there=there)
    assert decide(SkyServeSpot(Static(replicas=12)), seen, three_pools()) == {"spot": 12, ANY: 0}


def test_without_a_spot_pool_it_is_the_load_law_alone() -> None:
    only = (a_pool_state(a_pool("on-demand", CapacityType.ON_DEMAND)),)
    assert decide(SkyServeSpot(Static(replicas=5)), see(0.0, {"on-demand": 3}), only) == {ANY: 5}


class Watching:
    """A load law that keeps what it saw."""

    def __init__(self) -> None:
        self.saw: list[Seen] = []

    def targets(self, seen: Seen, sight: object) -> dict[str, int]:
        self.saw.append(seen)
        return {ANY: 4}


def test_the_load_law_sees_its_own_number_and_not_the_double_of_the_fallback() -> None:
    load = Watching()
    law = SkyServeSpot(load)
    there = replicas("spot", 4, phase=Phase.UNSCHEDULED) + replicas("on-demand", 4)
    for at_s in (0.0, 20.0):
        decide(law, see(at_s, {"spot": 4, ANY: 4}, there=there), three_pools())
    assert load.saw[1].wanted == {ANY: 4}
    assert [replica.pool for replica in load.saw[1].replicas] == ["on-demand"] * 4


TWO_ZONES = (
    a_pool("zone-a", CapacityType.SPOT, price_per_gpu_hour=1.9),
    a_pool("zone-b", CapacityType.SPOT, price_per_gpu_hour=2.1),
    a_pool("zone-c", CapacityType.SPOT, price_per_gpu_hour=2.3),
)


def test_spot_replicas_are_spread_and_the_cheapest_zone_has_the_odd_one() -> None:
    assert SpotZones().split(4, TWO_ZONES, (), now_s=NOW_S) == {"zone-a": 2, "zone-b": 1, "zone-c": 1}


def test_a_zone_that_loses_a_replica_gets_no_new_one_until_one_is_ready_there_again() -> None:
    zones = SpotZones()
    doomed = replicas("zone-a", 1, doomed=True)
    rest = replicas("zone-b", 1) + replicas("zone-c", 1)
    assert zones.split(3, TWO_ZONES, doomed + rest, now_s=NOW_S) == {"zone-a": 0, "zone-b": 2, "zone-c": 1}
    assert zones.split(3, TWO_ZONES, rest, now_s=NOW_S) == {"zone-a": 0, "zone-b": 2, "zone-c": 1}
    back = rest + replicas("zone-a", 1, prefix="new")
    assert zones.split(4, TWO_ZONES, back, now_s=NOW_S) == {"zone-a": 2, "zone-b": 1, "zone-c": 1}


def test_with_one_zone_left_in_front_all_are_in_front_again() -> None:
    zones = SpotZones()
    gone = replicas("zone-a", 1, doomed=True) + replicas("zone-b", 1, doomed=True)
    assert zones.split(3, TWO_ZONES, gone, now_s=NOW_S) == {"zone-a": 1, "zone-b": 1, "zone-c": 1}


def test_a_zone_that_does_not_deliver_within_20_minutes_moves_back() -> None:
    late = replicas("zone-a", 1, phase=Phase.UNSCHEDULED, created_s=NOW_S - DELIVERY_S - 1)
    assert SpotZones().split(2, TWO_ZONES, late, now_s=NOW_S) == {"zone-a": 0, "zone-b": 1, "zone-c": 1}


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_overprovision=-1"):
        SkyServeSpot(num_overprovision=-1)
    with pytest.raises(ValueError, match=r"load_factor=0"):
        SkyServeRate(load_factor=0)
