"""Step 4: the cheapest pools first."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inferencefleet.domain.fleet import SpotPolicy, SpotTerms
from inferencefleet.domain.plan import Reason
from inferencefleet.domain.pool import CapacityType
from inferencefleet.planning.place import Need, Placement, cheapest_first, place
from inferencefleet.planning.rooms import Room
from tests.builders import a_room

RESERVED, ON_DEMAND, SPOT = CapacityType.RESERVED, CapacityType.ON_DEMAND, CapacityType.SPOT
ANY = SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=1.0)
HALF = SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=0.5)
HEDGED = SpotTerms(policy=SpotPolicy.HEDGED, max_fraction=0.5)


def three(*, reserved: int = 4, spot: int = 8, on_demand: int = 8) -> list[Room]:
    return [
        a_room("on-demand", ON_DEMAND, most=on_demand),
        a_room("reserved", RESERVED, most=reserved),
        a_room("spot", SPOT, most=spot),
    ]


def need(rps: float, *, floor: int = 1, ceiling: int = 100, survive: float = 0.0, **keep: int) -> Need:
    return Need(requests_per_s=rps, survival_requests_per_s=survive, floor=floor, ceiling=ceiling, keep=keep)


def used(placement: Placement) -> Mapping[str, int]:
    return {pool: n for pool, n in placement.replicas.items() if n}


def codes(placement: Placement) -> list[Reason]:
    return [verdict.code for verdict in placement.verdicts]


def test_reserved_is_free_then_comes_spot_then_on_demand() -> None:
    assert [room.pool for room in cheapest_first(three())] == ["reserved", "spot", "on-demand"]
    placement = place(need(50), three(), ANY)
    assert used(placement) == {"reserved": 4, "spot": 8, "on-demand": 1}
    assert codes(placement) == [Reason.POOL_LIMIT, Reason.POOL_LIMIT]


def test_what_fits_into_the_cheapest_pool_needs_no_explanation() -> None:
    placement = place(need(16), three(), ANY)
    assert used(placement) == {"reserved": 4}
    assert placement.verdicts == ()


def test_equal_prices_are_ordered_by_name_whatever_the_order_of_the_rooms() -> None:
    rooms = [a_room("b"), a_room("a"), a_room("c")]
    assert used(place(need(8), rooms, ANY)) == used(place(need(8), rooms[::-1], ANY)) == {"a": 2}


def test_spot_takes_no_more_than_its_share() -> None:
    placement = place(need(48), three(reserved=2), HALF)
    assert used(placement) == {"reserved": 2, "spot": 6, "on-demand": 4}
    assert Reason.SPOT_LIMIT in codes(placement)


def test_never_means_never() -> None:
    placement = place(need(48), three(reserved=2, on_demand=4), SpotTerms(policy=SpotPolicy.NEVER))
    assert used(placement) == {"reserved": 2, "on-demand": 4}
    assert codes(placement)[-1] is Reason.NOT_ENOUGH_GPUS


def test_a_shortage_says_what_was_wanted_what_there_is_and_a_way_out() -> None:
    placement = place(need(100), three(reserved=1, spot=1, on_demand=1), ANY)
    shortage = placement.verdicts[-1]
    assert shortage.code is Reason.NOT_ENOUGH_GPUS
    assert (shortage.before, shortage.after) == (25, 3)
    assert "3 replicas are worth 12.00 req/s of 100.00" in shortage.sentence
    assert "spec.limits.gpus" in shortage.sentence


def test_the_ceiling_is_named_when_it_is_what_stops_the_plan() -> None:
    placement = place(need(100, ceiling=5), three(), ANY)
    assert placement.total == 5
    assert codes(placement)[-1] is Reason.MAX_REPLICAS


def test_no_room_at_all_places_nothing_and_says_so() -> None:
    assert codes(place(need(10), three(reserved=0, spot=0, on_demand=0), ANY)) == [Reason.NOT_ENOUGH_GPUS]
    assert codes(place(need(10), [], ANY)) == [Reason.NOT_ENOUGH_GPUS]


def test_without_demand_the_floor_stands() -> None:
    assert place(need(0, floor=2), three(), ANY).total == 2
    assert place(need(0, floor=0), three(), ANY).total == 0


def test_a_pool_that_serves_nothing_is_not_used() -> None:
    rooms = [a_room("broken", rps=0.0), a_room("on-demand", ON_DEMAND)]
    placement = place(need(10), rooms, ANY)
    assert placement.replicas == {"broken": 0, "on-demand": 3}


def test_slow_gpus_that_would_lower_the_worth_of_the_whole_are_passed_over() -> None:
    rooms = [a_room("fast", most=4, rps=10), a_room("slow", ON_DEMAND, rps=2)]
    placement = place(need(60), rooms, ANY)
    assert used(placement) == {"fast": 4}
    assert codes(placement) == [Reason.NOT_ENOUGH_GPUS]


def test_a_price_of_zero_counts_as_free() -> None:
    gift = a_room("gift", SPOT)
    assert cheapest_first([gift, a_room("od", ON_DEMAND)])[0] is gift


def test_a_hedge_adds_what_survives_the_loss_of_a_spot_node() -> None:
    placement = place(need(24, survive=20), three(reserved=3), HEDGED)
    # 3 reserved and 3 spot: one node holds all three, so two more have to stand elsewhere.
    assert used(placement) == {"reserved": 3, "spot": 3, "on-demand": 2}
    hedge = next(verdict for verdict in placement.verdicts if verdict.code is Reason.SPOT_HEDGE)
    assert (hedge.before, hedge.after) == (6, 8)
    assert "20.00 req/s" in hedge.sentence


@pytest.mark.parametrize("total", [8, 9, 10])
def test_the_hedge_survives_placing_a_fixed_number_again(total: int) -> None:
    placement = place(need(24, survive=20, floor=total, ceiling=total), three(reserved=3), HEDGED)
    assert placement.total == total
    assert 4.0 * (total - min(placement.replicas["spot"], 4)) >= 20


def test_a_hedge_without_room_elsewhere_takes_what_there_is() -> None:
    placement = place(need(24, survive=20), three(reserved=3, on_demand=0), HEDGED)
    assert used(placement) == {"reserved": 3, "spot": 3}


def test_what_is_kept_stays_where_it_is_as_far_as_there_is_room() -> None:
    assert used(place(need(16, floor=4, spot=4), three(), ANY)) == {"spot": 4}
    assert used(place(need(16, floor=4, spot=9), three(spot=2), ANY)) == {"spot": 2, "reserved": 2}


def test_of_two_free_pools_the_faster_goes_first_because_a_slow_replica_drags_the_rest_down() -> None:
    rooms = [a_room("a-slow", rps=2), a_room("b-fast", rps=10)]
    assert used(place(need(30), rooms, ANY)) == {"b-fast": 3}


def test_a_floor_that_no_pool_can_hold_is_what_is_told() -> None:
    placement = place(need(1, floor=4), [a_room("reserved", RESERVED, most=2)], ANY)
    shortage = placement.verdicts[-1]
    assert (shortage.code, shortage.before, shortage.after) == (Reason.NOT_ENOUGH_GPUS, 4, 2)
    assert shortage.sentence.startswith("2 replicas are fewer than minReplicas=4 and no pool has room for more")


def test_the_number_of_replicas_comes_with_the_sum_that_leads_to_it() -> None:
    sized = place(need(24), three(), ANY).sized
    assert (sized.code, sized.after) == (Reason.SIZED, 6)
    assert sized.sentence.startswith(
        "24.00 req/s at 4.00 planned for a replica, at least 1: 6 replicas, cheapest first"
    )
    assert "4 in reserved ($0.00/h more each), 2 in spot" in sized.sentence
