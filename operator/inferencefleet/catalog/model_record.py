"""The compact form of a model in `data/models.json`: defaults left out, one letter for each layer's attention."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import AttentionGroup, AttentionKind, MlaShape, ModelSpec, MoeShape

_LETTERS = MappingProxyType({"F": AttentionKind.FULL, "S": AttentionKind.SLIDING, "L": AttentionKind.LINEAR})


def to_record(spec: ModelSpec) -> dict[str, Any]:
    """JSON of a model."""
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
    if spec.mlp_matrices != 3:
        record["mlp_matrices"] = spec.mlp_matrices
    if spec.groups:
        record["groups"] = [_group_record(group) for group in spec.groups]
    for name in ("sliding_window_tokens", "linear_parameters", "linear_state_bytes"):
        if getattr(spec, name):
            record[name] = getattr(spec, name)
    for name in ("mla", "moe"):
        nested = getattr(spec, name)
        if nested is not None:
            record[name] = {field: getattr(nested, field) for field in nested.__slots__}
    return record


def _group_record(group: AttentionGroup) -> dict[str, Any]:
    default = AttentionGroup(kind=group.kind, layers=0, parameters=0)
    values = {name: getattr(group, name) for name in group.__slots__}
    return {name: value for name, value in values.items() if name == "kind" or value != getattr(default, name)}


def from_record(record: Mapping[str, Any]) -> ModelSpec:
    """The inverse of `to_record`."""
    fields = dict(record)
    fields["native_weights"] = NumberFormat(fields["native_weights"])
    fields["attention"] = tuple(_LETTERS[letter] for letter in fields.get("attention", ""))
    fields["groups"] = tuple(
        AttentionGroup(**{**group, "kind": AttentionKind(group["kind"])}) for group in fields.get("groups", ())
    )
    if "mla" in fields:
        fields["mla"] = MlaShape(**fields["mla"])
    if "moe" in fields:
        fields["moe"] = MoeShape(**fields["moe"])
    return ModelSpec(**fields)
