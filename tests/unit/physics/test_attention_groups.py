"""Layers of different attention in memory, weights and step time."""

from __future__ import annotations

import numpy as np
import pytest

from inferencefleet.catalog import model_from_hf_config
from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.physics.kv import (
    full_bytes_per_token,
    read_bytes_per_token,
    sequence_bytes,
    sliding_bytes_per_token,
    windowed_read_bytes_per_token,
)
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.weights import parameters
from tests.unit.physics.shapes import shape


def test_plain_attention_reads_all_that_it_holds() -> None:
    plain = shape("Qwen/Qwen3-32B")
    assert read_bytes_per_token(plain) == full_bytes_per_token(plain)
    assert windowed_read_bytes_per_token(plain) == {}


def test_sliding_layers_are_read_up_to_their_window() -> None:
    oss = shape("openai/gpt-oss-120b", weights="mxfp4")
    assert windowed_read_bytes_per_token(oss) == {128.0: sliding_bytes_per_token(oss)}


def test_sparse_attention_holds_every_token_and_reads_its_index_and_a_selection() -> None:
    sparse, dense = (shape(f"deepseek-ai/DeepSeek-{name}", weights="fp8", tensor_parallel=8) for name in ("V3.2", "V3"))
    assert full_bytes_per_token(sparse) > full_bytes_per_token(dense)
    assert read_bytes_per_token(sparse) == 61 * 132 * 8
    assert windowed_read_bytes_per_token(sparse) == {2048.0: 61 * 576 * 2 * 8}


def test_decoding_over_a_long_context_is_faster_with_sparse_attention_and_no_different_within_its_selection() -> None:
    sparse, dense = (shape(f"deepseek-ai/DeepSeek-{name}", weights="fp8", tensor_parallel=8) for name in ("V3.2", "V3"))

    def cost(replica: ReplicaShape, context: float) -> float:
        step = StepModel(replica)
        return step.seconds(32, 32 * context) - step.seconds(32, 0)

    assert cost(sparse, 65_536) < 0.3 * cost(dense, 65_536)
    assert cost(sparse, 2048) == pytest.approx(cost(dense, 2048), rel=0.2)


def test_compressed_attention_needs_a_small_part_of_the_cache_of_latent_attention() -> None:
    compressed, latent = shape("deepseek-ai/DeepSeek-V4-Flash"), shape("deepseek-ai/DeepSeek-V3")
    # 21 layers keep a quarter of an entry and of an index key for a token, 20 keep a 128th.
    assert full_bytes_per_token(compressed) / 2 == 21 * (128 * 2 + 32) + 20 * 4 * 2  # two GPUs, a copy on each
    assert float(sequence_bytes(compressed, 100_000)) < 0.15 * float(sequence_bytes(latent, 100_000))


@pytest.mark.parametrize(
    "id",
    [
        "Qwen/Qwen3-32B",
        "openai/gpt-oss-120b",
        "google/gemma-4-26B-A4B",
        "XiaomiMiMo/MiMo-V2-Flash",
        "deepseek-ai/DeepSeek-V3.2",
        "deepseek-ai/DeepSeek-V4-Flash",
        "MiniMaxAI/MiniMax-M3",
        "moonshotai/Kimi-K3",
    ],
)
def test_one_step_at_a_time_and_arrays_agree(id: str) -> None:
    step = StepModel(shape(id))
    for seqs, context, prompt, before in ((0, 0, 0, 0), (1, 50, 0, 0), (8, 3000, 512, 300), (64, 200_000, 4096, 9000)):
        one = step.seconds(seqs, seqs * context, prompt, before)
        assert one == pytest.approx(float(step.seconds_array(seqs, seqs * context, prompt, before)))


@pytest.mark.parametrize("id", ["openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3.2", "deepseek-ai/DeepSeek-V4-Flash"])
def test_prompt_attention_over_chunks_adds_up_to_the_whole_prompt(id: str) -> None:

    step = StepModel(shape(id))
    whole = float(step.prompt_attention_array(np.float64(0), np.float64(32_768)))
    parts = sum(
        float(step.prompt_attention_array(np.float64(start), np.float64(1024))) for start in range(0, 32_768, 1024)
    )
    assert parts == pytest.approx(whole)


def test_a_plain_mlp_has_two_thirds_of_the_parameters_of_a_gated_one() -> None:
    config = {"num_hidden_layers": 2, "num_attention_heads": 8, "hidden_size": 512, "intermediate_size": 2048}
    config |= {"vocab_size": 1000, "max_position_embeddings": 2048}
    gated, plain = model_from_hf_config("me/a", config), model_from_hf_config("me/b", {**config, "model_type": "opt"})
    assert parameters(gated).dense - parameters(plain).dense == 2 * 512 * 2048
