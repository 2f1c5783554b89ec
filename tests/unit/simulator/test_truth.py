"""Engines built from the physics: hidden constants slow them down, and what cannot start says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.memory import memory_budget
from inferencefleet.simulator.request import Request
from inferencefleet.simulator.truth import DoesNotStart, Truth, build_engine

SHAPE = ReplicaShape(
    model=catalog.model("Qwen/Qwen3-32B"),
    gpu=catalog.gpu("H100-SXM"),
    tensor_parallel=2,
    weights=NumberFormat.BF16,
    kv_cache=NumberFormat.BF16,
    limits=EngineLimits(max_num_batched_tokens=1024, max_model_len_tokens=16384),
)
EXACT = Truth(replica_spread=0.0, step_noise=0.0)


def decode_seconds(truth: Truth, seed: int = 1) -> float:
    engine = build_engine(SHAPE, truth, seed)
    request = Request(id=1, arrival_s=0.0, prompt_tokens=1000, output_tokens=50)
    engine.submit(request, 0.0)
    while (ends := engine.next_event_s()) is not None:
        engine.step(ends)
    assert request.mean_itl_s is not None
    return request.mean_itl_s


def test_a_slower_truth_is_slower_by_about_its_factors() -> None:
    prior = decode_seconds(EXACT)
    truth = decode_seconds(replace(EXACT, memory=1.06, compute=0.97, overhead=1.15))
    assert 1.05 < truth / prior < 1.16


def test_replicas_of_one_shape_differ_by_their_seed() -> None:
    spread = Truth(step_noise=0.0, replica_spread=0.02)
    assert decode_seconds(spread, 1) != decode_seconds(spread, 2)
    assert decode_seconds(spread, 1) == decode_seconds(spread, 1)


def test_the_kv_cache_is_as_large_as_the_truth_says() -> None:
    engine = build_engine(SHAPE, Truth(kv_cache=0.95), 1)
    predicted = memory_budget(SHAPE).kv_cache_tokens
    assert engine.kv.total * 16 == pytest.approx(0.95 * predicted, rel=0.001)


def test_a_sequence_that_does_not_fit_stops_the_start_as_in_vllm() -> None:
    limits = EngineLimits(max_model_len_tokens=40960)
    with pytest.raises(DoesNotStart, match=r"max seq len \(40960\)"):
        build_engine(replace(SHAPE, tensor_parallel=1, limits=limits), Truth(), 1)
