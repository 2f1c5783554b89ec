"""The operator dies at the worst moments, and fleets are deleted: nothing is lost, doubled or left behind."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.component.stage import LONG_S, QUICK_TO_GO, WORKLOADS, Product, Stage, Watcher, fleet

pytestmark = pytest.mark.cluster

GROWTH = (3, 5, 6, 8, 9, 11)
SEED = 7


def test_an_operator_killed_in_the_middle_of_scaling_up_again_and_again_loses_and_doubles_nothing(
    stage: Stage, product: Product
) -> None:
    stage.apply(fleet(least=2))
    stage.until_ready(2)
    moments: list[Callable[[Stage, int], bool]] = [at_once, after_a_deployment, after_a_pod, after_the_status]
    random = Random(SEED)
    with Watcher(stage).watching() as watcher:
        for least in GROWTH:
            moment = random.choice(moments)
            written = int(stage.metric("inferencefleet_object_writes_total"))
            before = sum(stage.desired().values())
            stage.patch("chat", {"scaling": {"minReplicas": least}})
            stage.until(lambda: moment(stage, before), f"{moment.__name__} of {least} ({written} writes)")  # noqa: B023
            product.kill_operator()
            known = [(each["from"], each["to"]) for each in stage.status()["history"]]
            product.start_operator()
            stage.until(lambda: sum(stage.desired().values()) == least, f"{least} are asked for")  # noqa: B023
            stage.until(lambda: stage.status().get("replicas") == least, f"the status says {least}")  # noqa: B023
            now = [(each["from"], each["to"]) for each in stage.status()["history"]]
            assert now[len(now) - len(known) :] == known, "what was told before the end is still told"
        stage.until_ready(GROWTH[-1])
    assert watcher.totals == sorted(watcher.totals), "never fewer than before"
    assert min(ready for _, ready in watcher.seen) >= 2
    history = stage.status()["history"]
    assert history[0]["to"] == GROWTH[-1]
    assert [each["from"] for each in history[:-1]] == [each["to"] for each in history[1:]], history
    names = [deployment["metadata"]["labels"]["inferencefleet.io/pool"] for deployment in stage.items("Deployment")]
    assert len(names) == len(set(names)), "one Deployment for each pool"
    assert len(stage.items("ReplicaSet")) == len(names), "one template for each Deployment: nothing was rolled"
    assert len(stage.pods()) == GROWTH[-1]


def test_a_deleted_fleet_takes_everything_with_it(stage: Stage) -> None:
    stage.apply(fleet(least=4, spec={"placement": QUICK_TO_GO}))
    stage.until_ready(4)
    assert made(stage) >= set(WORKLOADS)
    stage.kubectl("delete", "ifleet", "chat", "--timeout=20s")
    stage.until(lambda: not made(stage), "all objects are gone", LONG_S)
    stage.until_ticks(3)
    assert not made(stage), "nothing came back"


def test_a_fleet_deleted_while_the_operator_is_down_takes_everything_with_it(stage: Stage, product: Product) -> None:
    stage.apply(fleet(least=3, spec={"placement": QUICK_TO_GO}))
    stage.until_ready(3)
    product.kill_operator()
    stage.kubectl("delete", "ifleet", "chat", "--timeout=20s")  # no finalizer of ours can hold it up
    stage.until(lambda: not made(stage), "all objects are gone without the operator", LONG_S)
    product.start_operator()
    stage.until_ticks(3)
    assert not made(stage), "nothing came back"


def at_once(stage: Stage, before: int) -> bool:
    return True


def after_a_deployment(stage: Stage, before: int) -> bool:
    return sum(stage.desired().values()) > before


def after_a_pod(stage: Stage, before: int) -> bool:
    return len(stage.pods()) > before


def after_the_status(stage: Stage, before: int) -> bool:
    return bool(stage.status()["replicas"] > before)


def made(stage: Stage) -> set[str]:
    """Kinds of which the namespace holds an object of a fleet."""
    return {
        kind
        for kind in WORKLOADS
        for item in stage.items(kind)
        if "inferencefleet.io/fleet" in item["metadata"].get("labels", {})
    }
