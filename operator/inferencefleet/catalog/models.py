"""Built-in models from `data/models.json`, which `build_models.py` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from inferencefleet.catalog.errors import UnknownModel, closest
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import AttentionKind, MlaShape, ModelSpec, MoeShape

ALIASES = MappingProxyType(
    {
        # Instruction-tuned and later checkpoints with the very shapes of a catalogue entry.
        "meta-llama/Llama-3.1-8B": "meta-llama/Meta-Llama-3.1-8B",
        "meta-llama/Meta-Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
        "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
        "meta-llama/Meta-Llama-3.1-70B-Instruct": "meta-llama/Meta-Llama-3.1-70B",
        "meta-llama/Llama-3.3-70B-Instruct": "meta-llama/Meta-Llama-3.1-70B",
        "meta-llama/Llama-3.1-405B": "meta-llama/Meta-Llama-3.1-405B",
        "meta-llama/Llama-3.1-405B-Instruct": "meta-llama/Meta-Llama-3.1-405B",
        "mistralai/Mixtral-8x7B-Instruct-v0.1": "mistralai/Mixtral-8x7B-v0.1",
        "mistralai/Mixtral-8x22B-Instruct-v0.1": "mistralai/Mixtral-8x22B-v0.1",
        "deepseek-ai/DeepSeek-V3-0324": "deepseek-ai/DeepSeek-V3",
        "deepseek-ai/DeepSeek-V3.1": "deepseek-ai/DeepSeek-V3",
        "deepseek-ai/DeepSeek-R1-0528": "deepseek-ai/DeepSeek-R1",
        "Qwen/Qwen3-235B-A22B-Instruct-2507": "Qwen/Qwen3-235B-A22B",
        "Qwen/Qwen3-235B-A22B-Thinking-2507": "Qwen/Qwen3-235B-A22B",
        "Qwen/Qwen3-30B-A3B-Instruct-2507": "Qwen/Qwen3-30B-A3B",
        "Qwen/Qwen3-30B-A3B-Thinking-2507": "Qwen/Qwen3-30B-A3B",
    }
)

_LETTERS = {"F": AttentionKind.FULL, "S": AttentionKind.SLIDING, "L": AttentionKind.LINEAR}


def model(hf_id: str) -> ModelSpec:
    """The model with this Hugging Face id (case does not matter) or alias; an alias keeps its own id."""
    found = _ids().get(hf_id.strip().lower())
    if found is None:
        near = ", ".join(closest(hf_id, [*models(), *ALIASES]))
        raise UnknownModel(
            f"unknown model {hf_id!r}; closest: {near}. "
            "Use one of these, or describe the architecture (the fields of its config.json) explicitly."
        )
    id, entry = found
    return replace(models()[entry], id=id)


@cache
def models() -> Mapping[str, ModelSpec]:
    """All built-in models by id, aliases not repeated."""
    text = resources.files("inferencefleet.catalog").joinpath("data/models.json").read_text(encoding="utf-8")
    return MappingProxyType({raw["id"]: from_record(raw) for raw in json.loads(text)["models"]})


@cache
def _ids() -> Mapping[str, tuple[str, str]]:
    """Lower-case id -> the id as published, and the entry that has its shapes."""
    ids = {alias.lower(): (alias, entry) for alias, entry in ALIASES.items()}
    return ids | {name.lower(): (name, name) for name in models()}


def to_record(spec: ModelSpec) -> dict[str, Any]:
    """The compact form in `models.json`: defaults left out, one letter for each layer's attention."""
    letters = {kind: letter for letter, kind in _LETTERS.items()}
    record: dict[str, Any] = {
        "id": spec.id,
        "layers": spec.layers,
        "hidden": spec.hidden,
        "heads": spec.heads,
        "kv_heads": spec.kv_heads,
        "head_dim": spec.head_dim,
        "ffn_hidden": spec.ffn_hidden,
        "vocab": spec.vocab,
        "tied_embeddings": spec.tied_embeddings,
        "max_context_tokens": spec.max_context_tokens,
        "native_weights": spec.native_weights.value,
        "source": spec.source,
    }
    if spec.attention:
        record["attention"] = "".join(letters[kind] for kind in spec.attention)
    for name in ("sliding_window_tokens", "linear_parameters", "linear_state_bytes"):
        if getattr(spec, name):
            record[name] = getattr(spec, name)
    for name in ("mla", "moe"):
        nested = getattr(spec, name)
        if nested is not None:
            record[name] = {field: getattr(nested, field) for field in nested.__slots__}
    return record


def from_record(record: Mapping[str, Any]) -> ModelSpec:
    """The inverse of `to_record`."""
    fields = dict(record)
    fields["native_weights"] = NumberFormat(fields["native_weights"])
    fields["attention"] = tuple(_LETTERS[letter] for letter in fields.get("attention", ""))
    if "mla" in fields:
        fields["mla"] = MlaShape(**fields["mla"])
    if "moe" in fields:
        fields["moe"] = MoeShape(**fields["moe"])
    return ModelSpec(**fields)
