from __future__ import annotations

import numpy as np
import pytest

from inferencefleet.catalog import model
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.kv import bytes_per_token, full_bytes_per_token, sequence_bytes
from inferencefleet.physics.memory import GIB, memory_budget, missing_bytes
from inferencefleet.physics.weights import dense_format, parameters, weights_bytes
from tests.unit.physics.shapes import shape


@pytest.mark.parametrize(
    ("id", "total_billion", "active_billion"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 8.03, None),
        ("meta-llama/Llama-3.3-70B-Instruct", 70.6, None),
        ("Qwen/Qwen3-32B", 32.8, None),
        ("Qwen/Qwen3-235B-A22B", 235.1, 21.6),
        ("deepseek-ai/DeepSeek-V3", 671.0, 36.6),
        ("openai/gpt-oss-120b", 116.8, 5.1),
        ("moonshotai/Kimi-K2-Instruct", 1026.0, 31.7),
        ("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8", 120.7, 12.2),
    ],
)
def test_parameter_counts_match_what_the_model_cards_say(
    id: str, total_billion: float, active_billion: float | None
) -> None:
    count = parameters(model(id))
    assert count.total / 1e9 == pytest.approx(total_billion, rel=0.005)
    if active_billion is not None:
        assert count.active / 1e9 == pytest.approx(active_billion, rel=0.01)


def test_bf16_weights_of_qwen3_32b_take_61_gib() -> None:
    assert weights_bytes(model("Qwen/Qwen3-32B"), NumberFormat.BF16) / GIB == pytest.approx(61.0, abs=0.2)


def test_four_bit_experts_leave_attention_in_bf16_but_a_dense_model_is_four_bit_throughout() -> None:
    assert dense_format(model("openai/gpt-oss-120b"), NumberFormat.MXFP4) is NumberFormat.BF16
    assert dense_format(model("Qwen/Qwen3-32B"), NumberFormat.INT4) is NumberFormat.INT4


def test_one_gpu_has_room_for_30k_tokens_of_qwen3_32b_and_two_for_ten_times_as_many() -> None:
    one = memory_budget(shape(tensor_parallel=1)).kv_cache_tokens
    two = memory_budget(shape(tensor_parallel=2)).kv_cache_tokens
    assert 25_000 < one < 36_000
    assert 280_000 < two < 330_000


@pytest.mark.parametrize(
    ("id", "gpus", "copies"),
    [
        ("Qwen/Qwen3-235B-A22B", 4, 1),
        ("Qwen/Qwen3-235B-A22B", 8, 2),
        ("deepseek-ai/DeepSeek-V3", 8, 8),
    ],
)
def test_kv_heads_are_copied_once_there_are_more_gpus_than_heads_and_a_latent_to_every_gpu(
    id: str, gpus: int, copies: int
) -> None:
    held = full_bytes_per_token(shape(id, tensor_parallel=gpus))
    assert held == copies * bytes_per_token(model(id), NumberFormat.BF16)


def test_an_fp8_cache_holds_twice_the_tokens() -> None:
    bf16, fp8 = memory_budget(shape()), memory_budget(shape(kv_cache="fp8"))
    assert fp8.kv_cache_tokens == pytest.approx(2 * bf16.kv_cache_tokens)


def test_sliding_window_layers_stop_growing_at_the_window() -> None:
    oss = shape("openai/gpt-oss-120b", weights="mxfp4")
    inside, at, beyond = sequence_bytes(oss, [64, 128, 256])
    assert at == pytest.approx(2 * inside)
    assert beyond == pytest.approx(at * 1.5)  # half of the layers slide


def test_linear_attention_layers_hold_a_constant_state() -> None:
    hybrid = shape("Qwen/Qwen3.5-27B")
    empty, short, long = sequence_bytes(hybrid, [0, 1000, 2000])
    assert empty == 48 * 48 * 128 * 128 * 4
    assert long - short == pytest.approx(short - empty)


def test_many_sequence_slots_cost_sampler_memory() -> None:
    few, many = memory_budget(shape(max_num_seqs=256)), memory_budget(shape(max_num_seqs=1024))
    assert few.overhead_bytes == pytest.approx(2 * 2.85 * GIB)
    # Measured on one GPU: Qwen3-32B with 1024 slots leaves 4.45 GiB (llm-d benchmark, H100, vLLM).
    assert many.overhead_bytes == pytest.approx(2 * 5.78 * GIB, rel=0.04)


def test_the_budget_adds_up() -> None:
    budget = memory_budget(shape())
    parts = budget.weights_bytes + budget.overhead_bytes + budget.kv_cache_bytes
    assert parts == pytest.approx(budget.total_bytes)
    assert budget.fits
    assert missing_bytes(shape()) < 0


def test_bytes_of_many_sequences_keep_their_shape() -> None:
    assert sequence_bytes(shape(), np.ones((3, 4))).shape == (3, 4)
