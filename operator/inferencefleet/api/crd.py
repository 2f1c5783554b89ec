"""Writes the CRDs: `python -m inferencefleet.api.crd` prints them, `--write crds` writes the files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from inferencefleet.api.base import GROUP, VERSION
from inferencefleet.api.fleet_v1alpha1 import InferenceFleet
from inferencefleet.api.pool_v1alpha1 import GpuPool
from inferencefleet.api.structural import Schema, structural

_HEADER = (
    "# Generated from the models in operator/inferencefleet/api by `python -m inferencefleet.api.crd --write crds`.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All that a CRD says besides its schema."""

    model: type[BaseModel]
    kind: str
    plural: str
    short: str
    scope: str
    description: str
    columns: tuple[dict[str, Any], ...]
    scale: dict[str, str] | None = None


def _column(name: str, kind: str, path: str, description: str = "", priority: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if description:
        found["description"] = description
    if priority:
        found["priority"] = priority
    return found


FLEET = Kind(
    model=InferenceFleet,
    kind="InferenceFleet",
    plural="inferencefleets",
    short="ifleet",
    scope="Namespaced",
    description="InferenceFleet keeps a large language model served at the speed you declare, on the cheapest GPUs "
    "that can: "
    "it sizes vLLM replicas from the model, the SLO and the traffic, spreads them over GPUPools, and explains itself "
    "in status.",
    columns=(
        _column("MODEL", "string", ".spec.model.id"),
        _column("DESIRED", "integer", ".status.replicas", "Replicas wanted now, summed over pools."),
        _column("READY", "integer", ".status.readyReplicas", "Replicas that serve."),
        _column("SLO", "string", ".status.summary.slo", "SLO attainment over the last hour."),
        _column("RESERVED", "integer", ".status.summary.reserved"),
        _column("ON-DEMAND", "integer", ".status.summary.onDemand"),
        _column("SPOT", "integer", ".status.summary.spot"),
        _column("$/HR", "string", ".status.summary.hourly", "Cost per hour of the wanted replicas."),
        _column("MODE", "string", ".spec.scaling.mode"),
        _column("REASON", "string", ".status.summary.reason", "Why the fleet is as large as it is."),
        _column("AGE", "date", ".metadata.creationTimestamp"),
        _column("REQ/S", "number", ".status.observed.requestsPerSecond", "Requests that arrive each second.", 1),
        _column("WAITING", "number", ".status.observed.waiting", "Requests that wait in the engines.", 1),
        _column("TTFT-P95", "number", ".status.observed.ttft.p95Seconds", "Seconds to the first token.", 1),
        _column("ITL-P95", "number", ".status.observed.itl.p95Seconds", "Seconds between tokens.", 1),
        _column("CALIBRATION", "string", ".status.summary.calibration", "What engines taught about their speed.", 1),
        _column("MESSAGE", "string", ".status.summary.message", "The reason in a sentence.", 1),
    ),
    scale={
        "specReplicasPath": ".spec.scaling.minReplicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

POOL = Kind(
    model=GpuPool,
    kind="GPUPool",
    plural="gpupools",
    short="gpool",
    scope="Cluster",
    description="GPUPool says where GPUs come from: nodes of one kind, how they are paid (reserved, on demand or "
    "spot), at which "
    "price, and how many may be used. Every InferenceFleet may use every pool unless it names some.",
    columns=(
        _column("GPU", "string", ".spec.gpu.type"),
        _column("TYPE", "string", ".spec.capacityType"),
        _column("$/GPU-HR", "number", ".spec.price.perGPUHour"),
        _column("LIMIT", "integer", ".spec.limits.gpus", "Most GPUs that all fleets together may use."),
        _column("TOTAL", "integer", ".status.gpus.total", "GPUs on ready nodes."),
        _column("USED", "integer", ".status.gpus.used", "GPUs requested by pods."),
        _column("READY", "string", '.status.conditions[?(@.type=="Ready")].status'),
        _column("REASON", "string", '.status.conditions[?(@.type=="Ready")].reason'),
        _column("AGE", "date", ".metadata.creationTimestamp"),
        _column("MIG", "string", ".spec.gpu.migProfile", "Slice of the GPU; empty for whole GPUs.", 1),
        _column("PLANNED", "integer", ".status.gpus.planned", "GPUs that the plans of all fleets want.", 1),
        _column("MESSAGE", "string", '.status.conditions[?(@.type=="Ready")].message', "The reason in a sentence.", 1),
    ),
)


def crd(kind: Kind) -> dict[str, Any]:
    """One CustomResourceDefinition as JSON-like data."""
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale:
        subresources["scale"] = kind.scale
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["inference"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": list(kind.columns),
                    "subresources": subresources,
                    "schema": {"openAPIV3Schema": _object(kind)},
                }
            ],
        },
    }


def _object(kind: Kind) -> Schema:
    schema = structural(kind.model)
    about = {
        "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}."},
        "kind": {"type": "string", "description": f"Always {kind.kind}."},
        "metadata": {"type": "object"},  # nothing more is allowed here: the API server describes it itself
    }
    schema["properties"] = about | schema["properties"]
    schema["properties"]["status"]["default"] = {"observedGeneration": -1}  # no status yet reads as "not looked at yet"
    schema["description"] = kind.description
    return schema


def files() -> dict[str, str]:
    """File name -> text, one file for each CRD."""
    return {f"{kind.plural}.yaml": _HEADER + _yaml(crd(kind)) for kind in (FLEET, POOL)}


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _yaml(data: object) -> str:
    return yaml.dump(data, Dumper=_NoAliases, sort_keys=False, width=120, allow_unicode=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inferencefleet.api.crd", description=__doc__)
    parser.add_argument(
        "--write", metavar="DIRECTORY", type=Path, help="write one file for each CRD instead of printing"
    )
    target: Path | None = parser.parse_args(arguments).write
    for name, text in files().items():
        if target is None:
            sys.stdout.write(f"---\n{text}")
        else:
            target.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
