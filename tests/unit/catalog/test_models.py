from __future__ import annotations

import json
from importlib import resources

import pytest

from inferencefleet.catalog import UnknownModel, model, model_from_hf_config, models
from inferencefleet.catalog.build_models import by_hand
from inferencefleet.catalog.model_record import from_record, to_record
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import AttentionKind, attention_groups
from tests.unit.catalog.configs import DENSE

DATA = resources.files("inferencefleet.catalog").joinpath("data")


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


def test_every_config_of_the_collection_is_represented() -> None:
    data = json.loads(DATA.joinpath("models.json").read_text(encoding="utf-8"))
    assert data["skipped"] == {}
    assert len(data["models"]) > 140


def test_the_data_file_holds_what_was_written_by_hand() -> None:
    records = {record["id"]: record for record in json.loads(DATA.joinpath("models.json").read_text())["models"]}
    for id, record in by_hand().items():
        assert records[id] == record, f"{id}: run python -m inferencefleet.catalog.build_models"
        assert "2026" in str(record["source"])


@pytest.mark.parametrize(
    ("id", "style"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "GQA"),
        ("meta-llama/Llama-2-7b-hf", "MHA"),
        ("deepseek-ai/DeepSeek-V3", "MLA"),
        ("deepseek-ai/DeepSeek-V3.2", "MLA, sparse"),
        ("deepseek-ai/DeepSeek-V4-Pro", "MQA, compressed, sparse, sliding window"),
        ("openai/gpt-oss-120b", "GQA, sliding window"),
        ("google/gemma-3-1b-it", "MQA, sliding window"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "GQA, sliding window"),
        ("Qwen/Qwen3.5-27B", "GQA, linear"),
        ("moonshotai/Kimi-K3", "MLA, linear"),
        ("MiniMaxAI/MiniMax-M3", "GQA, sparse"),
    ],
)
def test_each_model_has_a_kind_of_attention(id: str, style: str) -> None:
    assert model(id).attention_style == style


@pytest.mark.parametrize(
    ("id", "full", "windows", "window"),
    [
        ("openai/gpt-oss-120b", 18, 18, 128),
        ("google/gemma-2-9b", 21, 21, 4096),
        ("google/gemma-3-27b-it", 10, 52, 1024),
        ("google/gemma-4-26B-A4B", 5, 25, 1024),
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct", 12, 36, 8192),
        ("XiaomiMiMo/MiMo-V2-Flash", 9, 39, 128),
        ("mistralai/Mistral-7B-v0.1", 0, 32, 4096),
    ],
)
def test_layers_with_a_window_are_counted(id: str, full: int, windows: int, window: int) -> None:
    spec = model(id)
    assert (spec.full_attention_layers, spec.sliding_attention_layers) == (full, windows)
    assert spec.sliding_window_tokens == window


def test_layers_may_have_heads_of_their_own() -> None:
    full, sliding = attention_groups(model("google/gemma-4-26B-A4B"))
    assert (full.kv_heads, full.cached_elements) == (2, 2 * 2 * 512)
    assert (sliding.kv_heads, sliding.cached_elements) == (8, 2 * 8 * 256)
    full, sliding = attention_groups(model("XiaomiMiMo/MiMo-V2-Flash"))
    assert (full.cached_elements, sliding.cached_elements) == (4 * (192 + 128), 8 * (192 + 128))


def test_an_output_gate_costs_a_projection() -> None:
    plain = {**DENSE, "head_dim": 128}
    gated = model_from_hf_config("me/gated", {**plain, "attn_output_gate": True})
    more = (
        attention_groups(gated)[0].parameters - attention_groups(model_from_hf_config("me/plain", plain))[0].parameters
    )
    assert more == 4096 * 32 * 128


def test_sparse_attention_keeps_all_and_reads_a_selection() -> None:
    (sparse,) = attention_groups(model("deepseek-ai/DeepSeek-V3.2"))
    assert (sparse.selected_tokens, sparse.index_bytes) == (2048, 132)
    own, shared = attention_groups(model("zai-org/GLM-5.2"))
    assert (own.layers + shared.layers, shared.index_bytes) == (78, 0)
    dense, blocks = attention_groups(model("MiniMaxAI/MiniMax-M3"))
    assert (dense.layers, dense.selected_tokens, blocks.layers, blocks.selected_tokens) == (3, None, 57, 16 * 128)


def test_compressed_attention_keeps_one_entry_for_several_tokens() -> None:
    window, fine, coarse = attention_groups(model("deepseek-ai/DeepSeek-V4-Flash"))
    assert (window.layers, window.cached_elements) == (43, 512)
    assert (fine.layers, fine.cached_elements, fine.selected_tokens) == (21, 128, 512 * 4)
    assert (coarse.layers, coarse.cached_elements, coarse.selected_tokens) == (20, 4, None)


def test_layers_without_attention_have_no_cache() -> None:
    spec = model("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    assert (spec.layers, sum(group.layers for group in attention_groups(spec))) == (80, 49)


def test_older_models_have_two_matrices_in_an_mlp() -> None:
    gptj = model("EleutherAI/gpt-j-6b")
    assert (gptj.mlp_matrices, gptj.ffn_hidden, gptj.head_dim) == (2, 16384, 256)
    assert model("meta-llama/Llama-2-7b-hf").mlp_matrices == 3
