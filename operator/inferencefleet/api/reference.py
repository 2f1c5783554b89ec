"""Writes the field reference from the CRDs: `python -m inferencefleet.api.reference > docs/reference.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from inferencefleet.api.crd import FLEET, POOL, Kind, crd

_INTRO = """# Field reference

Generated from the models: `python -m inferencefleet.api.reference > docs/reference.md`.
The same texts are in the cluster: `kubectl explain ifleet.spec.slo`. Fields in **bold** are required.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([_INTRO, *(line for kind in (FLEET, POOL) for line in _kind(kind))]) + "\n"


def _kind(kind: Kind) -> Iterator[str]:
    schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    yield f"## {kind.kind}\n"
    yield f"{schema['description']} Short name `{kind.short}`, {kind.scope.lower()}.\n"
    for part in ("spec", "status"):
        yield f"### {kind.kind} {part}\n"
        yield "| field | type | default | meaning |"
        yield "|---|---|---|---|"
        yield from _rows(schema["properties"][part], part)
        yield ""


def _rows(node: dict[str, Any], path: str) -> Iterator[str]:
    required = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        field = f"{path}.{name}"
        shown = f"**`{field}`**" if name in required else f"`{field}`"
        default = child.get("default")
        told = f"`{json.dumps(default)}`" if default not in (None, {}, []) else ""
        text = child["description"].replace("|", "\\|")
        yield f"| {shown} | {_type(child)} | {told} | {text} |"
        if child.get("type") == "array":
            yield from _rows(child["items"], f"{field}[]")
        else:
            yield from _rows(child, field)


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if "additionalProperties" in node:
        return f"map to {_type(node['additionalProperties'])}"
    low, high = node.get("minimum"), node.get("maximum")
    limits = f" {low:,} to {high:,}" if low is not None and high is not None else ""
    return str(node["type"]) + limits


if __name__ == "__main__":
    sys.stdout.write(reference())
