"""Rules of thumb and hard bounds: what they say, and that the step model never beats a bound."""

from __future__ import annotations

from itertools import product

import pytest

from inferencefleet.catalog import gpu, gpus, model, models
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.memory import memory_budget
from inferencefleet.physics.quick import (
    batch_one_tokens_per_s,
    concurrency_ceiling,
    decode_floor_s,
    least_weights_read_bytes,
    model_flops_utilisation,
    nominal_weights_bytes,
    quick_fit,
)
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.weights import parameters, weights_bytes
from tests.unit.physics.shapes import shape


def test_the_quick_fit_calls_itself_a_rule_of_thumb_with_its_numbers() -> None:
    verdict = quick_fit(nominal_weights_bytes(8e9, NumberFormat.BF16), 24e9)
    assert verdict.fits
    assert str(verdict) == "rule of thumb: weights x 1.2 = 19.2 GB fits in 24.0 GB"
    assert str(quick_fit(70e9, 80e9)) == "rule of thumb: weights x 1.2 = 84.0 GB does not fit in 80.0 GB"


def test_the_quick_fit_is_wrong_both_ways_which_is_why_it_decides_nothing() -> None:
    roomy = shape("Qwen/Qwen3-0.6B", "A10G", 1)
    assert quick_fit(weights_bytes(roomy.model, roomy.weights), roomy.gpu.memory_bytes).fits
    large = shape("meta-llama/Llama-3.1-70B-Instruct", "A100-SXM", 2)
    assert not quick_fit(weights_bytes(large.model, large.weights), 160e9).fits
    assert memory_budget(large).fits


@pytest.mark.parametrize(("free", "each", "requests"), [(64e9, 1.048576e9, 61), (10.0, 10.0, 1), (9.0, 10.0, 0)])
def test_only_whole_requests_count(free: float, each: float, requests: int) -> None:
    assert concurrency_ceiling(free, each) == requests


def test_no_room_is_no_request() -> None:
    assert concurrency_ceiling(-5e9, 1e9) == 0


def test_a_step_reads_no_input_table_and_no_idle_experts() -> None:
    dense = model("meta-llama/Llama-3.1-8B-Instruct")
    table = 2 * parameters(dense).embedding
    assert least_weights_read_bytes(dense, NumberFormat.BF16) == weights_bytes(dense, NumberFormat.BF16) - table
    tied = model("Qwen/Qwen3-0.6B")
    assert least_weights_read_bytes(tied, NumberFormat.BF16) == weights_bytes(tied, NumberFormat.BF16)
    mixture = model("Qwen/Qwen3-30B-A3B")
    assert least_weights_read_bytes(mixture, NumberFormat.BF16) == pytest.approx(2 * parameters(mixture).active)


def test_one_request_alone_is_faster_with_smaller_weights_and_slower_with_context() -> None:
    def bound(weights: str, context: float = 0.0) -> float:
        return batch_one_tokens_per_s(shape("Qwen/Qwen3-32B", "H100-SXM", 2, weights=weights), context)

    assert bound("bf16") < bound("fp8") < bound("int4")
    assert bound("bf16", 32_000) < bound("bf16", 1000)


def test_mfu_is_two_flop_per_active_parameter_over_the_dense_peak_of_all_gpus() -> None:
    there = shape("Qwen/Qwen3-32B", "H100-SXM", 2)
    full = 2 * 989e12 / (2 * parameters(there.model).active)
    assert model_flops_utilisation(there, full) == pytest.approx(1.0)
    assert model_flops_utilisation(shape("Qwen/Qwen3-32B", "H100-SXM", 2, weights="fp8"), full) == pytest.approx(0.5)


def test_no_decode_step_of_the_model_beats_the_bandwidth_bound_anywhere_in_the_catalogue() -> None:
    faster = []
    for id, name, weights in product(models(), gpus(), (NumberFormat.BF16, NumberFormat.FP8, NumberFormat.INT4)):
        there = ReplicaShape(
            model=model(id),
            gpu=gpu(name),
            tensor_parallel=1,
            weights=weights,
            kv_cache=NumberFormat.BF16,
            limits=EngineLimits(),
        )
        step = StepModel(there)
        for seqs, context in ((1, 1000), (32, 1000), (128, 8000)):
            if step.seconds(seqs, seqs * context) < decode_floor_s(there, seqs, context):
                faster.append(f"{there}, {seqs} x {context}")
    assert faster == []
