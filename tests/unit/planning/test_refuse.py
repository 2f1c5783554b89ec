"""A fleet that cannot be planned keeps what it has, and is told the field, the value, the rule and a way out."""

from __future__ import annotations

from dataclasses import replace

from inferencefleet.domain.fleet import ScalingTerms
from inferencefleet.domain.plan import FleetPlan, Reason
from inferencefleet.domain.pool import PoolState
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.planning.plan import plan
from inferencefleet.planning.refuse import usable_pools
from tests.builders import a_fleet, a_pool, a_pool_state, a_snapshot, a_state, metrics, replicas, three_pools

POOLS = {state.pool.name: state for state in three_pools()}


def decided(fleet_pools: tuple[str, ...] | None = None, *, pools: tuple[PoolState, ...] | None = None) -> FleetPlan:
    state = a_state(a_fleet(pools=fleet_pools), replicas("reserved", 4), seen=metrics(rps=10))
    return plan(a_snapshot(state, pools=pools)).fleets[0]


def test_all_pools_are_usable_when_none_is_named() -> None:
    usable, problems = usable_pools(a_fleet(), POOLS)
    assert [state.pool.name for state in usable] == ["on-demand", "reserved", "spot"]
    assert problems == ()


def test_an_unknown_pool_beside_a_known_one_is_a_warning() -> None:
    warned = decided(("reserved", "nowhere"))
    assert warned.act
    assert [problem.code for problem in warned.problems] == [Reason.UNKNOWN_POOL]
    assert "those that exist: on-demand, reserved, spot" in warned.problems[0].sentence


def test_unknown_pools_only_are_refused_and_nothing_is_changed() -> None:
    refused = decided(("nowhere",))
    assert (refused.act, refused.pools, refused.retire) == (False, (), ())
    assert refused.reason is Reason.UNKNOWN_POOL
    assert "spec.placement.pools='nowhere'" in refused.sentence


def test_a_cluster_without_pools_is_refused() -> None:
    refused = decided(pools=())
    assert (refused.act, refused.reason) == (False, Reason.NO_POOLS)
    assert "create one" in refused.sentence


def test_a_pool_emptied_by_its_own_limit_is_named() -> None:
    empty = a_pool_state(a_pool(max_gpus=0))
    refused = decided(pools=(empty,))
    assert (refused.act, refused.reason) == (False, Reason.POOL_LIMIT)
    assert "gpupool/reserved spec.limits.gpus='0'" in refused.sentence


def test_an_empty_pool_among_others_is_nobodys_problem_unless_it_is_named() -> None:
    empty = a_pool_state(a_pool(max_gpus=0))
    full = three_pools()[0]
    assert decided(pools=(full, empty)).problems == ()
    assert [problem.code for problem in decided(("on-demand", "reserved"), pools=(full, empty)).problems] == [
        Reason.POOL_LIMIT
    ]


def test_an_slo_below_physics_is_refused_with_the_floor_and_keeps_the_replicas() -> None:
    impossible = a_fleet(slos=(Slo(metric=SloMetric.ITL, percentile=95, target_s=0.001),))
    refused = plan(a_snapshot(a_state(impossible, replicas("reserved", 4), seen=metrics(rps=10)))).fleets[0]
    assert (refused.act, refused.reason) == (False, Reason.SLO_UNREACHABLE)
    assert "spec.slo" in refused.sentence
    assert "ms" in refused.sentence
    assert refused.sizings, "what was tried is shown"


def test_a_replica_larger_than_every_node_is_refused_and_exhausts_no_pool() -> None:
    engine = replace(a_fleet().engine, tensor_parallel=16)
    refused = plan(a_snapshot(a_state(a_fleet(engine=engine)))).fleets[0]
    assert (refused.act, refused.reason) == (False, Reason.MODEL_DOES_NOT_FIT)
    assert "one replica asks for 16 GPUs" in refused.sentence
    assert "lower it to 8" in refused.sentence


def test_a_refusal_forgets_nothing() -> None:
    good = a_fleet(scaling=ScalingTerms(max_replicas=40))
    first = plan(a_snapshot(a_state(good, replicas("reserved", 4), seen=metrics(rps=10))))
    bad = a_state(a_fleet(pools=("nowhere",)), replicas("reserved", 4), seen=metrics(rps=10))
    second = plan(a_snapshot(bad, memory=dict(first.memory)))
    assert second.memory == first.memory
