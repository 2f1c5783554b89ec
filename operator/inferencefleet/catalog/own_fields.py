"""Our own names for an architecture, for people who write one by hand; mapped onto the names of a `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferencefleet.catalog.errors import UnsupportedArchitecture
from inferencefleet.domain.hardware import weight_format

_NAMES = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "kvHeads": "num_key_value_heads",
    "headDim": "head_dim",
    "ffnHidden": "intermediate_size",
    "vocab": "vocab_size",
    "tiedEmbeddings": "tie_word_embeddings",
    "maxContextTokens": "max_position_embeddings",
    "slidingWindowTokens": "sliding_window",
    "nativeWeights": "nativeWeights",
    "moe": "moe",
    "mla": "mla",
}
_MOE = {
    "experts": "num_experts",
    "expertsPerToken": "num_experts_per_tok",
    "expertHidden": "moe_intermediate_size",
    "sharedHidden": "shared_expert_intermediate_size",
    "layers": "layers",
}
_MLA = {
    "kvLoraRank": "kv_lora_rank",
    "qLoraRank": "q_lora_rank",
    "qkRopeHeadDim": "qk_rope_head_dim",
    "qkNopeHeadDim": "qk_nope_head_dim",
    "vHeadDim": "v_head_dim",
}


def to_hf_names(id: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config with Hugging Face's names; unchanged unless it is written in ours (it has `layers` and `hidden`)."""
    if not {"layers", "hidden"} & set(config) or "hidden_size" in config:
        return config
    found = _renamed(id, "", config, _NAMES)
    if found.get("nativeWeights") is not None:
        found["nativeWeights"] = weight_format(str(found["nativeWeights"])).value
    experts = _block(id, "moe", found.pop("moe", None), _MOE)
    if (sparse := experts.pop("layers", None)) is not None:
        layers = found.get("num_hidden_layers")
        if not isinstance(sparse, int) or not isinstance(layers, int) or not 0 < sparse <= layers:
            raise UnsupportedArchitecture(
                f"model {id!r}: `moe.layers` is {sparse!r}; it must be a whole number from 1 to `layers`, {layers!r}"
            )
        found["first_k_dense_replace"] = layers - sparse
    return found | experts | _block(id, "mla", found.pop("mla", None), _MLA)


def _block(id: str, name: str, value: Any, names: Mapping[str, str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnsupportedArchitecture(f"model {id!r}: `{name}` is {value!r}; it must be a block of {', '.join(names)}")
    return _renamed(id, f"{name}.", value, names)


def _renamed(id: str, prefix: str, values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    if unknown := [key for key in values if key not in names]:
        raise UnsupportedArchitecture(
            f"model {id!r}: unknown field `{prefix}{unknown[0]}`; known fields: {', '.join(names)}. "
            "Or paste the model's config.json as it is."
        )
    return {names[key]: value for key, value in values.items()}
