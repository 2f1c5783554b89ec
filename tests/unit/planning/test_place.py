"""The order in which pools are worth looking at."""

from __future__ import annotations

from inferencefleet.domain.pool import CapacityType
from inferencefleet.planning.place import cheapest_first
from inferencefleet.planning.rooms import Room
from tests.builders import a_room

RESERVED, ON_DEMAND, SPOT = CapacityType.RESERVED, CapacityType.ON_DEMAND, CapacityType.SPOT


def order(*rooms: Room) -> list[str]:
    return [room.pool for room in cheapest_first(rooms)]


def test_reserved_is_free_then_comes_spot_then_on_demand() -> None:
    assert order(a_room("on-demand", ON_DEMAND), a_room("spot", SPOT), a_room("reserved")) == [
        "reserved",
        "spot",
        "on-demand",
    ]


def test_equal_prices_are_ordered_by_name_whatever_the_order_of_the_rooms() -> None:
    rooms = [a_room("b"), a_room("a"), a_room("c")]
    assert order(*rooms) == order(*rooms[::-1]) == ["a", "b", "c"]


def test_dollars_count_by_what_they_serve_and_not_by_the_replica() -> None:
    """Spot at 3.80 for 4 requests/s is dearer than on-demand at 7.80 for 10."""
    assert order(a_room("spot", SPOT, rps=4), a_room("large", ON_DEMAND, rps=10)) == ["large", "spot"]


def test_a_pool_that_serves_nothing_is_left_out() -> None:
    assert order(a_room("broken", rps=0.0), a_room("on-demand", ON_DEMAND)) == ["on-demand"]


def test_of_two_free_pools_the_faster_goes_first_because_a_slow_replica_drags_the_rest_down() -> None:
    assert order(a_room("a-slow", rps=2), a_room("b-fast", rps=10)) == ["b-fast", "a-slow"]
