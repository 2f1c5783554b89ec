from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inferencefleet.catalog import gpu, model
from inferencefleet.domain.capacity import EngineLimits, Limit
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.cold_start import cold_start_s
from inferencefleet.physics.split import divides
from inferencefleet.physics.tensor_parallel import Option, Question, choose, options, per_gpu
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

BF16 = NumberFormat.BF16


def question(id: str, gpu_name: str, weights: NumberFormat = BF16, slos: Sequence[Slo] = CHAT_SLOS) -> Question:
    return Question(
        model=model(id),
        gpu=gpu(gpu_name),
        weights=weights,
        kv_cache=BF16,
        limits=EngineLimits(),
        lengths=chat(),
        slos=slos,
    )


def chosen(id: str, gpu_name: str, weights: NumberFormat = BF16) -> Option:
    return choose(question(id, gpu_name, weights))


def test_the_choice_is_the_smallest_size_nearly_as_good_for_each_gpu_as_the_best() -> None:
    found = options(question("Qwen/Qwen3-32B", "H100"))
    best = max(per_gpu(option) for option in found)
    pick = chosen("Qwen/Qwen3-32B", "H100")
    assert per_gpu(pick) >= 0.9 * best
    smaller = [option for option in found if option[0].tensor_parallel < pick[0].tensor_parallel]
    assert all(per_gpu(option) < 0.9 * best for option in smaller)


def test_a_small_model_stays_on_one_gpu() -> None:
    relaxed = (slo("itl", 95, 0.2),)
    pick = choose(question("Qwen/Qwen3-8B", "H200", slos=relaxed))
    assert pick[0].tensor_parallel == 1


def test_over_pcie_one_gpu_wins_even_when_two_would_be_better() -> None:
    assert chosen("meta-llama/Llama-3.1-8B-Instruct", "L40S")[0].tensor_parallel == 1


def test_over_pcie_more_gpus_are_used_when_nothing_else_fits() -> None:
    assert chosen("Qwen/Qwen3-32B", "L40S")[0].tensor_parallel > 1


def test_a_model_that_fits_nowhere_comes_back_as_the_refusal_of_the_largest_size() -> None:
    replica, capacity = chosen("moonshotai/Kimi-K2-Instruct", "A100", NumberFormat.FP8)
    assert replica.tensor_parallel == 8
    assert capacity.binding is Limit.MODEL_TOO_LARGE


def test_a_model_that_no_size_divides_is_refused_with_its_heads() -> None:
    with pytest.raises(ValueError, match=r"Qwen/Qwen3-8B has 32 heads: none of \[3, 5\] GPUs divides them"):
        choose(replace(question("Qwen/Qwen3-8B", "H100"), sizes=(3, 5)))


@pytest.mark.parametrize(("id", "size", "possible"), [("Qwen/Qwen3.5-27B", 8, True), ("Qwen/Qwen3.5-27B", 16, False)])
def test_heads_must_divide(id: str, size: int, possible: bool) -> None:
    assert divides(model(id), size) is possible


def test_a_cold_start_is_the_sum_of_its_phases() -> None:
    replica = shape()
    cached = cold_start_s(replica, image_cached=True)
    assert cached == pytest.approx(90 + 10 + 65.5 / 1.5, abs=0.5)
    assert cold_start_s(replica, provision_s=90) == pytest.approx(cached + 90 + 10e9 / 150e6)


def test_the_slower_of_storage_and_loader_sets_the_read_time() -> None:
    slow = cold_start_s(shape(), image_cached=True, storage_bytes_per_s=1e9)
    assert slow == pytest.approx(90 + 10 + 65.5, abs=0.5)
