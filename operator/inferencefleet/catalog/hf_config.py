"""From a Hugging Face `config.json` to the shapes that sizing needs.

Configs name the same thing in many ways, so each reader below lists the names in order of preference. Structures that
`ModelSpec` cannot hold exactly are folded so that the totals (parameters, cache, state) stay right; see the comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencefleet.catalog.errors import UnsupportedArchitecture
from inferencefleet.catalog.hf_hybrid import fold_nemotron_h, linear_layer
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import AttentionKind, MlaShape, ModelSpec, MoeShape

Config = Mapping[str, Any]

_KINDS = {
    "full_attention": AttentionKind.FULL,
    "sliding_attention": AttentionKind.SLIDING,
    "chunked_attention": AttentionKind.SLIDING,
    "linear_attention": AttentionKind.LINEAR,
}


def model_from_hf_config(id: str, config: Config, source: str = "Hugging Face config.json") -> ModelSpec:
    """The shapes in this config; `UnsupportedArchitecture` when one that sizing needs is missing."""
    text = _text(config)
    if unsupported := [key for key in ("compress_ratios", "block_configs") if text.get(key)]:
        raise UnsupportedArchitecture(
            f"model {id!r}: `{unsupported[0]}` (layers with different shapes) is not supported yet; "
            "give the architecture explicitly, with averages over the layers"
        )
    heads = _need(id, text, "num_attention_heads")
    hidden = _need(id, text, "hidden_size")
    if "hybrid_override_pattern" in text or "layers_block_type" in text:
        folded = fold_nemotron_h(text)
    else:
        layers = _need(id, text, "num_hidden_layers")
        moe = _moe(text, layers)
        folded = {
            "layers": layers,
            "attention": _attention(text, layers),
            "moe": moe,
            "ffn_hidden": 0 if moe and moe.layers == layers else _dense_ffn(text),
            **linear_layer(text),
        }
    sliding = AttentionKind.SLIDING in folded["attention"]
    return ModelSpec(
        id=id,
        hidden=hidden,
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=_first(text, "head_dim", "attention_head_dim") or hidden // heads,
        vocab=_need(id, text, "vocab_size"),
        tied_embeddings=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        max_context_tokens=_need(id, text, "max_position_embeddings"),
        native_weights=_weights(id, config, text),
        sliding_window_tokens=_first(text, "sliding_window", "attention_chunk_size") if sliding else None,
        mla=_mla(text),
        source=source,
        **folded,
    )


def _text(config: Config) -> Config:
    """Multimodal configs nest the language model."""
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(config.get(key), Mapping):
            nested: Config = config[key]
            return nested
    return config


def _first(config: Config, *names: str) -> int:
    return next((int(config[name]) for name in names if config.get(name)), 0)


def _need(id: str, config: Config, name: str) -> int:
    if not config.get(name):
        raise UnsupportedArchitecture(f"model {id!r}: the config has no `{name}`; give the architecture explicitly")
    return int(config[name])


def _attention(text: Config, layers: int) -> tuple[AttentionKind, ...]:
    """The kind of each layer; empty when all are full attention."""
    full, sliding, linear = AttentionKind.FULL, AttentionKind.SLIDING, AttentionKind.LINEAR
    if types := text.get("layer_types"):
        kinds = tuple(_KINDS.get(kind, full) for kind in types)
    elif pattern := text.get("hybrid_layer_pattern"):
        kinds = tuple(sliding if flag else full for flag in pattern)
    elif nested := text.get("linear_attn_config"):
        keep = set(nested["full_attn_layers"])  # counted from 1
        kinds = tuple(full if layer in keep else linear for layer in range(1, layers + 1))
    elif text.get("attention_chunk_size"):
        # Llama 4: every fourth layer sees the whole context, the others a chunk.
        kinds = tuple(full if layer % 4 == 0 else sliding for layer in range(1, layers + 1))
    elif text.get("sliding_window") and text.get("use_sliding_window", True):
        kinds = (sliding,) * layers
    else:
        return ()
    return () if set(kinds) == {full} else kinds[:layers]


def _mla(text: Config) -> MlaShape | None:
    if not text.get("kv_lora_rank"):
        return None
    return MlaShape(
        kv_lora_rank=text["kv_lora_rank"],
        qk_rope_head_dim=text.get("qk_rope_head_dim") or 0,
        qk_nope_head_dim=text["qk_nope_head_dim"],
        v_head_dim=text["v_head_dim"],
        q_lora_rank=text.get("q_lora_rank"),
    )


def _dense_ffn(text: Config) -> int:
    return _first(text, "dense_intermediate_size", "intermediate_size_mlp", "intermediate_size")


def _moe(text: Config, layers: int) -> MoeShape | None:
    experts = _first(text, "n_routed_experts", "num_experts", "num_local_experts")
    if experts <= 1:
        return None
    expert_hidden = _first(text, "moe_intermediate_size", "intermediate_size")
    shared = (
        _first(text, "moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", "share_expert_dim")
        or _first(text, "n_shared_experts", "num_shared_experts") * expert_hidden
    )
    if text.get("model_type") == "llama4_text":
        shared = expert_hidden
    if text.get("enable_moe_block"):
        # Gemma 4 runs a dense MLP beside the experts in each layer: the same cost as a shared expert.
        shared = int(text["intermediate_size"])
    if latent := _first(text, "routed_expert_hidden_size"):
        # Experts narrower than the model: fold their width, and the two projections every token passes.
        expert_hidden = round(expert_hidden * latent / int(text["hidden_size"]))
        shared += round(2 * latent / 3)
    return MoeShape(
        experts=experts,
        experts_per_token=_first(
            text, "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts"
        ),
        expert_hidden=expert_hidden,
        shared_hidden=shared,
        layers=_moe_layers(text, layers),
    )


def _moe_layers(text: Config, layers: int) -> int:
    frequency = text.get("moe_layer_freq")
    if isinstance(frequency, list):
        return sum(1 for flag in frequency[:layers] if flag)
    if types := text.get("mlp_layer_types"):
        return sum(1 for kind in types[:layers] if kind == "sparse")
    step = int(frequency or _first(text, "decoder_sparse_step", "interleave_moe_layer_step") or 1)
    dense = set(range(int(text.get("first_k_dense_replace") or 0))) | set(text.get("mlp_only_layers") or ())
    return sum(1 for layer in range(layers) if layer not in dense and (layer + 1) % step == 0)


def _weights(id: str, config: Config, text: Config) -> NumberFormat:
    """Format of the checkpoint: the quantisation config, else what the id says (some configs leave it out)."""
    quantization = config.get("quantization_config") or text.get("quantization_config") or {}
    if isinstance(quantization, Mapping):
        # The rest of it lists layers that are *not* quantised, with names that may mislead.
        names = ("quant_method", "quant_algo", "format", "config_groups")
        quantization = [quantization.get(name) for name in names]
    told = f"{quantization} {text.get('expert_dtype')}".lower()
    told += " " + id.lower()
    bits4 = "'num_bits': 4" in told
    if "mxfp4" in told:
        return NumberFormat.MXFP4
    if "nvfp4" in told or (bits4 and "'type': 'float'" in told):
        return NumberFormat.NVFP4
    if bits4 or any(mark in told for mark in ("awq", "gptq", "w4a16", "int4")):
        return NumberFormat.INT4
    if "int8" in told or "w8a8" in told or ("'num_bits': 8" in told and "'type': 'int'" in told):
        return NumberFormat.INT8
    return NumberFormat.FP8 if "fp8" in told else NumberFormat.BF16
