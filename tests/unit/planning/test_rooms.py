"""How many replicas a pool can take, and who holds what."""

from __future__ import annotations

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import Phase
from inferencefleet.domain.plan import Reason
from inferencefleet.domain.pool import Exhaustion
from inferencefleet.planning.rooms import UNLIMITED, Census, Ledger, Room, census, room
from tests.builders import NOW_S, a_pool, a_pool_state, a_sizing, replicas

A, B = FleetKey("default", "a"), FleetKey("default", "b")
EMPTY = Census()
POOL = a_pool("spot", max_gpus=16)


def a_room_for(
    counted: Census = EMPTY, *, free: int | None = 16, until: float | None = None, strikes: int = 1, size: int = 2
) -> Room:
    exhaustion = None if until is None else Exhaustion(since_s=NOW_S - 500, until_s=NOW_S + until, strikes=strikes)
    return room(a_sizing(POOL, size=size), a_pool_state(POOL), counted, exhaustion, free_gpus=free, at_s=NOW_S)


def test_a_fleet_may_hold_what_others_leave_of_the_limit_its_own_included() -> None:
    ledger = Ledger(limits={"spot": 16, "endless": None})
    ledger.hold(A, "spot", 6)
    ledger.hold(B, "spot", 4)
    assert ledger.free_for(A, "spot") == 12
    assert ledger.free_for(B, "spot") == 10
    assert ledger.free_for(A, "endless") is None


def test_a_limit_that_was_lowered_below_use_leaves_nothing_rather_than_less() -> None:
    ledger = Ledger(limits={"spot": 4})
    ledger.hold(B, "spot", 10)
    assert ledger.free_for(A, "spot") == 0


def test_every_replica_is_counted_once() -> None:
    pods = (
        *replicas("spot", 2),
        *replicas("spot", 1, phase=Phase.STARTING),
        *replicas("spot", 1, phase=Phase.FAILED),
        *replicas("spot", 1, phase=Phase.UNSCHEDULED, since_s=NOW_S),
        *replicas("spot", 1, phase=Phase.UNSCHEDULED, since_s=0),
        *replicas("spot", 1, doomed=True),
        *replicas("spot", 1, phase=Phase.TERMINATING),
        *replicas("spot", 1, phase=Phase.TERMINATING, doomed=True),
        *replicas("elsewhere", 5),
    )
    counted = census(pods, a_pool_state(POOL), NOW_S)
    assert counted == Census(ready=2, starting=1, failed=1, unscheduled=1, blocked=1, doomed=1, terminating=2)
    assert (counted.bound, counted.alive) == (4, 7)


def test_room_is_whole_replicas() -> None:
    assert a_room_for(free=7).most == 3
    assert a_room_for(free=1).most == 0
    assert a_room_for(free=None).most == UNLIMITED
    assert a_room_for(free=7).limited_by is Reason.POOL_LIMIT
    assert "7 GPUs for this fleet, enough for 3 replicas of 2" in a_room_for(free=7).limit_sentence


def test_doomed_replicas_hold_their_gpus_until_they_are_gone() -> None:
    assert a_room_for(Census(ready=6, doomed=2), free=16).most == 6


def test_nothing_grows_into_gpus_that_are_still_draining() -> None:
    assert a_room_for(Census(ready=5, terminating=2), free=16).most == 6
    assert a_room_for(Census(ready=8, terminating=2), free=16).most == 8, "what is there does not make way"
    assert a_room_for(Census(terminating=9), free=16).most == 0


def test_an_exhausted_pool_takes_no_more_than_it_has_delivered() -> None:
    shut = a_room_for(Census(ready=2, starting=1, unscheduled=3), until=90, strikes=2)
    assert shut.most == 3
    assert shut.limited_by is Reason.POOL_EXHAUSTED
    assert "2 time(s)" in shut.limit_sentence
    assert "next probe in 90 s" in shut.limit_sentence


def test_after_the_back_off_it_may_be_probed_with_one_more_which_is_no_capacity_yet() -> None:
    for counted, until in ((Census(ready=2), 0.0), (Census(), -900.0)):
        tried = a_room_for(counted, until=until)
        assert (tried.most, tried.probe) == (counted.bound, True)
    assert not a_room_for(Census(ready=2), until=1).probe, "the back-off is not over"
    assert not a_room_for(Census(ready=8), until=0).probe, "its limit is full"
    assert not a_room_for(Census(ready=2)).probe, "it delivers"


def test_the_limit_binds_before_exhaustion_when_it_is_lower() -> None:
    full = a_room_for(Census(ready=8), until=90)
    assert (full.most, full.limited_by) == (8, Reason.POOL_LIMIT)


def test_a_free_pool_costs_nothing_at_the_margin_and_a_node_holds_at_least_one_replica() -> None:
    assert a_room_for().replicas_per_node == 4
    assert a_room_for(size=16).replicas_per_node == 1
    free = room(a_sizing(a_pool("r")), a_pool_state(a_pool("r")), Census(), None, free_gpus=None, at_s=NOW_S)
    assert free.dollars_per_request_per_s == 0
