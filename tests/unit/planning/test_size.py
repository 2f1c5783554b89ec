"""Step 3: what one replica can do in each pool."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferencefleet import catalog
from inferencefleet.domain.capacity import Limit
from inferencefleet.domain.fleet import (
    AWARE_UTILISATION,
    EVEN_UTILISATION,
    LONE_LOSS,
    Fleet,
    Routing,
    ScalingTerms,
)
from inferencefleet.domain.observation import WorkloadState
from inferencefleet.domain.plan import Reason, Sizing
from inferencefleet.domain.pool import CapacityType, Pool
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.planning.size import UNCERTAINTY_Z, refusal, size
from tests.builders import a_fleet, a_mix, a_pool, a_workload

FLEET = a_fleet()


def sized(*pools: Pool, fleet: Fleet = FLEET, running: tuple[WorkloadState, ...] = ()) -> tuple[Sizing, ...]:
    return size(fleet, pools, running, a_mix())


def fixed(tensor_parallel: int) -> Fleet:
    return a_fleet(engine=replace(FLEET.engine, tensor_parallel=tensor_parallel))


def test_the_plan_counts_on_less_than_physics_says() -> None:
    (one,) = sized(a_pool())
    trust = math.exp(-UNCERTAINTY_Z * prior_sigma_log(one.shape))
    assert one.planned_requests_per_s == pytest.approx(one.capacity.requests_per_s * EVEN_UTILISATION * trust)
    assert one.utilisation == EVEN_UTILISATION
    assert one.usable


@pytest.mark.parametrize("routing", [Routing.LOAD_AWARE, Routing.PREFIX_AWARE])
def test_the_more_replicas_a_router_that_knows_loads_can_choose_from_the_closer_to_capacity_they_are_planned(
    routing: Routing,
) -> None:
    def share(fleet: Fleet, replicas: int) -> float:
        return size(fleet, [a_pool()], (), a_mix(), replicas=replicas)[0].utilisation

    aware = a_fleet(routing=routing)
    assert [share(aware, n) for n in (1, 4, 16)] == [
        pytest.approx(AWARE_UTILISATION - LONE_LOSS / n) for n in (1, 4, 16)
    ]
    assert share(aware, 1) == pytest.approx(EVEN_UTILISATION), "alone it has nobody to choose from"
    assert {share(a_fleet(), n) for n in (1, 4, 16)} == {EVEN_UTILISATION}, "an even spread never chooses"


def test_more_headroom_is_less_planned_capacity() -> None:
    loose, tight = (
        sized(a_pool(), fleet=a_fleet(scaling=ScalingTerms(headroom=share), routing=Routing.LOAD_AWARE))[0]
        for share in (0.7, 0.35)
    )
    assert (loose.utilisation, tight.utilisation) == (0.7, 0.35), "what is declared counts, whatever the routing"
    assert tight.planned_requests_per_s == pytest.approx(loose.planned_requests_per_s / 2)


def test_the_declared_tensor_parallel_size_is_taken() -> None:
    assert sized(a_pool(), fleet=fixed(4))[0].shape.tensor_parallel == 4


def test_the_size_that_runs_is_kept_because_a_change_restarts_every_replica() -> None:
    chosen = sized(a_pool())[0].shape.tensor_parallel
    other = 2 if chosen != 2 else 4
    assert sized(a_pool(), running=(a_workload("reserved", 1, other),))[0].shape.tensor_parallel == other
    assert sized(a_pool(), running=(a_workload("reserved", 0, other),))[0].shape.tensor_parallel == chosen


def test_pools_of_the_same_gpu_with_smaller_nodes_get_replicas_that_fit_their_nodes() -> None:
    large, small = sized(a_pool("large"), a_pool("small", gpus_per_node=2))
    assert small.shape.tensor_parallel <= 2
    assert large.shape.tensor_parallel >= small.shape.tensor_parallel


def test_gpus_of_one_name_and_different_memory_are_sized_apart() -> None:
    gpu = catalog.gpu("H100-SXM")
    big = replace(gpu, memory_bytes=2 * gpu.memory_bytes)
    plain, doubled = sized(a_pool("plain"), a_pool("doubled", gpu=big), fleet=fixed(2))
    assert doubled.capacity.memory is not None
    assert plain.capacity.memory is not None
    assert doubled.capacity.memory.kv_cache_tokens > plain.capacity.memory.kv_cache_tokens


def test_a_price_is_per_replica_and_reserved_is_free_at_the_margin() -> None:
    reserved, spot = sized(a_pool(), a_pool("spot", CapacityType.SPOT), fleet=fixed(2))
    assert (reserved.price_per_hour, reserved.marginal_price_per_hour) == (pytest.approx(4.2), 0)
    assert spot.marginal_price_per_hour == spot.price_per_hour == pytest.approx(3.8)


def test_a_replica_larger_than_a_node_serves_nothing() -> None:
    (one,) = sized(a_pool(gpus_per_node=4), fleet=fixed(8))
    assert not one.usable
    assert "a node of pool reserved has 4" in one.capacity.sentence


def test_one_pool_that_can_serve_is_enough() -> None:
    small, large = a_pool("small", gpus_per_node=1), a_pool("large")
    assert refusal(fixed(2), sized(small, large, fleet=fixed(2))) is None
    assert refusal(FLEET, ()) is None


def test_a_model_that_fits_nowhere_is_refused_by_name_with_a_way_out() -> None:
    huge = a_fleet(model=catalog.model("meta-llama/Llama-3.1-405B-Instruct"))
    sizings = sized(a_pool(gpus_per_node=1), fleet=huge)
    problem = refusal(huge, sizings)
    assert problem is not None
    assert (problem.code, problem.field) == (Reason.MODEL_DOES_NOT_FIT, "spec.model.id")
    assert sizings[0].capacity.binding is Limit.MODEL_TOO_LARGE
    assert "It fits with fp8 weights and tensor parallelism 8" in problem.sentence


def test_a_new_pool_of_the_same_gpus_gets_the_size_that_runs_already_where_its_nodes_are_large_enough() -> None:
    spot = a_pool("spot", CapacityType.SPOT)
    small = a_pool("small", CapacityType.ON_DEMAND, gpus_per_node=2)
    sizes = [one.shape.tensor_parallel for one in sized(a_pool(), spot, small, running=(a_workload("reserved", 3, 4),))]
    assert sizes[:2] == [4, 4], "replicas behind one Service are alike"
    assert sizes[2] <= 2


def test_a_size_that_runs_and_cannot_serve_any_more_is_chosen_anew() -> None:
    larger = a_fleet(model=catalog.model("meta-llama/Llama-3.1-70B-Instruct"))
    (one,) = sized(a_pool(), fleet=larger, running=(a_workload("reserved", 1, 1),))
    assert one.usable
    assert one.shape.tensor_parallel > 1


def test_a_model_is_never_split_over_slices_of_gpus() -> None:
    whole, slices = sized(
        a_pool("whole"), a_pool("slices", gpu=catalog.gpu("H200/4g.71gb")), fleet=a_fleet(weights="fp8")
    )
    assert (whole.usable, slices.usable) == (True, True)
    assert slices.shape.tensor_parallel == 1
    assert slices.capacity.requests_per_s < whole.capacity.requests_per_s / whole.shape.tensor_parallel
    (refused,) = sized(a_pool(gpu=catalog.gpu("H200/4g.71gb")), fleet=fixed(2))
    assert refused.capacity.binding is Limit.MODEL_TOO_LARGE
    assert "slices (4g.71gb), which cannot talk to each other; set it to 1 or auto" in refused.capacity.sentence


def test_a_slice_too_small_for_the_model_is_not_advised_to_use_more_of_them() -> None:
    (refused,) = sized(a_pool(gpu=catalog.gpu("H100/1g.10gb")))
    assert refused.capacity.binding is Limit.MODEL_TOO_LARGE
    assert "tensor parallelism" not in refused.capacity.sentence


def test_a_gpu_with_one_value_of_the_user_is_sized_apart() -> None:
    slow = catalog.with_values(catalog.gpu("H100"), bf16_tflops=400)
    first, second = sized(a_pool("one"), a_pool("two", gpu=slow))
    assert second.capacity.requests_per_s < first.capacity.requests_per_s
