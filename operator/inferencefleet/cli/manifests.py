"""InferenceFleet and GPUPool manifests from files, through the same models and converters as the operator uses."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from inferencefleet.api.convert import fleet_from_manifest, pool_from_manifest
from inferencefleet.cli.refusal import refuse, refuse_problems
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.pool import Pool

Manifest = dict[str, Any]


def read_manifests(path: Path) -> list[Manifest]:
    """Every object of a YAML or JSON file (`-` is standard input), lists unpacked."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        documents = list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError) as error:
        raise refuse("file", path, f"cannot be read ({error}); give a YAML or JSON file, or - for stdin") from None
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise refuse("file", path, f"is neither YAML nor JSON ({where}); correct it there") from None
    found: list[Manifest] = []
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("items"), list):
            found += [item for item in document["items"] if isinstance(item, dict)]
        elif isinstance(document, dict):
            found.append(document)
        elif document is not None:
            raise refuse("file", path, "holds no Kubernetes objects; give what kubectl get -o yaml prints")
    return found


def fleet_of(path: Path, overlay: Mapping[str, Any]) -> tuple[Fleet, Mapping[str, Any]]:
    """The one InferenceFleet of a file, with `overlay` merged into its spec; and that spec: what was declared."""
    manifest = one_fleet(read_manifests(path), path)
    spec = manifest.get("spec")
    merged = {**manifest, "spec": _merged(spec if isinstance(spec, dict) else {}, overlay)}
    fleet = fleet_from_manifest(merged)
    if not isinstance(fleet, Fleet):
        raise refuse_problems(fleet, str(path))
    return fleet, merged["spec"]


def one_fleet(manifests: list[Manifest], path: Path, name: str | None = None) -> Manifest:
    fleets = [
        manifest
        for manifest in manifests
        if manifest.get("kind") == "InferenceFleet" and name in (None, _name(manifest))
    ]
    if len(fleets) != 1:
        names = ", ".join(_name(fleet) for fleet in fleets) or "none"
        wanted = f" named {name}" if name else ""
        raise refuse("file", path, f"must hold exactly one InferenceFleet{wanted}, found: {names}")
    return fleets[0]


def pools_of(path: Path) -> tuple[Pool, ...]:
    """Every GPUPool of a file."""
    manifests = [manifest for manifest in read_manifests(path) if manifest.get("kind") == "GPUPool"]
    if not manifests:
        raise refuse("--pools", path, "holds no GPUPool; give a file with at least one")
    found: list[Pool] = []
    for manifest in manifests:
        pool = pool_from_manifest(manifest)
        if not isinstance(pool, Pool):
            raise refuse_problems(pool, f"{path} {_name(manifest)}")
        found.append(pool)
    return tuple(found)


def _name(manifest: Manifest) -> str:
    metadata = manifest.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in overlay.items():
        if key == "slo":
            merged[key] = _merged_slos(base.get(key), value)
        elif isinstance(value, dict):
            below = base.get(key)
            merged[key] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _merged_slos(base: Any, given: list[Any]) -> Any:
    """An objective of the flags replaces those of the same metric."""
    if not given:
        return base
    replaced = {slo["metric"] for slo in given}
    kept = [slo for slo in base if slo.get("metric") not in replaced] if isinstance(base, list) else []
    return [*kept, *given]
