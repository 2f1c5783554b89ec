"""Parameter counts and KV cache bytes against what the models' authors published."""

from __future__ import annotations

import re

import pytest

from inferencefleet.catalog import model, models
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.kv import bytes_per_token
from inferencefleet.physics.weights import parameters

# Model, total and active parameters in 10^9 as its card or paper says, and KV cache bytes of a token in bf16 by hand
# from its shapes. Active is None for dense models, and where the card says only a round number.
PUBLISHED = [
    ("meta-llama/Llama-3.1-8B-Instruct", 8.03, None, 2 * 32 * 8 * 128 * 2),
    ("meta-llama/Llama-3.3-70B-Instruct", 70.6, None, 2 * 80 * 8 * 128 * 2),
    ("meta-llama/Llama-3.1-405B-Instruct", 405.9, None, 2 * 126 * 8 * 128 * 2),
    ("meta-llama/Llama-3.2-1B", 1.24, None, 2 * 16 * 8 * 64 * 2),
    ("meta-llama/Llama-3.2-3B", 3.21, None, 2 * 28 * 8 * 128 * 2),
    ("meta-llama/Llama-2-7b-hf", 6.74, None, 2 * 32 * 32 * 128 * 2),
    ("meta-llama/Llama-2-13b-hf", 13.02, None, 2 * 40 * 40 * 128 * 2),
    ("meta-llama/Llama-2-70b-hf", 68.98, None, 2 * 80 * 8 * 128 * 2),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 109, 17, 2 * 48 * 8 * 128 * 2),
    ("meta-llama/Llama-4-Maverick-17B-128E-Instruct", 400, 17, 2 * 48 * 8 * 128 * 2),
    ("mistralai/Mistral-7B-v0.1", 7.24, None, 2 * 32 * 8 * 128 * 2),
    ("mistralai/Mistral-Small-24B-Instruct-2501", 23.6, None, 2 * 40 * 8 * 128 * 2),
    ("mistralai/Mixtral-8x7B-v0.1", 46.7, 12.9, 2 * 32 * 8 * 128 * 2),
    ("mistralai/Mixtral-8x22B-v0.1", 141, 39, 2 * 56 * 8 * 128 * 2),
    ("Qwen/Qwen2-72B", 72.7, None, 2 * 80 * 8 * 128 * 2),
    ("Qwen/Qwen2.5-7B-Instruct", 7.61, None, 2 * 28 * 4 * 128 * 2),
    ("Qwen/Qwen2.5-32B-Instruct", 32.5, None, 2 * 64 * 8 * 128 * 2),
    ("Qwen/Qwen3-8B", 8.2, None, 2 * 36 * 8 * 128 * 2),
    ("Qwen/Qwen3-14B", 14.8, None, 2 * 40 * 8 * 128 * 2),
    ("Qwen/Qwen3-32B", 32.8, None, 2 * 64 * 8 * 128 * 2),
    ("Qwen/Qwen3-30B-A3B", 30.5, 3.04, 2 * 48 * 4 * 128 * 2),
    ("Qwen/Qwen3-235B-A22B", 235, 22, 2 * 94 * 4 * 128 * 2),
    ("Qwen/Qwen3-Coder-480B-A35B-Instruct", 480, 35, 2 * 62 * 8 * 128 * 2),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", 79.7, None, 2 * 12 * 2 * 256 * 2),  # 12 of 48 layers have a cache
    ("Qwen/Qwen3.5-397B-A17B", 397, None, 2 * 15 * 2 * 256 * 2),
    ("openai/gpt-oss-120b", 116.8, 5.13, 2 * 36 * 8 * 64 * 2),
    ("openai/gpt-oss-20b", 20.9, 3.61, 2 * 24 * 8 * 64 * 2),
    ("deepseek-ai/DeepSeek-V2", 236, 21, 60 * (512 + 64) * 2),
    ("deepseek-ai/DeepSeek-V3", 671, 37, 61 * (512 + 64) * 2),
    ("deepseek-ai/DeepSeek-R1", 671, 37, 61 * (512 + 64) * 2),
    ("deepseek-ai/DeepSeek-V3.2", 671, 37, 61 * ((512 + 64) * 2 + 132)),  # the index keeps 132 bytes a token and layer
    ("moonshotai/Kimi-K2-Instruct", 1026, 32, 61 * (512 + 64) * 2),
    ("moonshotai/Kimi-K3", 2780, 104.2, 24 * (512 + 64) * 2),
    ("zai-org/GLM-5", 744, 40, 78 * ((512 + 64) * 2 + 132)),
    ("zai-org/GLM-4.5-Air", 106, 12, 2 * 46 * 8 * 128 * 2),
    ("MiniMaxAI/MiniMax-M2.5", 229, 10.2, 2 * 62 * 8 * 128 * 2),
    ("XiaomiMiMo/MiMo-V2-Flash", 309, 15, (9 * 4 + 39 * 8) * (192 + 128) * 2),
    ("google/gemma-2-27b", 27.2, None, 2 * 46 * 16 * 128 * 2),
    ("google/gemma-3-27b-it", 27.0, None, 2 * 62 * 16 * 128 * 2),
    ("google/gemma-4-26B-A4B", 25.2, 3.8, 2 * (25 * 8 * 256 + 5 * 2 * 512) * 2),
    ("nvidia/Gemma-4-31B-IT-NVFP4", 30.7, None, 2 * (50 * 16 * 256 + 10 * 4 * 512) * 2),
    ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", 49.9, None, 2 * 49 * 8 * 128 * 2),  # 31 of 80 layers have no attention
    ("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8", 120.7, 12.2, 2 * 8 * 2 * 128 * 2),
    ("microsoft/phi-4", 14.7, None, 2 * 40 * 10 * 128 * 2),
    ("EleutherAI/gpt-j-6b", 6.05, None, 2 * 28 * 16 * 256 * 2),
    ("facebook/opt-6.7b", 6.66, None, 2 * 32 * 32 * 128 * 2),
    ("bigscience/bloom", 176.2, None, 2 * 70 * 112 * 128 * 2),
    ("Deci/DeciLM-7B", 7.04, None, 2 * 32 * 4 * 128 * 2),
]

