"""From the JSON schema that pydantic writes to the structural schema that Kubernetes accepts.

Kubernetes forbids `$ref`, `anyOf` with null, numeric exclusive bounds, `const` and `title`; see "Specifying a
structural schema" in its documentation. `faults` checks a result for what the API server would refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from inferencefleet.api.base import rule

Schema = dict[str, Any]

RULES = "x-kubernetes-validations"

_FORBIDDEN = (
    "$ref",
    "$defs",
    "title",
    "const",
    "prefixItems",
    "examples",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "oneOf",
)


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, by its camelCase names."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _clean(raw, raw.get("$defs", {}))


def _clean(node: Schema, defs: Schema) -> Schema:
    if "$ref" in node:
        target = defs[node["$ref"].rpartition("/")[2]]
        return _clean(target | {key: value for key, value in node.items() if key != "$ref"}, defs)
    if "anyOf" in node:
        real = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
        if len(real) != 1:
            raise ValueError(f"a structural schema has one type for each field, here are {real}")
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return _clean(real[0] | rest, defs)
    found: Schema = {}
    for key, value in node.items():
        if key in ("title", "$defs") or (key == "default" and value is None):
            continue
        if key == "properties":
            found[key] = {name: _clean(child, defs) for name, child in value.items()}
        elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
            found[key] = _clean(value, defs)
        elif key == "const":
            found["enum"] = [value]
        else:
            found[key] = value
    if found.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    if found.get("x-kubernetes-preserve-unknown-fields"):
        found.pop("additionalProperties", None)
    return _with_true_bounds(found)


def _with_true_bounds(node: Schema) -> Schema:
    """The API server cuts a fractional bound in its message ("should be less than or equal to 0" for 0.99), so such
    bounds become a rule with words of its own."""
    low, high = node.get("minimum"), node.get("maximum")
    if low is None or high is None or (float(low).is_integer() and float(high).is_integer()):
        return node
    kept = {key: value for key, value in node.items() if key not in ("minimum", "maximum")}
    within = rule(
        f"self >= {float(low)} && self <= {float(high)}",
        f"{{self}} is out of range: give a number from {low} to {high}",
    )
    return kept | {RULES: [*kept.get(RULES, ()), within]}


def faults(node: Schema, path: str = "schema") -> Iterator[str]:
    """What the API server would refuse, each with its path; nothing for a structural schema."""
    yield from (f"{path}: {key} is forbidden" for key in _FORBIDDEN if key in node)
    if "type" not in node and not node.get("x-kubernetes-int-or-string"):
        yield f"{path}: no type"
    if path == "schema.metadata":
        if node != {"type": "object"}:
            yield f"{path}: says more than its type"
        return
    if "description" not in node and not path.endswith("[]") and path != "schema":
        yield f"{path}: no description"
    if "properties" in node and "additionalProperties" in node:
        yield f"{path}: properties and additionalProperties exclude each other"
    if node.get("type") == "array" and "items" not in node:
        yield f"{path}: an array without items"
    if node.get("x-kubernetes-list-type") == "map":
        item = node["items"]
        for key in node["x-kubernetes-list-map-keys"]:
            if key not in item.get("required", ()) and "default" not in item["properties"].get(key, {}):
                yield f"{path}: list key {key} is neither required nor defaulted"
    for name, child in node.get("properties", {}).items():
        yield from faults(child, f"{path}.{name}")
    if isinstance(node.get("additionalProperties"), dict):
        yield from faults(node["additionalProperties"], f"{path}[]")
    if isinstance(node.get("items"), dict):
        yield from faults(node["items"], f"{path}[]")
