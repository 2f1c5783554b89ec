"""Pools that do not deliver: marked, left alone for longer and longer, probed, forgiven."""

from __future__ import annotations

from dataclasses import replace

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import CapacityType, Exhaustion, PoolMemory, PoolState
from inferencefleet.domain.snapshot import PlannerSettings
from inferencefleet.planning.pools import (
    LONGEST_BACKOFF_S,
    STATIC_PATIENCE_S,
    WAITS_KEPT,
    is_blocked,
    is_probing,
    judge_exhaustion,
    patience_s,
    remember_deliveries,
)
from tests.builders import NOW_S, a_pool, a_pool_state, replicas

POOL = a_pool("spot", CapacityType.SPOT, provision_p95_s=180.0)
STATE = a_pool_state(POOL)
SETTINGS = PlannerSettings(exhausted_backoff_s=180.0)


def pending(for_s: float) -> tuple[Replica, ...]:
    return replicas("spot", 1, phase=Phase.UNSCHEDULED, since_s=NOW_S - for_s, created_s=NOW_S - for_s)


def judge(before: Exhaustion | None, *pods: Replica) -> Exhaustion | None:
    return judge_exhaustion(a_pool_state(POOL, exhaustion=before), pods, at_s=NOW_S, settings=SETTINGS)


def struck(*, until: float, strikes: int = 1, since: float = -600) -> Exhaustion:
    return Exhaustion(since_s=NOW_S + since, until_s=NOW_S + until, strikes=strikes)


def test_a_replica_is_blocked_only_after_the_p95_of_its_pool() -> None:
    assert not is_blocked(pending(180)[0], POOL, NOW_S)
    assert is_blocked(pending(181)[0], POOL, NOW_S)
    assert not is_blocked(replicas("spot", 1, phase=Phase.STARTING, since_s=0)[0], POOL, NOW_S), "it has a node"


def test_one_blocked_replica_marks_the_pool_for_the_first_back_off() -> None:
    assert judge(None, *pending(181)) == Exhaustion(since_s=NOW_S, until_s=NOW_S + 180, strikes=1)
    assert judge(None, *pending(100)) is None
    assert judge(None) is None


def test_during_the_back_off_nothing_changes_the_verdict() -> None:
    mark = struck(until=1)
    assert judge(mark, *pending(500)) == mark
    assert judge(mark, *replicas("spot", 1, created_s=NOW_S)) == mark
    assert not is_probing(mark, NOW_S)


def test_a_probe_that_is_blocked_doubles_the_back_off_up_to_an_hour() -> None:
    assert judge(struck(until=-1, strikes=2), *pending(181)) == Exhaustion(
        since_s=NOW_S - 600, until_s=NOW_S + 720, strikes=3
    )
    longest = judge(struck(until=-1, strikes=60), *pending(181))
    assert longest is not None
    assert longest.until_s == NOW_S + LONGEST_BACKOFF_S


def test_a_probe_that_gets_a_node_clears_the_mark() -> None:
    mark = struck(until=-1)
    assert is_probing(mark, NOW_S)
    assert judge(mark, *replicas("spot", 1, phase=Phase.STARTING, created_s=NOW_S - 10)) is None


def test_replicas_that_were_there_before_prove_nothing() -> None:
    mark = struck(until=-1)
    assert judge(mark, *replicas("spot", 3, created_s=NOW_S - 3600)) == mark


def test_a_probe_on_its_way_leaves_the_mark_as_it_is() -> None:
    mark = struck(until=-1)
    assert judge(mark, *pending(100)) == mark


def memory(*waits_s: float, strikes: int = 0, recovered: float | None = None) -> PoolMemory:
    return PoolMemory(
        at_s=NOW_S - 15,
        waits=tuple((f"pod-{i}", wait_s) for i, wait_s in enumerate(waits_s)),
        strikes=strikes,
        recovered_s=None if recovered is None else NOW_S + recovered,
    )


def test_patience_is_learned_from_the_waits_that_were_seen() -> None:
    assert patience_s(STATE, memory(40, 42, 44, 46, 50), None) == 75
    assert patience_s(STATE, memory(40, 42, 44, 46), None) == 180, "four waits are too few"
    assert patience_s(STATE, memory(*[170.0] * 9), None) == 180, "never longer than the declared p95"


def test_a_pool_that_always_delivered_within_a_minute_is_left_sooner() -> None:
    quick = memory(*[40.0] * 9)
    state = a_pool_state(POOL)
    assert judge_exhaustion(state, pending(100), at_s=NOW_S, settings=SETTINGS, memory=quick) is not None
    assert judge_exhaustion(state, pending(100), at_s=NOW_S, settings=SETTINGS) is None


