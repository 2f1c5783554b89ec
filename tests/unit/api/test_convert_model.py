"""Models and architectures of a fleet manifest: known, unknown, pasted, absurd."""

from __future__ import annotations

from typing import Any

import pytest

from inferencefleet.api.convert import fleet_from_manifest
from inferencefleet.catalog import built_in
from inferencefleet.domain.fleet import (
    Fleet,
)
from inferencefleet.domain.hardware import NumberFormat
from tests.unit.api.converting import good, only_problem
from tests.unit.api.manifests import fleet


def test_an_unknown_model_is_refused_with_the_closest_names() -> None:
    found = only_problem({"spec.model.id": "Qwen/Qwen3-32X"})
    assert (found.code, found.field, found.value) == ("UnknownModel", "spec.model.id", "Qwen/Qwen3-32X")
    assert "Qwen/Qwen3-32B" in found.sentence
    assert "spec.model.architecture" in found.sentence


def test_an_unknown_model_with_its_architecture_is_welcome() -> None:
    shape = {
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "max_position_embeddings": 16384,
    }
    found = good({"spec.model": {"id": "acme/own-8b", "architecture": shape}})
    assert (found.model.id, found.model.layers) == ("acme/own-8b", 32)
    assert found.engine.limits.max_model_len_tokens == 16384


@pytest.mark.parametrize("shape", [{}, {"num_hidden_layers": "many"}, {"num_hidden_layers": 0, "hidden_size": None}])
def test_an_architecture_that_cannot_be_read_is_refused_not_raised(shape: dict[str, Any]) -> None:
    found = only_problem({"spec.model": {"id": "acme/own-8b", "architecture": shape}})
    assert (found.code, found.field) == ("UnsupportedArchitecture", "spec.model.architecture")


def test_a_raw_config_may_be_pasted_as_it_is() -> None:
    text = {
        "model_type": "qwen3_moe",
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "rope_scaling": None,
        "torch_dtype": "bfloat16",
    }
    nested = {"architectures": ["X"], "text_config": text, "vision_config": {"depth": 27}}
    for config in (text, nested):
        found = good({"spec.model": {"id": "acme/moe", "architecture": config}})
        assert found.model.moe is not None
        assert found.model.moe.experts == 128


def test_an_architecture_may_be_like_a_known_one() -> None:
    like = {"like": "meta-llama/Llama-3.3-70B-Instruct", "nativeWeights": "fp8"}
    found = good({"spec.model": {"id": "acme/chat-fp8", "architecture": like}})
    assert (found.model.id, found.model.layers, found.weights) == ("acme/chat-fp8", 80, NumberFormat.FP8)


def test_a_likeness_to_nothing_is_refused_at_its_place() -> None:
    found = only_problem({"spec.model": {"id": "acme/x", "architecture": {"like": "Qwen/Qwen3-33B"}}})
    assert (found.code, found.field, found.value) == ("UnknownModel", "spec.model.architecture", "Qwen/Qwen3-33B")


def test_an_architecture_of_absurd_size_is_refused() -> None:
    found = only_problem({"spec.model": {"id": "acme/x", "architecture": {"ignore": ["x" * 100] * 1000}}})
    assert found.field == "spec.model.architecture"
    assert "at most 65536 are read" in found.sentence


def test_the_shape_rules_reach_the_user_by_field_and_value() -> None:
    shape = {"layers": 32, "hidden": 4096, "heads": 32, "kvHeads": 5, "ffnHidden": 14336, "vocab": 32000}
    found = only_problem({"spec.model": {"id": "acme/x", "architecture": {**shape, "maxContextTokens": 4096}}})
    assert "`num_key_value_heads` is 5; it must divide num_attention_heads, 32" in found.sentence


def test_fp16_is_bf16_and_fp4_is_asked_back() -> None:
    assert good({"spec.model.weights": "fp16"}).weights is NumberFormat.BF16
    found = only_problem({"spec.model.weights": "fp4"})
    assert found.field == "spec.model.weights"
    assert "'nvfp4' or 'mxfp4'" in found.sentence


def test_models_and_gpus_are_looked_up_in_the_catalogue_that_is_given() -> None:
    mine = built_in().extended("models: {acme/own: {like: Qwen/Qwen3-32B}}", "mine.yaml")
    manifest = fleet({"spec.model.id": "acme/own", "metadata.uid": "u", "metadata.generation": 1})
    assert not isinstance(fleet_from_manifest(manifest), Fleet)
    found = fleet_from_manifest(manifest, mine)
    assert isinstance(found, Fleet)
    assert found.model.layers == 64


def test_an_alias_shares_shapes_but_the_engine_loads_what_was_named() -> None:
    assert good({"spec.model.id": "meta-llama/Llama-3.3-70B-Instruct"}).model.id == "meta-llama/Llama-3.3-70B-Instruct"


def test_a_context_longer_than_the_model_was_made_for_is_refused() -> None:
    found = only_problem({"spec.model.maxModelLen": 1_000_000})
    assert found.field == "spec.model.maxModelLen"
    assert "40960 tokens" in found.sentence


def test_a_context_shorter_than_the_mean_request_is_refused() -> None:
    found = only_problem({"spec.model.maxModelLen": 1024})
    assert "1250 tokens, above spec.model.maxModelLen, 1024" in found.sentence
    assert "Raise maxModelLen (up to 40960), or correct" in found.sentence


def test_a_model_too_short_for_the_mean_request_is_not_to_be_raised() -> None:
    short = {"like": "Qwen/Qwen3-32B", "maxContextTokens": 512}
    found = only_problem({"spec.model.id": "acme/short", "spec.model.architecture": short})
    assert "above spec.model.maxModelLen, 512" in found.sentence
    assert "acme/short takes no more: correct the lengths" in found.sentence
