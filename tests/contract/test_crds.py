"""What the genuine API server makes of the CRDs: accepted, defaulted, refused in words, shown and explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inferencefleet.api.crd import FLEET, POOL, Kind, crd
from sandbox import Cluster
from tests.unit.api.bad_pools import BAD_POOLS
from tests.unit.api.manifests import BAD_FLEETS, Bad, Manifest, fleet, pool

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
API = "/apis/inferencefleet.io/v1alpha1"


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Cluster:
    """The cluster with our CRDs in force."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl(
        "wait", "--for=condition=Established", "--timeout=30s", "crd/inferencefleets.inferencefleet.io",
        "crd/gpupools.inferencefleet.io",
    )  # fmt: skip
    return cluster


@pytest.fixture
def applied(server: Cluster, namespace: str) -> Iterator[Manifest]:
    """A fleet that the API server has stored."""
    answer = server.api(
        "POST", f"{API}/namespaces/{namespace}/inferencefleets", fleet({"metadata.namespace": namespace})
    )
    assert answer.ok, answer.text
    yield answer.json()
    server.api("DELETE", f"{API}/namespaces/{namespace}/inferencefleets/chat")


def refusal(server: Cluster, path: str, manifest: Manifest) -> str:
    answer = server.api("POST", f"{API}/{path}?dryRun=All", manifest)
    assert answer.status == 422, f"not refused: {answer.status} {answer.text[:300]}"
    return str(answer.json()["message"])


@pytest.mark.parametrize("bad", BAD_FLEETS, ids=str)
def test_the_api_server_refuses_a_bad_fleet_in_words_that_help(server: Cluster, bad: Bad) -> None:
    message = refusal(server, "namespaces/default/inferencefleets", bad.manifest)
    for words in bad.server_says:
        assert words in message


@pytest.mark.parametrize("bad", BAD_POOLS, ids=str)
def test_the_api_server_refuses_a_bad_pool_in_words_that_help(server: Cluster, bad: Bad) -> None:
    message = refusal(server, "gpupools", bad.manifest)
    for words in bad.server_says:
        assert words in message


