"""A quiet system is quiet, and the operator says how it is."""

from __future__ import annotations

import pytest

from sandbox.web import call
from tests.component.stage import WORKLOADS, Product, Stage, fleet

pytestmark = pytest.mark.cluster

TICKS = 10


def test_a_quiet_system_writes_nothing(stage: Stage) -> None:
    stage.apply(fleet(least=5))
    stage.until_ready(5)
    stage.until_condition("MetricsAvailable", "True", "Fresh")

    def settled() -> bool:
        before = versions(stage)
        stage.until_ticks(3)
        return versions(stage) == before

    stage.until(settled, "nothing moves")
    writes, before = counters(stage), versions(stage)
    stage.until_ticks(TICKS)
    assert counters(stage) == writes
    assert versions(stage) == before


def test_traffic_that_fits_the_fleet_changes_no_object(stage: Stage) -> None:
    stage.apply(fleet(least=6))
    stage.until_ready(6)
    stage.lever("demand", rps=2)
    stage.until(lambda: stage.status().get("observed", {}).get("requestsPerSecond", 0) > 0.5, "traffic is seen", 90)
    objects = stage.metric("inferencefleet_object_writes_total")
    statuses = stage.metric("inferencefleet_status_writes_total")
    stage.until_ticks(TICKS)
    assert stage.metric("inferencefleet_object_writes_total") == objects
    # Measured numbers are refreshed once a minute; every condition may change once as traffic begins.
    assert stage.metric("inferencefleet_status_writes_total") - statuses <= 3


def test_the_operator_answers_for_itself(stage: Stage, product: Product) -> None:
    stage.apply(fleet(least=2))
    stage.until_ready(2)
    health = call(f"{product.operator_url}/healthz")
    assert health.ok
    assert health.text.startswith("last tick ")
    labels = {"namespace": stage.namespace, "fleet": "chat"}
    stage.until(lambda: stage.metric("inferencefleet_ready_replicas", **labels) == 2, "the gauge of ready replicas")
    assert stage.metric("inferencefleet_desired_replicas", **labels) == 2
    assert stage.metric("inferencefleet_hourly_cost", **labels) == pytest.approx(2 * 2.2)
    assert stage.metric("inferencefleet_fleets") >= 1
    assert stage.metric("inferencefleet_events_total", reason="DeclaredTraffic") >= 1
    assert stage.metric("inferencefleet_ticks_skipped_total") == 0


def counters(stage: Stage) -> dict[str, float]:
    names = ("inferencefleet_object_writes_total", "inferencefleet_status_writes_total", "inferencefleet_events_total")
    return {name: stage.metric(name) for name in names}


def versions(stage: Stage) -> dict[str, str]:
    """By object; leases and nodes have heartbeats of their own."""
    found = [item for kind in WORKLOADS for item in stage.items(kind)]
    found.append(stage.fleet())
    found += stage.get("/apis/inferencefleet.io/v1alpha1/gpupools")["items"]
    return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in found}