# Where active counts differ by more than 2 %: the cards give whole numbers (17, 12, 40), and some leave out the head.
ROUGH = {
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": 0.06,
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": 0.06,
    "zai-org/GLM-4.5-Air": 0.07,
    "zai-org/GLM-5": 0.025,
    "MiniMaxAI/MiniMax-M2.5": 0.025,
}


@pytest.mark.parametrize(("id", "total", "active", "cache"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_counts_are_those_that_were_published(id: str, total: float, active: float | None, cache: int) -> None:
    spec = model(id)
    count = parameters(spec)
    allowed = ROUGH.get(id, 0.02)
    assert count.total / 1e9 == pytest.approx(total, rel=0.02)
    if active is not None:
        assert count.active / 1e9 == pytest.approx(active, rel=allowed)
    assert bytes_per_token(spec, NumberFormat.BF16) == cache


@pytest.mark.parametrize(
    ("id", "total", "active"),
    [("deepseek-ai/DeepSeek-V4-Flash", 284, 13), ("deepseek-ai/DeepSeek-V4-Pro", 1600, 49)],
)
def test_compressed_sparse_attention_is_counted(id: str, total: float, active: float) -> None:
    count = parameters(model(id))
    assert count.total / 1e9 == pytest.approx(total, rel=0.02)
    assert count.active / 1e9 == pytest.approx(active, rel=0.02)


SIZE = re.compile(r"[-_](\d+(?:\.\d+)?)[bB](?:-[aA](\d+(?:\.\d+)?)[bB])?(?![a-z])")
"""-8B, -235B-A22B: total and active. Of 8x7B, 17B-16E and of gemma-7b, which has 8.5, the name says something else."""
SIZED = [
    (id, float(found[1]), float(found[2]) if found[2] else None)
    for id in sorted(models())
    if (found := SIZE.search(id)) and float(found[1]) >= 4 and not re.search("8x|16E|128E|gemma-7b", id)
]


@pytest.mark.parametrize(("id", "total", "active"), SIZED)
def test_a_size_in_the_name_is_about_right(id: str, total: float, active: float | None) -> None:
    count = parameters(model(id))
    assert count.total / 1e9 == pytest.approx(total, rel=0.16)
    if active is not None:
        assert count.active / 1e9 == pytest.approx(active, rel=0.26)


def test_there_are_many_of_them() -> None:
    assert len(PUBLISHED) >= 25
    assert len(SIZED) >= 60