@pytest.mark.parametrize("kind", [FLEET, POOL], ids=lambda kind: kind.kind)
def test_the_schema_is_structural_and_its_names_are_accepted(server: Cluster, kind: Kind) -> None:
    found = server.api(
        "GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.inferencefleet.io"
    )
    conditions = {each["type"]: each for each in found.json()["status"]["conditions"]}
    assert conditions["NamesAccepted"]["status"] == "True"
    assert conditions["Established"]["status"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize(("example", "objects"), [("quickstart", 4), ("production", 5)])
def test_an_example_is_accepted_as_it_is(server: Cluster, example: str, objects: int) -> None:
    done = server.kubectl("apply", "--dry-run=server", "-f", str(ROOT / "examples" / example))
    assert done.stdout.count("created") + done.stdout.count("configured") + done.stdout.count("unchanged") == objects


def test_a_stored_fleet_has_all_defaults_and_a_status_that_says_not_looked_at(applied: Manifest) -> None:
    assert applied["status"] == {"observedGeneration": -1}
    spec = applied["spec"]
    assert spec["scaling"]["minReplicas"] == 1
    assert spec["scaling"]["mode"] == "Auto"
    assert spec["engine"]["tensorParallelSize"] == "auto"
    assert spec["placement"]["spot"] == {"policy": "Hedged", "maxFraction": 0.5}
    assert (spec["traffic"]["class"], spec["traffic"]["routing"]) == ("interactive", "Uniform")
    assert spec["scaling"]["behavior"] == {"scaleUp": {"selectPolicy": "Max"}, "scaleDown": {"selectPolicy": "Max"}}
    assert spec["scaling"]["fallback"] == {"behavior": "currentReplicasIfHigher"}
    assert "headroom" not in spec["scaling"], "the planner chooses it"


@pytest.mark.parametrize("size", ["auto", 1, 8])
def test_a_tensor_parallel_size_may_be_a_word_or_a_number(server: Cluster, size: str | int) -> None:
    manifest = fleet({"spec.engine.tensorParallelSize": size})
    answer = server.api("POST", f"{API}/namespaces/default/inferencefleets?dryRun=All", manifest)
    assert answer.json()["spec"]["engine"]["tensorParallelSize"] == size


def test_an_architecture_is_stored_whole(server: Cluster) -> None:
    config = {"num_hidden_layers": 2, "rope_scaling": {"type": "yarn", "factor": 4.0}, "architectures": ["X"]}
    manifest = fleet({"spec.model": {"id": "acme/x", "architecture": config}})
    answer = server.api("POST", f"{API}/namespaces/default/inferencefleets?dryRun=All", manifest)
    assert answer.json()["spec"]["model"]["architecture"] == config


@pytest.mark.parametrize("kind", [FLEET, POOL], ids=lambda kind: kind.kind)
def test_no_field_of_a_status_is_dropped(server: Cluster, namespace: str, kind: Kind) -> None:
    status = _example(crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"])
    manifest = fleet({"metadata.namespace": namespace}) if kind is FLEET else pool({"metadata.name": namespace})
    home = f"{API}/namespaces/{namespace}/{kind.plural}" if kind is FLEET else f"{API}/{kind.plural}"
    stored = server.api("POST", home, manifest).json()
    path = f"{home}/{stored['metadata']['name']}"
    try:
        answer = server.api("PUT", f"{path}/status", stored | {"status": status})
        assert answer.ok, answer.text
        assert answer.json()["status"] == status
    finally:
        server.api("DELETE", path)


def test_kubectl_scale_moves_the_floor(server: Cluster, namespace: str, applied: Manifest) -> None:
    server.kubectl("scale", "ifleet/chat", "--replicas=3", "-n", namespace)
    found = json.loads(server.kubectl("get", "ifleet", "chat", "-n", namespace, "-o", "json").stdout)
    assert found["spec"]["scaling"]["minReplicas"] == 3


def test_get_shows_one_line_that_answers_the_first_questions(
    server: Cluster, namespace: str, applied: Manifest
) -> None:
    status = {
        "replicas": 7,
        "readyReplicas": 6,
        "summary": {"slo": "99.4%", "reserved": 4, "onDemand": 1, "spot": 2, "hourly": "31.40", "reason": "RampAhead"},
    }
    server.kubectl(
        "patch", "ifleet", "chat", "-n", namespace, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": status}),
    )  # fmt: skip
    header, line = server.kubectl("get", "ifleet", "-n", namespace).stdout.splitlines()
    assert re.split(r"\s{2,}", header) == [
        "NAME", "MODEL", "DESIRED", "READY", "SLO", "RESERVED", "ON-DEMAND", "SPOT", "$/HR", "MODE", "REASON", "AGE",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", line)[:-1] == [
        "chat", "Qwen/Qwen3-32B", "7", "6", "99.4%", "4", "1", "2", "31.40", "Auto", "RampAhead",
    ]  # fmt: skip
    assert "/chat" in server.kubectl("get", "inference", "-n", namespace, "-o", "name").stdout  # the category


@pytest.mark.parametrize(
    ("field", "teaches"),
    [
        ("ifleet.spec.slo", "95 of 100 requests get their first token"),
        ("ifleet.spec.scaling.minReplicas", "kubectl scale"),
        ("ifleet.spec.scaling.behavior.scaleUp.policies", "here replicas take minutes to start"),
        ("ifleet.spec.traffic.routing", "no more than the slowest"),
        ("ifleet.status.plan.steps", "Every choice and clamp in order"),
        ("gpool.spec.capacityType", "taken back on short notice"),
    ],
)
def test_explain_teaches(server: Cluster, field: str, teaches: str) -> None:
    assert teaches in " ".join(server.kubectl("explain", field).stdout.split())


def _example(schema: dict[str, Any]) -> Any:
    """A value for every field of a schema."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"]
    if kind == "object":
        if "additionalProperties" in schema:
            return {"some_key": _example(schema["additionalProperties"])}
        return {name: _example(child) for name, child in schema["properties"].items()}
    if kind == "array":
        return [_example(schema["items"])] * schema.get("minItems", 1)
    if schema.get("format") == "date-time":
        return "2026-01-31T12:00:00Z"
    return {"string": "Word", "integer": 3, "number": 1.5, "boolean": True}[kind]
