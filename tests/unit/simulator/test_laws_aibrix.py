"""AIBrix: stable and panic windows, and the cheapest mix of GPU types."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.laws.aibrix_cost import AibrixCost, Offer, cheapest_mix
from inferencefleet.simulator.laws.aibrix_kpa import AibrixKpa
from inferencefleet.simulator.policy import ANY
from tests.builders import a_pool, a_pool_state, replicas, three_pools
from tests.unit.simulator.laws_world import cluster, decide, fleet, pods, see


def walk(law: AibrixKpa, usage: list[float], start: int) -> list[int]:
    """Replicas after each reconciliation, 10 s apart, at that KV cache usage of each pod; new pods share the load."""
    current, history = start, []
    for index, each in enumerate(usage):
        seen = see(10.0 * index, current, samples=pods(current, kv_cache_usage=each), there=cluster(current))
        current = decide(law, seen)[ANY]
        history.append(current)
    return history


def test_the_sum_over_the_pods_is_divided_by_the_target() -> None:
    # 4 x 0.7 = 2.8 against 0.5: ceil(5.6) = 6. 5.6 / 4 = 1.4 is below the panic threshold.
    assert walk(AibrixKpa(), [0.7], start=4) == [6]


def test_ten_percent_around_the_target_change_nothing() -> None:
    assert walk(AibrixKpa(), [0.54] * 5, start=4) == [4] * 5
    assert walk(AibrixKpa(down_cooldown_s=0.0), [0.46] * 5, start=4) == [4] * 5


def test_it_at_most_doubles_and_at_most_halves_at_once() -> None:
    assert walk(AibrixKpa(target=0.1), [0.9], start=3) == [6]
    assert walk(AibrixKpa(down_cooldown_s=0.0), [0.01], start=8) == [4]


def test_a_panic_never_shrinks_and_ends_a_stable_window_after_the_surge() -> None:
    # 0.9 of 0.3: ceil(2.7 / 0.3) = 9 on 3 pods is 3 times: panic, doubled to 6. Then idle: the panic window's mean is
    # below the threshold at once, and 180 s later it is over.
    history = walk(AibrixKpa(target=0.3, down_cooldown_s=0.0), [0.9] + [0.0] * 25, start=3)
    assert history[0] == 6
    assert history[1:19] == [6] * 18
    assert history[-1] < 6


def test_the_way_down_waits_for_the_largest_of_300_s() -> None:
    history = walk(AibrixKpa(), [0.5] + [0.02] * 34, start=4)
    assert history[29] == 4
    # Stable windows pull the number down by and by; the first 4 is 300 s old at the 31st reconciliation.
    assert history[34] < 4


def test_it_holds_when_there_is_nothing_to_read() -> None:
    assert decide(AibrixKpa(), see(0.0, 4, blind=True))[ANY] == 4
    assert decide(AibrixKpa(), see(0.0, 4, there=cluster(starting=4)))[ANY] == 4


def test_a_panic_window_longer_than_the_stable_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"panic_window_s=60.*stable_window_s=30"):
        AibrixKpa(stable_window_s=30.0)


def offer(rate: float, cost: float, room: int = 10) -> Offer:
    return Offer(requests_per_s=rate, cost_per_hour=cost, room=room)


def test_a_mix_beats_either_gpu_alone() -> None:
    # 5 requests/s: big takes 4 for $10, small 1 for $3. 2 big = $20, 5 small = $15, 1 big + 1 small = $13.
    offers = {"big": offer(4, 10.0), "small": offer(1, 3.0)}
    assert cheapest_mix(offers, 5.0, least=0) == {"big": 1, "small": 1}


def test_what_is_paid_already_comes_first_and_its_room_is_kept() -> None:
    offers = {"reserved": offer(2, 0.0, room=3), "on-demand": offer(2, 8.0)}
    assert cheapest_mix(offers, 9.0, least=0) == {"reserved": 3, "on-demand": 2}


def test_of_mixes_at_one_price_it_takes_the_one_with_fewer_replicas() -> None:
    assert cheapest_mix({"a": offer(1, 0.0), "b": offer(4, 0.0)}, 4.0, least=0) == {"a": 0, "b": 1}


def test_too_little_room_has_no_mix() -> None:
    assert cheapest_mix({"a": offer(1, 1.0, room=2)}, 5.0, least=0) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=3),
    st.integers(0, 40),
)
def test_no_enumerated_mix_is_cheaper(kinds: list[tuple[int, int, int]], rate: int) -> None:
    offers = {f"gpu-{index}": offer(*each) for index, each in enumerate(kinds)}
    costs = [
        sum(count * cost for count, (_, cost, _) in zip(counts, kinds, strict=True))
        for counts in itertools.product(*(range(room + 1) for _, _, room in kinds))
        if sum(count * speed for count, (speed, _, _) in zip(counts, kinds, strict=True)) >= rate
    ]
    mix = cheapest_mix(offers, float(rate), least=0)
    if not costs:
        assert mix is None
    else:
        assert mix is not None
        assert sum(mix[name] * offers[name].cost_per_hour for name in offers) == min(costs)


PROFILE = {"reserved": 2.0, "on-demand": 2.0, "spot": 2.0}


def test_the_pools_are_filled_by_what_they_cost_up_to_their_limits() -> None:
    # 16 GPUs each at 2 a replica: 8 replicas reserved at $0, the rest on spot at 1.9 and not on on-demand at 3.9.
    seen = see(0.0, {"reserved": 2}, there=cluster(2), arrivals_per_s=22.0, profiled_requests_per_s=PROFILE)
    law = AibrixCost()
    assert decide(law, seen, three_pools()) == {"reserved": 8, "on-demand": 0, "spot": 3}


def test_without_by_pool_one_gpu_type_is_one_deployment() -> None:
    seen = see(0.0, {"reserved": 2}, there=cluster(2), arrivals_per_s=22.0, profiled_requests_per_s=PROFILE)
    assert decide(AibrixCost(by_pool=False), seen, three_pools()) == {ANY: 11}


def test_the_rate_is_the_mean_of_240_s() -> None:
    law, pools = AibrixCost(), (a_pool_state(a_pool("reserved", max_gpus=64)),)
    history = []
    for index in range(26):
        rate = 20.0 if index == 0 else 2.0
        seen = see(10.0 * index, {"reserved": 2}, arrivals_per_s=rate, profiled_requests_per_s={"reserved": 2.0})
        history.append(decide(law, seen, pools)["reserved"])
    assert history[0] == 10
    assert history[23] == 2  # (20 + 23 x 2) / 24 = 2.75
    assert history[24] == 1  # the burst is 240 s old


def test_more_than_all_pools_hold_takes_all_and_the_fleets_maximum_is_obeyed() -> None:
    seen = see(0.0, {"reserved": 2}, arrivals_per_s=500.0, profiled_requests_per_s=PROFILE, who=fleet(1, 20))
    # 8 in each pool, 20 at most: the dearest pool, on-demand, gives 4.
    assert decide(AibrixCost(), seen, three_pools()) == {"reserved": 8, "on-demand": 4, "spot": 8}


def test_before_anything_is_known_it_keeps_what_is_there() -> None:
    there = replicas("reserved", 2) + replicas("spot", 1)
    seen = see(0.0, {"reserved": 2, "spot": 1}, there=there, blind=True, profiled_requests_per_s=PROFILE)
    assert decide(AibrixCost(), seen, three_pools()) == {"reserved": 2, "on-demand": 0, "spot": 1}


def test_a_pool_without_a_profile_is_not_offered() -> None:
    pools = (
        a_pool_state(a_pool("reserved")),
        a_pool_state(a_pool("tiny", CapacityType.ON_DEMAND, price_per_gpu_hour=0.1)),
    )
    seen = see(0.0, {"reserved": 1}, arrivals_per_s=3.0, profiled_requests_per_s={"reserved": 2.0})
    assert decide(AibrixCost(), seen, pools) == {"reserved": 2}
