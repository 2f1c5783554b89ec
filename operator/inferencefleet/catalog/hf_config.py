"""From a Hugging Face `config.json` to the shapes that sizing needs.

Configs name the same thing in many ways, so each reader lists the names in order of preference. What `ModelSpec` cannot
hold exactly (MLPs of different widths) is averaged so that the totals (parameters, cache, state) stay right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inferencefleet.catalog import hf_attention
from inferencefleet.catalog.errors import UnsupportedArchitecture
from inferencefleet.catalog.hf_compressed import compressed_attention, searched_blocks
from inferencefleet.catalog.hf_fields import Fields
from inferencefleet.catalog.hf_hybrid import fold_nemotron_h, linear_layer
from inferencefleet.catalog.hf_moe import moe
from inferencefleet.catalog.hf_weights import native_weights
from inferencefleet.catalog.own_fields import to_hf_names
from inferencefleet.domain.model import ModelSpec, attention_groups

Config = Mapping[str, Any]

_TWO_MATRICES = frozenset(
    {"gpt2", "gptj", "gpt_neox", "gpt_bigcode", "opt", "bloom", "falcon", "mpt", "phi", "starcoder2", "nemotron"}
)
"""Model types whose MLP has no gate."""
_OTHER_TASKS = ("Classification", "ForMaskedLM", "ForQuestionAnswering", "BertModel", "RewardModel")
"""How the names of architectures end that do not generate."""
_NESTED = ("text_config", "llm_config", "language_config")


def model_from_hf_config_file(path: Path | str, id: str | None = None) -> ModelSpec:
    """The model that a `config.json` describes; `id` defaults to the config's own name, else the folder's.

    `UnsupportedArchitecture` when the file is no JSON object, or lacks a shape that sizing needs.
    """
    path = Path(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedArchitecture(f"{path}: cannot be read as JSON ({error}); give a config.json") from None
    if not isinstance(config, dict):
        raise UnsupportedArchitecture(f"{path}: holds no JSON object; give a Hugging Face config.json")
    named = id or config.get("_name_or_path") or (path.parent.name if path.stem == "config" else path.stem)
    return model_from_hf_config(str(named), config, source=path.name)


def model_from_hf_config(id: str, config: Config, source: str = "Hugging Face config.json") -> ModelSpec:
    """The shapes in this config; `UnsupportedArchitecture` names a field that is missing or cannot be so.

    Takes the raw fields of a `config.json`, also nested as multimodal models have them, or our own names
    (`layers`, `hidden`, `heads`, `kvHeads`, ...), which `own_fields` lists.
    """
    if not isinstance(config, Mapping):
        raise UnsupportedArchitecture(f"model {id!r}: the architecture is no block of fields; give a config.json")
    config = to_hf_names(id, config)
    _refuse_other_tasks(Fields(id, config))
    text = _text(config)
    fields = Fields(id, text)
    if fields.count("hidden_size_per_layer_input"):
        fields.refuse("hidden_size_per_layer_input", "embeddings of their own for each layer are not supported yet")
    hidden = fields.need("hidden_size", "n_embd", "d_model")
    layers, folded = _layers(fields)
    heads = fields.need("num_attention_heads", "n_head", "n_heads")
    kv_heads = folded.pop("kv_heads", 0) or _kv_heads(fields, heads)
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings", _ties_by_default(text)))
    attention = folded["attention"]
    sliding = fields.count("sliding_window", "attention_chunk_size") or None
    slides = "sliding" in {kind.value for kind in attention} or "compress_ratios" in text
    spec = ModelSpec(
        id=id,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=fields.count("head_dim", "attention_head_dim") or hidden // heads,
        vocab=fields.need("vocab_size"),
        tied_embeddings=bool(tied),
        max_context_tokens=fields.need(
            "max_position_embeddings", "max_sequence_length", "n_positions", "seq_length", "max_seq_len"
        ),
        native_weights=native_weights(id, config, text),
        sliding_window_tokens=sliding if slides else None,
        mla=hf_attention.mla(fields),
        mlp_matrices=2 if text.get("model_type") in _TWO_MATRICES else 3,
        source=source,
        **folded,
    )
    if spec.groups:
        return spec
    return replace(spec, groups=hf_attention.groups(fields, attention_groups(spec)))


def _refuse_other_tasks(fields: Fields) -> None:
    """Encoders have the same fields as decoders, and would be sized as if they wrote text."""
    named = fields.config.get("architectures")
    if isinstance(named, list) and named and all(str(name).endswith(_OTHER_TASKS) for name in named):
        fields.refuse("architectures", "it writes no text; give a model that does, such as one for causal language")
    if fields.flag("is_encoder_decoder"):
        fields.refuse("is_encoder_decoder", "models with an encoder of their own are not supported; give a decoder")


def _text(config: Config) -> Config:
    """Multimodal configs nest the language model."""
    for key in _NESTED:
        if isinstance(config.get(key), Mapping):
            nested: Config = config[key]
            return nested
    return config


def _layers(fields: Fields) -> tuple[int, dict[str, Any]]:
    """How many layers, and what differs between them."""
    text = fields.config
    if text.get("hybrid_override_pattern") or text.get("layers_block_type"):
        folded = fold_nemotron_h(fields)
        return folded.pop("layers"), folded
    layers = fields.need("num_hidden_layers", "n_layer", "n_layers", "num_layers")
    experts = moe(fields, layers)
    folded = {
        "attention": hf_attention.kinds(fields, layers),
        "moe": experts,
        "ffn_hidden": 0,
        **linear_layer(fields),
    }
    if text.get("block_configs"):
        return layers, folded | searched_blocks(fields, layers)
    if text.get("compress_ratios"):
        folded |= compressed_attention(fields, layers)
    if experts is None or experts.layers < layers:
        folded["ffn_hidden"] = _dense_ffn(fields)
    return layers, folded


def _dense_ffn(fields: Fields) -> int:
    names = ("dense_intermediate_size", "intermediate_size_mlp", "intermediate_size", "ffn_dim", "n_inner", "inner_dim")
    # The oldest configs leave it out: four times the width then, by their models' code.
    quadruple = 4 * fields.need("hidden_size", "n_embd", "d_model")
    plain = fields.config.get("model_type") in _TWO_MATRICES
    return fields.count(*names) or (quadruple if plain else fields.need("intermediate_size"))


def _kv_heads(fields: Fields, heads: int) -> int:
    names = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
    # DeciLM has other numbers in other layers; vLLM pads them all to the largest.
    by_layer = fields.each("num_key_value_heads_per_layer")
    found = max(by_layer) if by_layer else fields.count(*names)
    if not found and fields.flag("multi_query"):
        return 1
    if found and heads % found:
        name = next((name for name in names if fields.config.get(name)), "num_key_value_heads_per_layer")
        fields.refuse(name, f"it must divide num_attention_heads, {heads}; copy both from the model's config.json")
    return found or heads


def _ties_by_default(text: Config) -> bool:
    """Configs leave the field out where it has the default of the model's code."""
    return str(text.get("model_type")).startswith("gemma") or text.get("model_type") in {"bloom", "gpt2", "opt"}
