"""Whose lesson counts where: own engines, the same shape elsewhere, another size on the same GPU, else the prior."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferencefleet import catalog
from inferencefleet.domain.calibration import Envelope, ShapeCalibration
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.physics.confidence import DENSE_SIGMA_LOG
from inferencefleet.physics.observed import shape_key
from inferencefleet.planning.calibrate import Learnt, prior_scales
from inferencefleet.planning.size import size
from tests.builders import a_fleet, a_mix, a_pool, a_workload
from tests.unit.physics.shapes import shape

SHAPE = shape("Qwen/Qwen3-32B", tensor_parallel=2)
PRIOR = Scales(sigma_log=DENSE_SIGMA_LOG)
SEEN = Envelope(decode_seqs=(2.0, 10.0), prompt_tokens=(900.0, 1200.0), output_tokens=(200.0, 220.0))


def taught(
    factor: float, of: ReplicaShape = SHAPE, pool: str = "reserved", used: int = 20, sigma_log: float = 0.08
) -> ShapeCalibration:
    applied = Scales(memory=factor, compute=factor, overhead=factor, sigma_log=sigma_log)
    return ShapeCalibration(
        pool=pool, key=shape_key(of), itl_log=math.log(factor), sigma_log=sigma_log, applied=applied, used=used,
        envelope=SEEN,
    )  # fmt: skip


def test_without_a_lesson_the_prior_counts_with_the_uncertainty_of_its_kind() -> None:
    assert Learnt().scales(SHAPE, "reserved") == PRIOR
    moe = shape("Qwen/Qwen3-30B-A3B", tensor_parallel=1)
    assert prior_scales(moe).sigma_log > PRIOR.sigma_log


def test_a_pool_believes_its_own_engines_first() -> None:
    known = Learnt((taught(1.3), taught(0.9, pool="spot", used=50)))
    assert known.scales(SHAPE, "reserved").memory == 1.3
    assert known.scales(SHAPE, "reserved").sigma_log == 0.08


def test_a_pool_on_probation_and_one_that_never_ran_take_the_lesson_of_the_same_shape_with_less_trust() -> None:
    known = Learnt((taught(1.3), taught(0.9, pool="spot", used=1)))
    for pool in ("spot", "on-demand"):
        scales = known.scales(SHAPE, pool)
        assert scales.memory == 1.3
        assert 0.08 < scales.sigma_log <= PRIOR.sigma_log


def test_the_nearest_size_on_the_same_gpu_stands_in_with_still_less_trust() -> None:
    one, eight = replace(SHAPE, tensor_parallel=1), replace(SHAPE, tensor_parallel=8)
    known = Learnt((taught(1.2, one), taught(1.5, eight)))
    scales = known.scales(SHAPE, "reserved")
    assert scales.memory == 1.2
    assert scales.sigma_log >= Learnt((taught(1.2),)).scales(SHAPE, "spot").sigma_log


@pytest.mark.parametrize(
    "other",
    [
        shape("Qwen/Qwen3-8B", tensor_parallel=2),
        shape("Qwen/Qwen3-32B", gpu_name="A100-SXM", tensor_parallel=2),
    ],
    ids=["another model", "another GPU"],
)
def test_nothing_is_taken_from_another_model_or_gpu(other: ReplicaShape) -> None:
    assert Learnt((taught(2.0, other),)).scales(SHAPE, "reserved") == PRIOR


@pytest.mark.parametrize(
    "other",
    [
        shape("Qwen/Qwen3-32B", tensor_parallel=2, weights="fp8"),
        shape("Qwen/Qwen3-32B", tensor_parallel=2, max_num_batched_tokens=1024),
        replace(SHAPE, gpu=replace(catalog.gpu("H100-SXM"), bandwidth_bytes_per_s=2e12)),
    ],
    ids=["weights", "chunks", "bandwidth"],
)
def test_whatever_changes_the_step_is_another_shape(other: ReplicaShape) -> None:
    assert shape_key(other) != shape_key(SHAPE)


def test_what_does_not_change_the_step_is_the_same_shape() -> None:
    assert shape_key(replace(SHAPE, limits=replace(SHAPE.limits, gpu_memory_utilization=0.8))) == shape_key(SHAPE)


def test_trust_falls_beyond_the_largest_batch_seen_down_to_the_prior_s() -> None:
    known = Learnt((taught(1.1),))
    scales = known.scales(SHAPE, "reserved")
    at = [known.sigma_log(SHAPE, "reserved", scales, seqs) for seqs in (5, 10, 20, 40, 10_000)]
    assert at == pytest.approx([0.08, 0.08, min(0.12, PRIOR.sigma_log), min(0.16, PRIOR.sigma_log), PRIOR.sigma_log])


def test_each_pool_is_sized_with_what_its_own_engines_taught() -> None:
    fleet = a_fleet(engine=replace(a_fleet().engine, tensor_parallel=2))
    of = replace(SHAPE, limits=fleet.engine.limits, model=fleet.model)
    wide = replace(SEEN, decode_seqs=(1.0, 500.0))
    known = Learnt((taught(1.4, of), replace(taught(1.0, of, pool="spot"), envelope=wide)))
    pools, running = [a_pool(), a_pool("spot")], (a_workload("reserved", 1), a_workload("spot", 1))
    slow, plain = size(fleet, pools, running, a_mix(), known)
    assert slow.capacity.requests_per_s < plain.capacity.requests_per_s
    assert (slow.scales.memory, plain.scales.memory) == (1.4, 1.0)
    (prior,) = size(fleet, pools[:1], running, a_mix())
    assert plain.capacity.requests_per_s == prior.capacity.requests_per_s
    assert plain.planned_requests_per_s > prior.planned_requests_per_s, "it is surer"


def test_a_pool_with_few_windows_believes_the_one_with_many_until_it_is_seen_to_be_slower() -> None:
    many, few = taught(0.6, pool="spot", used=50), replace(taught(0.9, used=5), itl_log=math.log(0.6))
    assert Learnt((few, many)).scales(SHAPE, "reserved").memory == 0.6, "its own trust still has to grow"
    slower = replace(few, itl_log=math.log(0.9))
    assert Learnt((slower, many)).scales(SHAPE, "reserved").memory == 0.9
    assert Learnt((taught(0.9, used=30), many)).scales(SHAPE, "reserved").memory == 0.9


def test_pools_that_are_equally_fast_and_not_equally_well_known_are_planned_alike() -> None:
    known = Learnt((taught(0.9, sigma_log=0.08), taught(0.9, pool="spot", used=50, sigma_log=0.1)))
    pools = [a_pool("reserved"), a_pool("spot")]
    running = (a_workload("reserved", 2), a_workload("spot", 2))
    fleet = a_fleet()
    reserved, spot = size(fleet, pools, running, a_mix(), known)
    assert reserved.planned_requests_per_s == spot.planned_requests_per_s
    assert reserved.scales.sigma_log == spot.scales.sigma_log >= 0.1