def test_a_probe_gets_the_whole_p95_so_that_a_slower_market_can_be_learned() -> None:
    assert patience_s(STATE, memory(*[40.0] * 9), struck(until=-1)) == 180
    assert patience_s(a_pool_state(a_pool()), memory(), struck(until=-1)) == 180, "a reservation as well"


def test_a_reservation_whose_nodes_stand_there_and_that_never_brought_one_is_given_up_soon() -> None:
    reserved = a_pool("reserved", CapacityType.RESERVED, provision_p95_s=180.0)
    assert patience_s(a_pool_state(reserved), memory(), None) == STATIC_PATIENCE_S
    assert patience_s(a_pool_state(reserved, nodes=0), memory(), None) == 180, "its first node may be on its way"
    assert patience_s(a_pool_state(reserved), memory(120.0), None) == 180, "it was seen to bring one"
    quick = a_pool("reserved", CapacityType.RESERVED, provision_p95_s=20.0)
    assert patience_s(a_pool_state(quick), memory(), None) == 20, "never longer than the declared p95"


def test_a_pool_that_is_short_but_not_dry_keeps_its_back_off() -> None:
    """It gave one replica a node since the last strike, and another still waits."""
    got = replicas("spot", 1, phase=Phase.READY, created_s=NOW_S - 700, scheduled_s=NOW_S - 100)
    short = judge(struck(until=-1, strikes=2), *pending(181), *got)
    assert short is not None
    assert short.strikes == 2
    old = replicas("spot", 1, phase=Phase.READY, scheduled_s=NOW_S - 9000)
    dry = judge(struck(until=-1, strikes=2), *pending(181), *old)
    assert dry is not None
    assert dry.strikes == 3


def test_a_pool_that_fails_again_soon_goes_on_where_it_left_off() -> None:
    soon = memory(strikes=3, recovered=-600)
    late = memory(strikes=3, recovered=-7200)
    found = [
        judge_exhaustion(a_pool_state(POOL), pending(181), at_s=NOW_S, settings=SETTINGS, memory=each)
        for each in (soon, late)
    ]
    assert [mark.strikes for mark in found if mark is not None] == [4, 1]


def test_waits_are_counted_once_and_only_those_for_a_node() -> None:
    pods = (
        *replicas("spot", 3, created_s=NOW_S - 60, scheduled_s=NOW_S - 10, prefix="waited"),
        *replicas("spot", 2, created_s=NOW_S - 60, scheduled_s=NOW_S - 59.5, prefix="at-once"),
        *replicas("spot", 2, created_s=NOW_S - 9000, scheduled_s=NOW_S - 8000, prefix="long-ago"),
        *pending(50),
    )
    once = remember_deliveries(memory(), None, None, pods, at_s=NOW_S)
    assert sorted(wait_s for _, wait_s in once.waits) == [50, 50, 50]
    assert remember_deliveries(once, None, None, pods, at_s=NOW_S + 15) == once


def test_after_a_restart_the_pods_that_run_tell_how_long_nodes_took() -> None:
    pods = replicas("spot", 60, created_s=NOW_S - 9000, scheduled_s=NOW_S - 8960)
    found = remember_deliveries(PoolMemory(), None, None, pods, at_s=NOW_S)
    assert len(found.waits) == WAITS_KEPT, "it stays bounded"
    assert {wait_s for _, wait_s in found.waits} == {40.0}


def test_the_end_of_an_exhaustion_is_remembered() -> None:
    found = remember_deliveries(memory(), struck(until=-1, strikes=4), None, (), at_s=NOW_S)
    assert (found.strikes, found.recovered_s) == (4, NOW_S)
    assert remember_deliveries(memory(), struck(until=-1), struck(until=60), (), at_s=NOW_S).recovered_s is None


def taken(state: PoolState) -> Exhaustion | None:
    """Judged one tick after all its nodes were seen in use."""
    names = tuple(node.name for node in state.nodes)
    watched = PoolMemory(at_s=NOW_S - 15, generation=state.pool.generation, nodes=names)
    return judge_exhaustion(state, (), at_s=NOW_S, settings=SETTINGS, memory=watched)


def test_a_market_that_takes_nodes_back_is_exhausted_at_once_and_probed_at_once() -> None:
    found = taken(a_pool_state(POOL, nodes=4, doomed=1))
    assert found == Exhaustion(since_s=NOW_S, until_s=NOW_S, strikes=1)
    assert is_probing(found, NOW_S)
    assert taken(a_pool_state(replace(POOL, capacity_type=CapacityType.RESERVED), nodes=4, doomed=1)) is None


def test_one_node_of_many_that_is_taken_back_is_replaced_where_it_was() -> None:
    assert taken(a_pool_state(POOL, nodes=5, doomed=1)) is None
