from __future__ import annotations

import pytest

from inferencefleet.catalog import UnknownModel, model, model_from_hf_config, models
from inferencefleet.catalog.model_record import from_record, to_record
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import AttentionKind

DENSE = {
    "hidden_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}


def test_every_model_is_complete() -> None:
    assert len(models()) > 80
    for spec in models().values():
        assert min(spec.layers, spec.hidden, spec.heads, spec.kv_heads, spec.head_dim, spec.vocab) > 0
        assert len(spec.attention) in {0, spec.layers}
        assert spec.ffn_hidden or spec.moe
        assert spec.source


@pytest.mark.parametrize(
    ("alias", "layers"),
    [
        ("Qwen/Qwen3-32B", 64),
        ("meta-llama/Llama-3.1-8B-Instruct", 32),
        ("meta-llama/Llama-3.3-70B-Instruct", 80),
        ("QWEN/qwen3-32b", 64),
    ],
)
def test_ids_and_aliases_resolve_whatever_their_case(alias: str, layers: int) -> None:
    assert model(alias).layers == layers


def test_an_alias_keeps_its_own_id() -> None:
    assert model("meta-llama/llama-3.3-70b-instruct").id == "meta-llama/Llama-3.3-70B-Instruct"


def test_an_unknown_model_names_the_value_the_closest_and_the_way_out() -> None:
    with pytest.raises(UnknownModel, match=r"'Qwen/Qwen3-33B'; closest: Qwen/Qwen3-32B.*config\.json"):
        model("Qwen/Qwen3-33B")


def test_records_survive_a_round_trip() -> None:
    for spec in models().values():
        assert from_record(to_record(spec)) == spec


def test_grouped_query_attention_needs_no_head_dim() -> None:
    spec = model_from_hf_config("me/dense", DENSE)
    assert (spec.head_dim, spec.kv_heads, spec.attention, spec.moe) == (128, 8, (), None)
    assert spec.native_weights is NumberFormat.BF16


def test_a_sliding_window_that_is_switched_off_does_not_count() -> None:
    off = model_from_hf_config("me/off", {**DENSE, "sliding_window": 4096, "use_sliding_window": False})
    on = model_from_hf_config("me/on", {**DENSE, "sliding_window": 4096})
    assert off.sliding_window_tokens is None
    assert on.sliding_attention_layers == 4
    assert on.sliding_window_tokens == 4096


def test_linear_attention_layers_bring_parameters_and_state() -> None:
    spec = model_from_hf_config(
        "me/hybrid",
        {
            **DENSE,
            "layer_types": ["linear_attention"] * 3 + ["full_attention"],
            "linear_num_key_heads": 16,
            "linear_key_head_dim": 128,
            "linear_num_value_heads": 32,
            "linear_value_head_dim": 128,
        },
    )
    assert spec.attention.count(AttentionKind.LINEAR) == 3
    assert spec.full_attention_layers == 1
    assert spec.linear_state_bytes == 32 * 128 * 128 * 4
    assert spec.linear_parameters > 0


def test_mixture_of_experts_layers_start_after_the_dense_ones() -> None:
    spec = model_from_hf_config(
        "me/moe",
        {
            **DENSE,
            "n_routed_experts": 64,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1408,
            "n_shared_experts": 2,
            "first_k_dense_replace": 1,
        },
    )
    assert spec.moe is not None
    assert (spec.moe.layers, spec.moe.shared_hidden, spec.ffn_hidden) == (3, 2816, 14336)


def test_multimodal_configs_nest_the_language_model() -> None:
    assert model_from_hf_config("me/vl", {"text_config": DENSE, "tie_word_embeddings": True}).tied_embeddings


@pytest.mark.parametrize(
    ("id", "quantization", "weights"),
    [
        ("me/a", {"quant_method": "fp8"}, "fp8"),
        ("me/b", {"quant_method": "mxfp4"}, "mxfp4"),
        ("me/c", {"quant_method": "awq"}, "int4"),
        ("me/d", {"quant_algo": "NVFP4"}, "nvfp4"),
        ("me/e", {"config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}}}, "int4"),
        ("me/model-FP8", {}, "fp8"),
        ("me/f", {"quant_method": "modelopt", "ignore": ["model.fp8_layer"]}, "bf16"),
    ],
)
def test_the_weight_format_is_read_from_the_quantisation_config_or_the_id(
    id: str, quantization: dict[str, object], weights: str
) -> None:
    assert model_from_hf_config(id, {**DENSE, "quantization_config": quantization}).native_weights == weights
