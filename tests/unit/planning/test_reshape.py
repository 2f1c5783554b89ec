"""From a placement to what each Deployment asks for now."""

from __future__ import annotations

from inferencefleet.domain.observation import Phase
from inferencefleet.domain.plan import Reason
from inferencefleet.planning.reshape import Step, reshape, victims
from inferencefleet.planning.rooms import Census
from tests.builders import NOW_S, replicas


def steps(needed: int | None = None, **pools: tuple[int, int, Census]) -> dict[str, Step]:
    """Each pool as (placed, asked for now, what is there)."""
    placed = {name: pool[0] for name, pool in pools.items()}
    return dict(
        reshape(
            placed,
            {name: pool[1] for name, pool in pools.items()},
            {name: pool[2] for name, pool in pools.items()},
            needed=sum(placed.values()) if needed is None else needed,
        )
    )


def wanted(found: dict[str, Step]) -> dict[str, int]:
    return {name: step.replicas for name, step in found.items()}


def test_a_pool_grows_at_once() -> None:
    found = steps(a=(7, 2, Census(ready=2)))
    assert found["a"] == Step(replicas=7, verdict=None)


def test_less_demand_lets_serving_replicas_go_at_once() -> None:
    assert wanted(steps(a=(2, 5, Census(ready=5)))) == {"a": 2}


def test_a_move_waits_until_the_new_ones_serve() -> None:
    waiting = steps(a=(0, 4, Census(ready=4)), b=(4, 0, Census()))
    assert wanted(waiting) == {"a": 4, "b": 4}
    assert waiting["a"].verdict is not None
    assert waiting["a"].verdict.code is Reason.WAITING_FOR_REPLACEMENT
    assert "keeps 4 replicas where 0 are wanted" in waiting["a"].verdict.sentence
    assert wanted(steps(a=(0, 4, Census(ready=4)), b=(4, 4, Census(ready=1, starting=3)))) == {"a": 3, "b": 4}
    assert wanted(steps(a=(0, 3, Census(ready=3)), b=(4, 4, Census(ready=4)))) == {"a": 0, "b": 4}


def test_a_spare_replica_is_given_up_only_once() -> None:
    found = steps(a=(0, 3, Census(ready=3)), b=(0, 3, Census(ready=3)), c=(4, 4, Census(ready=4)))
    assert sum(wanted(found).values()) == 4
    found = steps(a=(0, 3, Census(ready=3)), b=(0, 3, Census(ready=3)), c=(4, 4, Census(ready=1)))
    assert wanted(found) == {"a": 0, "b": 3, "c": 4}


def test_replicas_that_start_are_not_given_up_for_one_that_starts_later() -> None:
    probing = steps(spot=(1, 0, Census()), standby=(3, 4, Census(starting=4)))
    assert wanted(probing) == {"spot": 1, "standby": 4}
    bound = steps(spot=(1, 1, Census(starting=1)), standby=(3, 4, Census(starting=4)))
    assert wanted(bound) == {"spot": 1, "standby": 4}
    serving = steps(spot=(1, 1, Census(ready=1)), standby=(3, 4, Census(starting=4)))
    assert wanted(serving) == {"spot": 1, "standby": 3}


def test_replicas_without_a_node_or_that_failed_go_first() -> None:
    assert wanted(steps(a=(2, 5, Census(ready=2, unscheduled=2, failed=1)))) == {"a": 2}
    assert wanted(steps(spot=(0, 3, Census(blocked=3)), b=(4, 1, Census(ready=1)))) == {"b": 4, "spot": 0}


def test_nothing_that_serves_goes_while_no_pool_has_room_for_what_is_needed() -> None:
    found = steps(needed=4, a=(0, 4, Census(ready=4)), b=(0, 0, Census()))
    assert wanted(found) == {"a": 4, "b": 0}


def test_doomed_replicas_are_asked_for_on_top() -> None:
    found = steps(a=(4, 4, Census(ready=2, doomed=2)))
    assert wanted(found) == {"a": 6}
    assert found["a"].verdict is not None
    assert found["a"].verdict.code is Reason.REPLACING_DOOMED
    assert "2 replicas in a are on nodes that go away" in found["a"].verdict.sentence


def test_doomed_replicas_are_let_go_when_enough_others_serve_and_none_starts_beside_them() -> None:
    assert wanted(steps(a=(4, 6, Census(ready=4, doomed=2)))) == {"a": 4}
    assert wanted(steps(a=(4, 6, Census(ready=4, starting=1, doomed=2)))) == {"a": 6}


def test_a_pool_that_shrinks_never_grows_on_the_way() -> None:
    assert wanted(steps(a=(1, 4, Census(ready=5, doomed=2)), b=(6, 0, Census())))["a"] <= 4


def test_victims_are_doomed_then_lonely_then_young() -> None:
    pods = (
        *replicas("a", 3, node="full", created_s=NOW_S - 900, prefix="old"),
        *replicas("a", 1, node="lonely", created_s=NOW_S - 5000, prefix="alone"),
        *replicas("a", 1, node="full", created_s=NOW_S - 100, prefix="young"),
        *replicas("a", 1, node="dying", created_s=NOW_S - 9000, doomed=True, prefix="doomed"),
        *replicas("a", 1, phase=Phase.STARTING),
        *replicas("b", 1),
    )
    assert victims(pods, "a")[:3] == ("a-doomed-0", "a-alone-0", "a-young-0")
    assert len(victims(pods, "a")) == 6
