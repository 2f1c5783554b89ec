"""What the chart installs, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from inferencefleet.catalog import built_in
from inferencefleet.settings import Settings
from tests.chart.conftest import CHART, Helm, Manifest, Render

ROOT = Path(__file__).parents[2]


def kinds(manifests: list[Manifest]) -> list[str]:
    return sorted(each["kind"] for each in manifests)


def only(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (each for each in manifests if each["kind"] == kind)
    return found


def test_helm_has_nothing_to_complain_about(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_by_default_the_operator_and_what_it_needs_is_installed(render: Render) -> None:
    assert kinds(render()) == ["ClusterRole", "ClusterRoleBinding", "Deployment", "Service", "ServiceAccount"]


def test_the_crds_are_those_of_the_repository(render: Render) -> None:
    installed = [each for each in render(crds=True) if each["kind"] == "CustomResourceDefinition"]
    on_disk = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert sorted(installed, key=lambda each: str(each["metadata"]["name"])) == on_disk


def test_without_the_operator_crds_and_rights_remain(render: Render) -> None:
    assert kinds(render("operator.enabled=false")) == ["ClusterRole", "ClusterRoleBinding", "ServiceAccount"]


def test_rights_are_listed_one_by_one(render: Render) -> None:
    for rule in only(render(), "ClusterRole")["rules"]:
        for field in ("apiGroups", "resources", "verbs"):
            assert not any("*" in value for value in rule[field]), rule


def test_the_operator_may_do_what_it_does_and_nothing_more(render: Render) -> None:
    rights = {
        (f"{group}/{resource}".removeprefix("/"), verb)
        for rule in only(render(), "ClusterRole")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    reads = {("inferencefleet.io/inferencefleets", verb) for verb in ("get", "list", "watch")}
    owned = ("apps/deployments", "services", "policy/poddisruptionbudgets")
    verbs = ("get", "list", "watch", "create", "patch", "delete")
    assert rights == (
        reads
        | {("inferencefleet.io/gpupools", verb) for verb in ("get", "list", "watch")}
        | {("inferencefleet.io/inferencefleets/status", "patch"), ("inferencefleet.io/gpupools/status", "patch")}
        | {(resource, verb) for resource in owned for verb in verbs}
        | {("pods", verb) for verb in ("get", "list", "watch", "patch")}
        | {("nodes", "list"), ("nodes", "watch"), ("events", "create"), ("events", "patch")}
    )


def test_the_binding_joins_the_role_and_the_account(render: Render) -> None:
    manifests = render("serviceAccount.name=robot")
    binding = only(manifests, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == only(manifests, "ClusterRole")["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "robot", "namespace": "fleet-system"}]
    assert only(manifests, "ServiceAccount")["metadata"]["name"] == "robot"


def test_one_operator_at_a_time_without_any_privilege(render: Render) -> None:
    spec = only(render(), "Deployment")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert pod["terminationGracePeriodSeconds"] == 30
    assert container["resources"]["requests"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_the_settings_in_the_chart_are_the_defaults_of_the_operator(render: Render) -> None:
    (container,) = only(render(), "Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert Settings.from_env(environment) == Settings()


def test_a_pod_monitor_carries_the_labels_that_the_operator_groups_by(render: Render) -> None:
    spec = only(render("podMonitor.enabled=true"), "PodMonitor")["spec"]
    assert spec["podTargetLabels"] == ["inferencefleet.io/fleet", "inferencefleet.io/pool"]
    assert spec["namespaceSelector"] == {"any": True}
    assert spec["selector"]["matchExpressions"] == [{"key": "inferencefleet.io/fleet", "operator": "Exists"}]


def test_a_catalogue_of_your_own_is_mounted_where_the_operator_looks_for_it(render: Render) -> None:
    made = render("catalogue.gpus.H100-SXM.bandwidthGBps=3200")
    text = only(made, "ConfigMap")["data"]["catalogue.yaml"]
    assert built_in().extended(text, "values").gpu("H100").bandwidth_bytes_per_s == 3.2e12
    pod = only(made, "Deployment")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    path = next(each["value"] for each in container["env"] if each["name"] == "INFERENCEFLEET_CATALOG")
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert path == f"{mounted['catalogue']}/catalogue.yaml"
    other = only(render("catalogue.gpus.H100-SXM.bandwidthGBps=3000"), "Deployment")["spec"]["template"]
    assert pod["metadata"]["annotations"] != other["metadata"]["annotations"]


def test_a_digest_wins_over_a_tag(render: Render) -> None:
    digest = "sha256:" + "a" * 64
    (container,) = only(render("image.tag=v1", f"image.digest={digest}"), "Deployment")["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"].endswith(f"@{digest}")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("operatr.enabled=true", "operatr"),
        ("prometheus.url=prometheus:9090", "/prometheus/url"),
        ("prometheus.url=", "/prometheus/url"),
        ("operator.periodSeconds=0", "/operator/periodSeconds"),
        ("operator.logLevel=loud", "/operator/logLevel"),
        ("metrics.port=http", "/metrics/port"),
        ("image.digest=latest", "/image/digest"),
        ("replicas=2", "replicas"),
    ],
)
def test_nonsense_is_refused_by_name(helm: Helm, value: str, words: str) -> None:
    done = helm("template", "release", str(CHART), "--set", value)
    assert done.returncode != 0
    assert words in done.stderr.replace("'", "")


def test_a_foreign_service_account_must_be_named(helm: Helm) -> None:
    done = helm("template", "release", str(CHART), "--set", "serviceAccount.create=false")
    assert "serviceAccount.name is required" in done.stderr


def test_every_value_has_a_comment_a_schema_and_a_use() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    templates = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir())
    for section, value in yaml.safe_load(text).items():
        leaves = value if section in schema["properties"] and "properties" in schema["properties"][section] else {}
        assert section in schema["properties"]
        if not leaves or section == "resources":
            assert f".Values.{section}" in templates, section
            continue
        for key in leaves:
            assert key in schema["properties"][section]["properties"], f"{section}.{key} is not in the schema"
            assert f".Values.{section}.{key}" in templates, f"{section}.{key} is not used"
            at = next(n for n, line in enumerate(lines) if re.match(rf"  {key}:", line) and _in(lines, n, section))
            assert lines[at - 1].lstrip().startswith("#"), f"{section}.{key} has no comment"


def _in(lines: list[str], at: int, section: str) -> bool:
    """Whether line `at` belongs to this top-level key."""
    return next(line for line in reversed(lines[:at]) if re.match(r"\w", line)).startswith(f"{section}:")


def test_one_kind_per_file() -> None:
    for path in (CHART / "templates").glob("*.yaml"):
        assert len(re.findall(r"^kind:", path.read_text(encoding="utf-8"), flags=re.MULTILINE)) == 1, path.name
