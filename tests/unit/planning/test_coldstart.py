"""How long a new replica takes to serve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import PoolState
from inferencefleet.planning.coldstart import expected_cold_start_s
from tests.builders import NOW_S, a_pool, a_pool_state, a_sizing, replicas

POOL = a_pool("spot", provision_p50_s=60.0, provision_p95_s=180.0)
EMPTY = a_pool_state(POOL, nodes=0)


def expected(*pods: Replica, state: PoolState = EMPTY, starting_s: float | None = 90.0) -> float:
    return expected_cold_start_s(state, pods, a_sizing(POOL).shape, starting_s=starting_s, alike={"spot", "same-gpu"})


def served(pool: str = "spot", *, wait: float, load: float, count: int = 1) -> tuple[Replica, ...]:
    created = NOW_S - 9000
    return replicas(
        pool,
        count,
        created_s=created,
        scheduled_s=created + wait,
        since_s=created + wait + load,
        prefix=f"{wait}-{load}",
    )


def test_without_experience_the_priors_are_summed() -> None:
    assert expected() == 60 + 90


def test_free_gpus_on_nodes_save_the_wait_for_a_node() -> None:
    assert expected(state=a_pool_state(POOL, nodes=1)) == 90


def test_free_gpus_on_a_node_that_goes_away_or_is_cordoned_save_nothing() -> None:
    assert expected(state=a_pool_state(POOL, nodes=1, doomed=1)) == 60 + 90
    (node,) = a_pool_state(POOL, nodes=1).nodes
    assert expected(state=PoolState(pool=POOL, nodes=(replace(node, schedulable=False),))) == 60 + 90


def test_physics_is_asked_when_no_prior_is_set() -> None:
    assert 60 + 10 < expected(starting_s=None) < 60 + 1800


def test_measured_waits_and_loads_outweigh_the_priors_as_they_gather() -> None:
    """One start says most of it, with a margin for how little one says; many say it all."""
    one, many = expected(*served(wait=40, load=120)), expected(*served(wait=40, load=120, count=20))
    assert many == pytest.approx(160)
    assert 160 < one < 1.2 * 160


def test_one_odd_start_among_few_does_not_rule() -> None:
    usual = served(wait=40, load=100, count=2)
    assert expected(*usual) < expected(*usual, *served(wait=40, load=400)) < 40 + 300


def test_a_prior_that_was_wildly_wrong_is_left_behind_soon() -> None:
    assert expected(*served(wait=40, load=100, count=3), starting_s=900.0) < 0.5 * (40 + 900)


def test_loads_are_learned_in_every_pool_of_the_same_gpu_and_waits_only_in_this_one() -> None:
    assert expected(*served("same-gpu", wait=500, load=120, count=10)) == pytest.approx(60 + 120)
    assert expected(*served("other-gpu", wait=500, load=120, count=10)) == 60 + 90


def test_of_many_the_slow_ones_count() -> None:
    pods = (*served(wait=40, load=100, count=8), *served(wait=40, load=200, count=2))
    assert 40 + 180 <= expected(*pods) <= 40 + 200


def test_a_node_that_was_there_says_nothing_about_nodes() -> None:
    assert expected(*served(wait=0.5, load=100, count=10)) == pytest.approx(60 + 100)


def test_a_readiness_that_was_regained_a_day_later_is_no_cold_start() -> None:
    assert expected(*served(wait=40, load=86_400, count=10)) == pytest.approx(40 + 90)


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.FAILED, Phase.UNSCHEDULED])
def test_replicas_that_do_not_serve_say_nothing_about_loads(phase: Phase) -> None:
    pods = replicas("spot", 3, phase=phase, created_s=NOW_S - 9000, since_s=NOW_S - 1)
    assert expected(*pods) == 150


def test_an_hour_in_a_pool_that_did_not_deliver_is_no_time_to_a_node() -> None:
    assert expected(*served(wait=3600, load=60, count=10)) == pytest.approx(POOL.provision_p95_s + 60)
