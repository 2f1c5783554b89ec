"""All fleets over all pools: who gets what is scarce, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet.domain.fleet import FleetKey, Routing, SpotPolicy, SpotTerms
from inferencefleet.domain.plan import Reason
from inferencefleet.planning.placement import place_all
from tests.unit.planning.claims import (
    HEDGED,
    RESERVED,
    SPOT,
    a_claim,
    an_offer,
    codes,
    survives,
    used,
)

DEADLINE_S = 5.0


def test_fleets_that_are_in_nobodys_way_need_no_solver() -> None:
    offers = [an_offer("reserved", RESERVED, gpus=16), an_offer("on-demand")]
    joint = place_all([a_claim("a", 16, offers), a_claim("b", 20, offers)], offers, deadline_s=DEADLINE_S)
    assert (used(joint, "a"), used(joint, "b")) == ({"reserved": 4}, {"reserved": 5})
    assert (joint.problems, joint.gap, joint.exact) == (0, 0.0, True)
    assert joint.worth_per_gpu_hour == {"reserved": 0.0, "on-demand": 0.0}


def test_a_reserved_pool_goes_to_whoever_would_pay_most_elsewhere() -> None:
    reserved = an_offer("reserved", RESERVED, gpus=4)
    cheap, dear = an_offer("cheap", price=2.0), an_offer("dear", price=9.0)
    claims = [a_claim("a", 16, [reserved, cheap]), a_claim("b", 16, [reserved, dear])]
    joint = place_all(claims, [reserved, cheap, dear], deadline_s=DEADLINE_S)
    assert used(joint, "b") == {"reserved": 4}, "what b saves there is 9 dollars an hour for each GPU"
    assert used(joint, "a") == {"cheap": 4}
    assert Reason.SHARED_POOL in codes(joint, "a")
    assert joint.exact


def test_the_worth_of_one_gpu_more_is_what_it_would_save() -> None:
    reserved, cheap = an_offer("reserved", RESERVED, gpus=6), an_offer("cheap", price=2.0)
    claims = [a_claim("a", 16, [reserved, cheap]), a_claim("b", 16, [reserved, cheap])]
    joint = place_all(claims, [reserved, cheap], deadline_s=DEADLINE_S)
    assert joint.worth_per_gpu_hour["reserved"] == pytest.approx(2.0, rel=0.01)
    assert joint.worth_per_gpu_hour["cheap"] == 0.0, "a pool that is not full is worth nothing more"


def test_a_fleet_moves_aside_so_that_one_that_cannot_move_is_served() -> None:
    small, large = an_offer("small", price=1.0, gpus=4), an_offer("large", price=5.0)
    flexible, bound = a_claim("a", 16, [small, large]), a_claim("b", 16, [small])
    joint = place_all([flexible, bound], [small, large], deadline_s=DEADLINE_S)
    assert (used(joint, "a"), used(joint, "b")) == ({"large": 4}, {"small": 4})


def test_a_higher_priority_is_served_first_however_little_its_requests_are_worth() -> None:
    pool = an_offer("only", gpus=4)
    low = a_claim("a", 16, [pool], shortage_price_per_request_per_s=1e6)
    high = a_claim("b", 16, [pool], priority=1, shortage_price_per_request_per_s=50.0)
    joint = place_all([low, high], [pool], deadline_s=DEADLINE_S)
    assert (used(joint, "a"), used(joint, "b")) == ({}, {"only": 4})
    assert codes(joint, "a")[-2:] == [Reason.PRIORITY, Reason.NOT_ENOUGH_GPUS]
    sentence = joint.placements[low.key].verdicts[-2].sentence
    assert "4 of 4 GPUs of only serve 1 fleet(s) of higher priority, default/b first" in sentence


def test_of_one_priority_the_dearer_shortage_is_served_first() -> None:
    pool = an_offer("only", gpus=4)
    claims = [
        a_claim("a", 16, [pool], shortage_price_per_request_per_s=100.0),
        a_claim("b", 16, [pool], shortage_price_per_request_per_s=900.0),
    ]
    assert used(place_all(claims, [pool], deadline_s=DEADLINE_S), "b") == {"only": 4}


def test_three_priorities_are_served_one_after_the_other() -> None:
    pool = an_offer("only", gpus=9)
    claims = [a_claim(name, 16, [pool], priority=level) for name, level in (("a", 0), ("b", 7), ("c", 100))]
    joint = place_all(claims, [pool], deadline_s=DEADLINE_S)
    assert [used(joint, name) for name in "abc"] == [{"only": 1}, {"only": 4}, {"only": 4}]


def test_a_shortage_says_what_was_wanted_and_a_way_out() -> None:
    pool = an_offer("only", gpus=2)
    joint = place_all([a_claim("a", 16, [pool])], [pool], deadline_s=DEADLINE_S)
    verdict = joint.placements[FleetKey("default", "a")].verdicts[-1]
    assert (verdict.code, verdict.before, verdict.after) == (Reason.NOT_ENOUGH_GPUS, 4, 2)
    assert "2 replicas are worth 8.00 req/s of 16.00" in verdict.sentence
    assert "spec.limits.gpus" in verdict.sentence


def test_a_budget_stops_before_demand_is_met_and_is_named() -> None:
    pool = an_offer("only", price=4.0)
    joint = place_all([a_claim("a", 40, [pool], budget_per_hour=13.0)], [pool], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"only": 3}
    verdict = joint.placements[FleetKey("default", "a")].verdicts[-1]
    assert (verdict.code, verdict.after) == (Reason.BUDGET, 3)
    assert "$13.00/h" in verdict.sentence


def test_a_budget_prefers_more_replicas_in_the_cheaper_list_price() -> None:
    offers = [an_offer("reserved", RESERVED, price=6.0, gpus=8), an_offer("on-demand", price=3.0)]
    joint = place_all([a_claim("a", 16, offers, budget_per_hour=13.0)], offers, deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"on-demand": 4}, "the budget counts list prices, and demand comes before dollars"


def test_the_ceiling_is_named_when_it_is_what_stops_the_plan() -> None:
    pool = an_offer("only")
    joint = place_all([a_claim("a", 40, [pool], ceiling=3)], [pool], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"only": 3}
    assert codes(joint, "a") == [Reason.MAX_REPLICAS]


def test_a_floor_without_room_degrades_and_says_so() -> None:
    pool = an_offer("only", gpus=2)
    joint = place_all([a_claim("a", 1, [pool], floor=5)], [pool], deadline_s=DEADLINE_S)
    verdict = joint.placements[FleetKey("default", "a")].verdicts[-1]
    assert used(joint, "a") == {"only": 2}
    assert verdict.sentence.startswith("2 replicas are fewer than minReplicas=5")


def test_a_plain_service_does_not_mix_a_slow_gpu_into_a_fast_fleet() -> None:
    fast, slow = an_offer("fast", price=4.0, gpus=4), an_offer("slow", price=1.0)
    claim = a_claim("a", 36, [fast, slow], speeds={"fast": 10.0, "slow": 4.0})
    joint = place_all([claim], [fast, slow], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"slow": 9}, "four fast ones cost 16, nine slow ones 9"
    dear = replace(slow, price_per_gpu_hour=2.0, marginal_price_per_gpu_hour=2.0)
    claim = a_claim("a", 36, [fast, dear], speeds={"fast": 10.0, "slow": 4.0})
    assert used(place_all([claim], [fast, dear], deadline_s=DEADLINE_S), "a") == {"fast": 4}


@pytest.mark.parametrize(
    ("routing", "expected"), [(Routing.UNIFORM, {"slow": 9}), (Routing.LOAD_AWARE, {"fast": 3, "slow": 2})]
)
def test_a_gateway_that_knows_loads_may_mix(routing: Routing, expected: dict[str, int]) -> None:
    fast, slow = an_offer("fast", price=1.1, gpus=3), an_offer("slow", price=1.0)
    claim = a_claim("a", 36, [fast, slow], speeds={"fast": 10.0, "slow": 4.0}, routing=routing)
    joint = place_all([claim], [fast, slow], deadline_s=DEADLINE_S)
    assert used(joint, "a") == expected
    sized = joint.placements[claim.key].sized.sentence
    assert ("0.95 x (2 x 4.00 + 3 x 10.00)" in sized) == (routing is Routing.LOAD_AWARE)


def test_a_gpu_that_a_bought_node_has_left_does_not_empty_a_reserved_one() -> None:
    offers = [
        an_offer("on-demand", per_node=2),
        an_offer("reserved", RESERVED, gpus=4, per_node=2),
        an_offer("spot", SPOT, per_node=2),
    ]
    a_third = SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=0.34)
    claim = a_claim("a", 4, offers, floor=7, current={"on-demand": 2, "reserved": 4, "spot": 1}, spot=a_third)
    found = used(place_all([claim], offers, deadline_s=DEADLINE_S), "a")
    assert found == {"reserved": 4, "spot": 2, "on-demand": 1}


def test_nodes_are_bought_whole_and_shared() -> None:
    nodes, single = an_offer("nodes", price=1.0, per_node=8), an_offer("single", price=2.0)
    alone = place_all([a_claim("a", 12, [nodes, single])], [nodes, single], deadline_s=DEADLINE_S)
    assert used(alone, "a") == {"single": 3}, "three GPUs of their own cost 6, a node of eight costs 8"
    claims = [a_claim("a", 12, [nodes, single]), a_claim("b", 12, [nodes, single])]
    both = place_all(claims, [nodes, single], deadline_s=DEADLINE_S)
    assert [used(both, name) for name in "ab"] == [{"nodes": 3}, {"nodes": 3}], "six GPUs of one node cost 8, not 12"


def test_replicas_that_leave_a_node_half_unused_pay_for_what_they_leave() -> None:
    awkward, fitting = an_offer("awkward", price=1.0, per_node=8), an_offer("fitting", price=1.2, per_node=6)
    joint = place_all([a_claim("a", 16, [awkward, fitting], size=3)], [awkward, fitting], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"fitting": 4}, "of eight GPUs two replicas of three use six and pay eight"


def test_a_replica_stays_where_it_runs_until_moving_pays() -> None:
    old, new = an_offer("old", price=2.0), an_offer("new", price=1.5)
    claim = a_claim("a", 16, [old, new], current={"old": 4}, start_cost_hours=0.5)
    joint = place_all([claim], [old, new], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"old": 4}, "a start wastes 0.75 dollars and saves 0.50 an hour"
    assert codes(joint, "a") == [Reason.STAYING]
    cheap = replace(new, price_per_gpu_hour=1.0, marginal_price_per_gpu_hour=1.0)
    assert used(place_all([claim], [old, cheap], deadline_s=DEADLINE_S), "a") == {"new": 4}


def test_a_pool_that_was_lost_lately_must_save_more_before_anybody_returns() -> None:
    old, new = an_offer("old", price=2.0), an_offer("new", SPOT, price=1.0)
    claim = a_claim("a", 16, [old, new], current={"old": 4})
    assert used(place_all([claim], [old, new], deadline_s=DEADLINE_S), "a") == {"new": 4}
    burnt = replace(new, start_cost_hours=1.5)
    assert used(place_all([claim], [old, burnt], deadline_s=DEADLINE_S), "a") == {"old": 4}


def test_never_means_never_even_when_nothing_else_is_left() -> None:
    spot = an_offer("spot", SPOT)
    claim = a_claim("a", 16, [spot], spot=SpotTerms(policy=SpotPolicy.NEVER))
    assert used(place_all([claim], [spot], deadline_s=DEADLINE_S), "a") == {}


def test_spot_takes_no_more_than_its_share() -> None:
    spot, on_demand = an_offer("spot", SPOT), an_offer("on-demand")
    terms = SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=0.5)
    joint = place_all([a_claim("a", 40, [spot, on_demand], spot=terms)], [spot, on_demand], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"spot": 5, "on-demand": 5}
    assert codes(joint, "a") == [Reason.SPOT_LIMIT]


def test_a_hedge_holds_spares_or_moves_off_spot_whichever_is_cheaper() -> None:
    spot, on_demand = an_offer("spot", SPOT, price=1.0), an_offer("on-demand", price=4.0)
    claim = a_claim("a", 40, [spot, on_demand], spot=HEDGED, survive=36.0, losses={"spot": 3})
    joint = place_all([claim], [spot, on_demand], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"spot": 12}, "two spares on spot cost 2, two of ten moved off it cost 6"
    hedge = joint.placements[claim.key].verdicts[-1]
    assert (hedge.code, hedge.before, hedge.after) == (Reason.SPOT_HEDGE, 10, 12)
    assert "loss of 3 replicas of spot at once leaves 36.00 req/s" in hedge.sentence
    capped = replace(claim, need=replace(claim.need, ceiling=10))
    moved = place_all([capped], [spot, on_demand], deadline_s=DEADLINE_S)
    assert used(moved, "a") == {"spot": 1, "on-demand": 9}, "at maxReplicas there are no spares, only other places"
    kept_off = moved.placements[claim.key].verdicts[-1]
    assert (kept_off.code, kept_off.before, kept_off.after) == (Reason.SPOT_HEDGE, 2, 1)
    assert "with one more, the loss of 2 replicas of spot at once would leave 32.00 req/s of 36.00" in kept_off.sentence


def test_a_hedge_that_cannot_hold_is_told() -> None:
    spot = an_offer("spot", SPOT, gpus=10)
    claim = a_claim("a", 40, [spot], spot=HEDGED, survive=36.0, losses={"spot": 3})
    joint = place_all([claim], [spot], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"spot": 10}, "demand comes before the hedge"
    verdict = joint.placements[claim.key].verdicts[-1]
    assert verdict.code is Reason.SPOT_HEDGE
    assert "would leave 28.00 req/s of 36.00" in verdict.sentence


def test_a_hedge_holds_in_mixtures_behind_a_gateway_too() -> None:
    spot, on_demand = an_offer("spot", SPOT, price=1.0), an_offer("on-demand", price=4.0, gpus=3)
    claim = a_claim(
        "a", 40, [spot, on_demand], spot=HEDGED, survive=30.0, losses={"spot": 4},
        speeds={"spot": 4.0, "on-demand": 10.0}, routing=Routing.LOAD_AWARE,
    )  # fmt: skip
    joint = place_all([claim], [spot, on_demand], deadline_s=DEADLINE_S)
    assert survives(claim, [joint.placements[claim.key].replicas[room.pool] for room in claim.rooms])


def test_what_must_stay_stays_even_above_the_limit_of_its_pool() -> None:
    full, other = an_offer("full", gpus=4), an_offer("other")
    claims = [
        replace(a_claim("a", 4, [full, other], keep={"full": 3}), rooms=a_claim("a", 4, [full, other]).rooms),
        a_claim("b", 4, [full, other], keep={"full": 3}),
    ]
    joint = place_all(claims, [full, other], deadline_s=DEADLINE_S)
    assert [used(joint, name)["full"] for name in "ab"] == [3, 3]


def test_thousands_of_gpus_short_is_still_an_answer() -> None:
    pool = an_offer("only", gpus=3)
    claims = [a_claim(f"f{i}", 400, [pool], priority=i % 3) for i in range(20)]
    joint = place_all(claims, [pool], deadline_s=DEADLINE_S)
    assert sum(placement.total for placement in joint.placements.values()) == 3
    first = [key.name for key, placement in joint.placements.items() if placement.total]
    assert all(int(name[1:]) % 3 == 2 for name in first), "the highest priority takes what there is"


def test_without_time_the_greedy_placement_is_what_comes_back_with_its_gap() -> None:
    reserved = an_offer("reserved", RESERVED, gpus=4)
    cheap, dear = an_offer("cheap", price=2.0), an_offer("dear", price=9.0)
    claims = [a_claim("a", 16, [reserved, cheap]), a_claim("b", 16, [reserved, dear])]
    joint = place_all(claims, [reserved, cheap, dear], deadline_s=0.0)
    assert sum(placement.total for placement in joint.placements.values()) == 8
    assert joint.gap > 0.5
    assert not joint.exact


def test_without_demand_the_floor_stands() -> None:
    pool = an_offer("only")
    for floor in (0, 2):
        joint = place_all([a_claim("a", 0, [pool], floor=floor)], [pool], deadline_s=DEADLINE_S)
        assert joint.placements[FleetKey("default", "a")].total == floor


def test_no_room_at_all_places_nothing_and_says_so() -> None:
    full = an_offer("full", gpus=0)
    for offers in ([full], []):
        joint = place_all([a_claim("a", 10, offers)], offers, deadline_s=DEADLINE_S)
        assert (used(joint, "a"), codes(joint, "a")) == ({}, [Reason.NOT_ENOUGH_GPUS])


def test_a_pool_that_serves_nothing_is_not_used() -> None:
    broken, dear = an_offer("broken", RESERVED, gpus=8), an_offer("dear")
    joint = place_all([a_claim("a", 10, [broken, dear], speeds={"broken": 0.0})], [broken, dear], deadline_s=DEADLINE_S)
    assert used(joint, "a") == {"dear": 3}


def test_what_demand_asks_for_is_told_in_full_room_or_not_and_above_the_ceiling_too() -> None:
    """200 requests/s at 4 a replica are 50, of which maxReplicas allows 40 and the pool has room for 3."""
    pool = an_offer("only", gpus=3)
    short = place_all([a_claim("a", 200, [pool], ceiling=40)], [pool], deadline_s=DEADLINE_S)
    (verdict,) = short.placements[FleetKey("default", "a")].verdicts
    assert (verdict.code, verdict.before, verdict.after) == (Reason.NOT_ENOUGH_GPUS, 50, 3)
    floor = place_all([a_claim("a", 8, [pool], floor=5)], [pool], deadline_s=DEADLINE_S)
    (verdict,) = floor.placements[FleetKey("default", "a")].verdicts
    assert (verdict.code, verdict.before, verdict.after) == (Reason.NOT_ENOUGH_GPUS, 5, 3)
    assert "3 replicas are fewer than minReplicas=5" in verdict.sentence


def test_the_number_of_replicas_comes_with_the_sum_that_leads_to_it() -> None:
    offers = [an_offer("reserved", RESERVED, gpus=4), an_offer("spot", SPOT)]
    joint = place_all([a_claim("a", 24, offers)], offers, deadline_s=DEADLINE_S)
    sized = joint.placements[FleetKey("default", "a")].sized
    assert (sized.code, sized.after) == (Reason.SIZED, 6)
    assert sized.sentence.startswith(
        "24.00 req/s at 4.00 planned for a replica, at least 1: 6 replicas, cheapest first: 4 in reserved ($0.00/h more"
    )
    assert "2 in spot ($1.90/h more each)" in sized.sentence
