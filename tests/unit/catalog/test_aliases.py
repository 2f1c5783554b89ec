"""Other ids of the same shapes: those that are listed resolve, those that look alike are suggested, never guessed."""

from __future__ import annotations

import pytest

from inferencefleet.catalog import UnknownModel, built_in, model, models
from inferencefleet.domain.hardware import NumberFormat, weight_format

# As the files of measured runs call them.
MEASURED = [
    "BAAI/Aquila-7B", "Deci/DeciLM-7B", "EleutherAI/gpt-j-6b", "Llama-3.1-405B-FP8", "Llama-3.3-70B", "Qwen/Qwen1.5-7B",
    "Qwen/Qwen2-72B", "Qwen/Qwen2-7B", "amd/DeepSeek-R1-0528-MXFP4-Preview", "bigscience/bloom-7b1", "bloom-176b",
    "deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1-0528", "deepseek-ai/DeepSeek-V3", "facebook/opt-6.7b",
    "huggyllama/llama-7b", "llama2-70b", "meta-llama/Llama-2-70b-hf", "meta-llama/Llama-2-7b-hf",
    "meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3-70B",
    "meta-llama/Meta-Llama-3-8B", "mistralai/Mistral-7B-v0.1", "mistralai/Mixtral-8x7B-v0.1",
    "nvidia/DeepSeek-R1-0528-FP4-V2", "nvidia/DeepSeek-R1-NVFP4", "openai/gpt-oss-120b", "Qwen/Qwen3-235B-A22B",
]  # fmt: skip


@pytest.mark.parametrize("id", MEASURED)
def test_every_model_that_was_measured_resolves(id: str) -> None:
    assert model(id).id == id


@pytest.mark.parametrize(
    ("id", "weights", "like"),
    [
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", NumberFormat.FP8, "meta-llama/Meta-Llama-3.1-70B"),
        ("nvidia/Llama-3.3-70B-Instruct-FP4", NumberFormat.NVFP4, "meta-llama/Meta-Llama-3.1-70B"),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", NumberFormat.INT4, "Qwen/Qwen2.5-72B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", NumberFormat.INT8, "Qwen/Qwen2.5-7B-Instruct"),
        ("amd/DeepSeek-R1-0528-MXFP4-Preview", NumberFormat.MXFP4, "deepseek-ai/DeepSeek-R1"),
        ("Qwen/Qwen3-14B", NumberFormat.BF16, "Qwen/Qwen3-14B"),
    ],
)
def test_a_listed_repository_has_the_shapes_of_its_entry_and_its_own_format(
    id: str, weights: NumberFormat, like: str
) -> None:
    found = model(id)
    assert found.native_weights is weights
    assert (found.layers, found.hidden, found.vocab) == (model(like).layers, model(like).hidden, model(like).vocab)


def test_an_alias_may_have_a_longer_context_than_its_entry() -> None:
    assert model("Qwen/Qwen3-30B-A3B").max_context_tokens == 40960
    assert model("Qwen/Qwen3-30B-A3B-Instruct-2507").max_context_tokens == 262144


def test_every_alias_points_to_an_entry_and_is_none_itself() -> None:
    table = built_in().models
    assert len(table.aliases) > 180
    assert not set(table.aliases) & set(models())
    assert {alias.entry for alias in table.aliases.values()} <= set(models())


@pytest.mark.parametrize(
    ("id", "suggestion"),
    [
        ("casperhansen/llama-3.3-70b-instruct-awq", "like: meta-llama/Llama-3.3-70B-Instruct, nativeWeights: int4"),
        ("unsloth/Qwen3-8B-bnb-4bit", "like: Qwen/Qwen3-8B, nativeWeights: int4"),
        ("RedHatAI/Qwen3-32B-NVFP4A16", "like: Qwen/Qwen3-32B, nativeWeights: nvfp4"),
        ("someone/Llama-3.2-3B-Instruct-FP8-dynamic", "like: meta-llama/Llama-3.2-3B-Instruct, nativeWeights: fp8"),
        ("acme/Qwen3-32B", "{like: Qwen/Qwen3-32B}"),
        ("acme/GLM-5.1-NVFP4", "like: zai-org/GLM-5.1, nativeWeights: nvfp4"),
        ("acme/Nemotron-H-56B-Base-8K-FP8", "like: nvidia/Nemotron-H-56B-Base-8K, nativeWeights: fp8"),
        ("acme/NVIDIA-Nemotron-3.5-Lightning-30B-A3B", "-NVFP4, nativeWeights: bf16"),
    ],
)
def test_an_id_that_looks_like_a_known_model_is_not_guessed_but_suggested(id: str, suggestion: str) -> None:
    with pytest.raises(UnknownModel, match="by its name it has the shapes of") as refusal:
        model(id)
    assert suggestion in str(refusal.value)
    assert "config.json" in str(refusal.value)


@pytest.mark.parametrize(("name", "format"), [("fp16", "bf16"), ("FP8", "fp8"), (" half ", "bf16"), ("mxfp4", "mxfp4")])
def test_formats_go_by_their_usual_names(name: str, format: str) -> None:
    assert weight_format(name) == format


@pytest.mark.parametrize(
    ("name", "says"), [("fp4", "ambiguous: write nvfp4 .* or mxfp4"), ("q4_k_m", "unknown weight")]
)
def test_a_format_that_is_none_or_two_is_refused(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        weight_format(name)
