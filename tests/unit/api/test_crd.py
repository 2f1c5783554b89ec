"""The CRDs are what the models say, and what the API server accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inferencefleet.api.crd import FLEET, POOL, Kind, crd, files, main
from inferencefleet.api.reference import reference
from inferencefleet.api.structural import faults

CRDS = Path(__file__).parents[3] / "crds"


def schema(kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def field(kind: Kind, path: str) -> dict[str, Any]:
    node = schema(kind)
    for part in path.split("."):
        node = node["properties"][part]
        node = node if "items" not in node else node | {"properties": node["items"].get("properties", {})}
    return node


def test_the_files_in_crds_are_what_the_models_generate() -> None:
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in CRDS.glob("*.yaml")}
    assert on_disk == files(), "run: python -m inferencefleet.api.crd --write crds"


@pytest.mark.parametrize("kind", [FLEET, POOL], ids=lambda kind: kind.kind)
def test_the_schema_is_structural_and_every_field_is_described(kind: Kind) -> None:
    assert list(faults(schema(kind))) == []


def test_the_structural_check_finds_what_the_api_server_would_refuse() -> None:
    bad = {
        "type": "object",
        "title": "T",
        "properties": {
            "a": {"description": "no type"},
            "b": {"type": "number", "description": "b", "exclusiveMinimum": 0},
            "c": {"type": "array", "description": "c"},
        },
        "additionalProperties": False,
    }
    assert list(faults(bad)) == [
        "schema: title is forbidden",
        "schema: properties and additionalProperties exclude each other",
        "schema.a: no type",
        "schema.b: exclusiveMinimum is forbidden",
        "schema.c: an array without items",
    ]


def test_get_ifleet_shows_the_promised_columns() -> None:
    columns = crd(FLEET)["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    assert " ".join(shown) == "MODEL DESIRED READY SLO RESERVED ON-DEMAND SPOT $/HR MODE REASON AGE"


@pytest.mark.parametrize("kind", [FLEET, POOL], ids=lambda kind: kind.kind)
def test_every_column_points_to_a_field_of_the_schema(kind: Kind) -> None:
    for column in crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = column["jsonPath"].removeprefix(".").partition("[")[0]
        if not path.startswith("metadata"):
            assert field(kind, path)["description"]


def test_scale_reads_and_writes_fields_that_always_exist() -> None:
    scale = crd(FLEET)["spec"]["versions"][0]["subresources"]["scale"]
    assert scale["specReplicasPath"] == ".spec.scaling.minReplicas"
    assert field(FLEET, "spec.scaling")["default"] == {}
    assert field(FLEET, "spec.scaling.minReplicas")["default"] == 1
    assert "kubectl scale" in field(FLEET, "spec.scaling.minReplicas")["description"]


def test_slos_are_told_apart_by_metric_and_percentile() -> None:
    slo = field(FLEET, "spec.slo")
    assert slo["x-kubernetes-list-type"] == "map"
    assert slo["x-kubernetes-list-map-keys"] == ["metric", "percentile"]


def test_a_status_that_nobody_wrote_yet_says_so() -> None:
    assert field(FLEET, "status")["default"] == {"observedGeneration": -1}
    assert field(POOL, "status")["default"] == {"observedGeneration": -1}


def test_an_architecture_keeps_whatever_a_config_holds() -> None:
    architecture = field(FLEET, "spec.model.architecture")
    assert architecture["x-kubernetes-preserve-unknown-fields"] is True
    assert "additionalProperties" not in architecture


def test_writing_makes_one_file_for_each_crd(tmp_path: Path) -> None:
    assert main(["--write", str(tmp_path / "new")]) == 0
    written = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in written] == ["gpupools.yaml", "inferencefleets.yaml"]
    assert yaml.safe_load(written[0].read_text(encoding="utf-8"))["metadata"]["name"] == "gpupools.inferencefleet.io"


def test_printing_makes_one_stream_of_documents(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    kinds = [each["spec"]["names"]["kind"] for each in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == ["InferenceFleet", "GPUPool"]


def test_the_reference_page_is_what_the_models_generate() -> None:
    page = CRDS.parent / "docs" / "reference.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "run: python -m inferencefleet.api.reference > docs/reference.md"
    )
