"""What a config.json, or shapes by hand, must not say: refused by field, value, rule and way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.catalog import (
    UnsupportedArchitecture,
    built_in,
    model,
    model_from_hf_config,
    model_from_hf_config_file,
)
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import ModelSpec
from tests.unit.catalog.configs import DENSE

EXPERTS = {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 1408}
MINE: dict[str, Any] = {
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kvHeads": 8,
    "ffnHidden": 14336,
    "vocab": 128256,
    "maxContextTokens": 8192,
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_hidden_layers": None}, "no `num_hidden_layers`; add it"),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` is 0; it must be a whole number above 0"),
        ({"num_hidden_layers": "many"}, "`num_hidden_layers` is 'many'; it must be a whole number"),
        ({"num_hidden_layers": 2.5}, "`num_hidden_layers` is 2.5; it must be a whole number"),
        ({"num_hidden_layers": True}, "`num_hidden_layers` is True; it must be a whole number"),
        ({"hidden_size": -1}, "`hidden_size` is -1; it must be a whole number"),
        ({"hidden_size": float("nan")}, "`hidden_size` is nan; it must be a whole number"),
        ({"vocab_size": [1]}, r"`vocab_size` is \[1\]; it must be a whole number"),
        ({"num_attention_heads": 0}, "`num_attention_heads` is 0; it must be a whole number above 0"),
        ({"num_key_value_heads": 5}, "`num_key_value_heads` is 5; it must divide num_attention_heads, 32"),
        ({"intermediate_size": None}, "no `intermediate_size`"),
        ({"architectures": ["BertForMaskedLM"]}, "`architectures` is .*; it writes no text"),
        ({"architectures": ["Qwen2ForSequenceClassification"]}, "`architectures` is .*; it writes no text"),
        ({"is_encoder_decoder": True}, "`is_encoder_decoder` is True; models with an encoder"),
        ({"vocab_size": 10**12}, "`vocab_size` is 1000000000000"),
        ({**EXPERTS, "num_experts_per_tok": 65}, "`num_experts_per_tok` is 65; a token cannot use more than the 64"),
        ({**EXPERTS, "num_experts_per_tok": None}, "no `num_experts_per_tok`"),
        ({"layer_types": ["full_attention"] * 3}, "`layer_types` is .*; it has 3 entries, and there are 4 layers"),
        ({"layer_types": ["magic"] * 4}, "`layer_types` is .*; 'magic' is not known; known kinds: full_attention"),
        ({"layer_types": "full"}, "`layer_types` is 'full'; it must be a list"),
        ({"hidden_size_per_layer_input": 256}, "`hidden_size_per_layer_input` is 256; .* not supported"),
        ({"kv_lora_rank": 512}, "no `qk_nope_head_dim`"),
        ({"hybrid_override_pattern": "MX*"}, "`hybrid_override_pattern` is 'MX\\*'; it holds 'X'; known blocks"),
        ({"attn_output_gate": "yes"}, "`attn_output_gate` is 'yes'; write true or false"),
        ({"linear_attn_config": 3}, "`linear_attn_config` is 3; it must be a block"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    config = {key: value for key, value in {**DENSE, **changes}.items() if value is not None}
    with pytest.raises(UnsupportedArchitecture, match=f"model 'me/own': .*{says}"):
        model_from_hf_config("me/own", config)


READ = (*DENSE, *EXPERTS, "layer_types", "kv_lora_rank", "sliding_window", "head_dim", "moe_layer_freq")
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(READ), value=ODD)
def test_whatever_one_field_says_the_config_is_read_or_refused_by_a_name(name: str, value: object) -> None:
    said = ""
    try:
        found: object = model_from_hf_config("me/own", {**DENSE, **EXPERTS, name: value})
    except UnsupportedArchitecture as refusal:
        found, said = None, str(refusal)
    assert isinstance(found, ModelSpec) or re.search("model 'me/own': .*`[a-z_]+`", said)


def test_shapes_can_be_given_under_our_own_names() -> None:
    mine = model_from_hf_config("me/own", MINE)
    assert (mine.layers, mine.kv_heads, mine.head_dim, mine.max_context_tokens) == (32, 8, 128, 8192)
    experts = {"experts": 64, "expertsPerToken": 6, "expertHidden": 1408, "sharedHidden": 2816, "layers": 31}
    sparse = model_from_hf_config("me/moe", {**MINE, "moe": experts, "nativeWeights": "NVFP4"})
    assert sparse.moe is not None
    assert (sparse.moe.layers, sparse.moe.shared_hidden, sparse.native_weights) == (31, 2816, NumberFormat.NVFP4)
    latent = {"kvLoraRank": 512, "qkRopeHeadDim": 64, "qkNopeHeadDim": 128, "vHeadDim": 128}
    assert model_from_hf_config("me/mla", {**MINE, "mla": latent}).attention_style == "MLA"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kvheads": 8}, "unknown field `kvheads`; known fields: layers, hidden"),
        ({"moe": {"expert": 3}}, "unknown field `moe.expert`"),
        ({"moe": 3}, "`moe` is 3; it must be a block"),
        ({"moe": {"experts": 8, "expertsPerToken": 2, "expertHidden": 64, "layers": 40}}, "`moe.layers` is 40"),
        ({"nativeWeights": "fp4"}, "'fp4' is ambiguous: write nvfp4 .* or mxfp4"),
        ({"nativeWeights": "fp6"}, "unknown weight format 'fp6'; use one of: bf16"),
        ({"layers": 0}, "`num_hidden_layers` is 0"),
    ],
)
def test_our_own_names_are_refused_by_name_too(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        model_from_hf_config("me/own", {**MINE, **changes})


def test_a_file_is_read_like_the_config_in_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DENSE), encoding="utf-8")
    found = model_from_hf_config_file(path)
    assert (found.id, found.layers, found.source) == (tmp_path.name, 4, "config.json")
    assert model_from_hf_config_file(path, id="me/own").id == "me/own"


@pytest.mark.parametrize(("text", "says"), [("{", "cannot be read as JSON"), ("[1]", "holds no JSON object")])
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnsupportedArchitecture, match=says):
        model_from_hf_config_file(path)
    with pytest.raises(UnsupportedArchitecture, match="cannot be read"):
        model_from_hf_config_file(tmp_path / "missing.json")


def test_a_model_may_be_like_another_one_in_another_format() -> None:
    describe = built_in().models.describe
    found = describe("acme/chat", {"like": "meta-llama/Llama-3.3-70B-Instruct", "nativeWeights": "fp8"}, "here")
    assert (found.id, found.native_weights, found.layers) == ("acme/chat", NumberFormat.FP8, 80)
    assert found.source == "here: like meta-llama/Llama-3.3-70B-Instruct"
    longer = describe("acme/long", {"like": "Qwen/Qwen3-32B", "maxContextTokens": 131072}, "here")
    assert (longer.max_context_tokens, model("Qwen/Qwen3-32B").max_context_tokens) == (131072, 40960)


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ({"like": "Qwen/Qwen3-33B"}, "unknown model 'Qwen/Qwen3-33B'; closest: Qwen/Qwen3-32B"),
        ({"like": "Qwen/Qwen3-32B", "layers": 3}, "`layers` cannot be given beside `like`"),
        ({"like": "Qwen/Qwen3-32B", "maxContextTokens": -1}, "`maxContextTokens` is -1"),
        ({"like": "Qwen/Qwen3-32B", "nativeWeights": "fp4"}, "ambiguous"),
    ],
)
def test_a_likeness_that_cannot_be_is_refused(architecture: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        built_in().models.describe("acme/chat", architecture, "here")
