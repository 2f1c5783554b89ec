"""Every change of the number of replicas is told once, with where it began and where it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.control.report.history import history, newest_change
from inferencefleet.domain.plan import FleetPlan
from inferencefleet.domain.snapshot import FleetState
from inferencefleet.planning.plan import plan
from tests.builders import NOW_S, a_fleet, a_snapshot, a_state, a_workload

TOLD_3 = {"replicas": 3, "history": [{"from": 0, "to": 3}]}


def running(*workloads: tuple[str, int]) -> FleetState:
    return replace(a_state(a_fleet()), workloads=tuple(a_workload(pool, count) for pool, count in workloads))


def planned(replicas: int, **changes: Any) -> FleetPlan:
    """A plan that wants so many in the first pool, and none elsewhere."""
    made = plan(a_snapshot(a_state(a_fleet()))).fleets[0]
    pools = tuple(replace(pool, replicas=0 if index else replicas) for index, pool in enumerate(made.pools))
    return replace(made, pools=pools, **changes)


def tell(reported: dict[str, Any], state: FleetState, decided: FleetPlan, **kwargs: Any) -> tuple[int, int] | None:
    told = history(
        reported, state, decided, refused=kwargs.get("refused", False),
        unreadable=kwargs.get("unreadable", ()), at_s=NOW_S,
    )  # fmt: skip
    return newest_change(reported, {"history": told})


@pytest.mark.parametrize(
    ("reported", "running_now", "wanted", "change"),
    [
        pytest.param({}, 0, 3, (0, 3), id="the first"),
        pytest.param(TOLD_3, 3, 5, (3, 5), id="growth"),
        pytest.param(TOLD_3, 3, 3, None, id="nothing changes"),
        pytest.param({}, 3, 3, (0, 3), id="the operator died before it told the first one"),
        pytest.param(TOLD_3, 5, 5, (3, 5), id="the operator died before it told"),
        pytest.param(TOLD_3, 4, 5, (3, 5), id="the operator died when half was done"),
        pytest.param(TOLD_3, 2, 1, (3, 1), id="the operator died when half of a decrease was done"),
        pytest.param(TOLD_3, 10, 3, (10, 3), id="a person scaled up and is overruled"),
        pytest.param(TOLD_3, 1, 3, (1, 3), id="a person scaled down and is overruled"),
    ],
)
def test_a_change_is_told_from_where_it_began(
    reported: dict[str, Any], running_now: int, wanted: int, change: tuple[int, int] | None
) -> None:
    assert tell(reported, running((planned(1).pools[0].pool, running_now)), planned(wanted)) == change


def test_what_the_api_server_refuses_is_no_change() -> None:
    assert tell(TOLD_3, running((planned(1).pools[0].pool, 3)), planned(5), refused=True) is None


def test_a_plan_that_is_only_shown_changes_nothing() -> None:
    assert tell(TOLD_3, running((planned(1).pools[0].pool, 3)), planned(5, act=False)) is None


def test_replicas_in_an_unknown_pool_are_told_when_they_go_and_not_on_every_tick_before() -> None:
    known = planned(1).pools[0].pool
    before = running((known, 3), ("gone", 2))
    told = {"replicas": 5, "history": [{"from": 3, "to": 5}]}
    assert tell(told, before, planned(3)) is None
    assert tell(told, before, planned(3, retire=("gone",))) == (5, 3)


def test_replicas_in_a_pool_that_cannot_be_read_stay_and_nothing_is_told() -> None:
    known = planned(1).pools[0].pool
    told = {"replicas": 5, "history": [{"from": 3, "to": 5}]}
    assert (
        tell(told, running((known, 3), ("blurred", 2)), planned(3, retire=("blurred",)), unreadable={"blurred"}) is None
    )
