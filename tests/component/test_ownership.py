"""What belongs to a fleet stays as the fleet says; what belongs to others is never touched."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.component.stage import QUICK_TO_GO, RESERVED, SPOT, Stage, fleet

pytestmark = pytest.mark.cluster

FOREIGN = yaml.safe_dump(
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"chat-{SPOT}", "labels": {"team": "other"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "other"}},
            "template": {
                "metadata": {"labels": {"app": "other"}},
                "spec": {"containers": [{"name": "other", "image": "registry.example/other:1"}]},
            },
        },
    }
)


def test_a_person_who_scales_the_deployment_is_overruled(stage: Stage) -> None:
    stage.apply(fleet(least=3, spec={"placement": QUICK_TO_GO}))
    stage.until_ready(3)
    # A change that falls between a tick's look and its hand is put right by that very tick, which then has nothing to
    # tell: so more than one.
    for replicas in (4, 5, 4, 1):
        stage.kubectl("scale", "deployment", f"chat-{SPOT}", f"--replicas={replicas}")
        stage.until(lambda: stage.desired() == {SPOT: 3}, f"back from {replicas}")
    stage.until_ready(3)
    told = stage.kubectl("get", "events", "--field-selector=involvedObject.kind=InferenceFleet")
    assert re.search(r"Replicas (4|5|1) -> 3: ", told), told


def test_a_foreign_deployment_in_the_way_is_named_and_not_touched_while_other_pools_work(stage: Stage) -> None:
    stage.cluster.kubectl("apply", "-n", stage.namespace, "-f", "-", input=FOREIGN)
    before = stage.items("Deployment")[0]
    stage.apply(fleet(least=6))
    refused = stage.until_condition("ScalingActive", "False", "ApplyRefused")
    told = stage.until_event("ApplyRefused")
    for words in (f"Deployment {stage.namespace}/chat-{SPOT}", "was not made by this fleet", "delete or rename it"):
        assert words in refused["message"]
        assert words in told
    stage.until(lambda: len(stage.ready(RESERVED)) == 4, "the other pool serves")
    stage.until_ticks(5)
    now = next(each for each in stage.items("Deployment") if each["metadata"]["name"] == f"chat-{SPOT}")
    assert now["spec"] == before["spec"]
    assert now["metadata"]["labels"] == before["metadata"]["labels"]
    assert "inferencefleet" not in {field["manager"] for field in now["metadata"]["managedFields"]}
    assert len(stage.status().get("history", [])) <= 2, "what is refused is told once, not on every tick"
    stage.kubectl("delete", "deployment", f"chat-{SPOT}")
    stage.until_condition("ScalingActive", "True", "Acting")
    stage.until_ready(6)
    assert stage.desired() == {RESERVED: 4, SPOT: 2}


def test_replicas_in_a_pool_that_is_deleted_move_and_the_change_is_told_once(stage: Stage) -> None:
    stage.apply(fleet(least=6))
    stage.until_ready(6)
    manifest = stage.get(f"/apis/inferencefleet.io/v1alpha1/gpupools/{SPOT}")
    manifest["metadata"] = {"name": SPOT}
    stage.cluster.kubectl("delete", "gpool", SPOT)
    try:
        stage.until(lambda: SPOT not in stage.desired(), "the deleted pool is left")
        stage.until_ready(6)
        history = stage.status()["history"]
        assert len(history) <= 4, history
    finally:
        stage.apply(manifest)
