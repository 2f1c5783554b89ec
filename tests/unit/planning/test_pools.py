"""Pools that do not deliver: marked, left alone for longer and longer, probed, forgiven."""

from __future__ import annotations

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import Exhaustion
from inferencefleet.domain.snapshot import PlannerSettings
from inferencefleet.planning.pools import LONGEST_BACKOFF_S, is_blocked, is_probing, judge_exhaustion
from tests.builders import NOW_S, a_pool, a_pool_state, replicas

POOL = a_pool("spot", provision_p95_s=180.0)
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
