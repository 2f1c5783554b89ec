"""Prometheus is away: the fleet is held and everyone is told; missing is not zero."""

from __future__ import annotations

import pytest

from tests.component.stage import RESERVED, SOON_S, Product, Stage, fleet

pytestmark = pytest.mark.cluster


def test_a_stopped_prometheus_holds_the_fleet_while_demand_falls(stage: Stage) -> None:
    stage.apply(fleet(least=1))
    stage.until_ready(1)
    stage.until_condition("MetricsAvailable", "True", "Fresh")
    stage.lever("demand", rps=3)
    stage.until(lambda: sum(stage.desired().values()) >= 2, "the fleet grows with demand")
    stage.cluster.stop_component("prometheus")
    try:
        lost = stage.until_condition("MetricsAvailable", "False", "PrometheusUnreachable", timeout_s=SOON_S)
        assert "cannot be queried" in lost["message"]
        stage.until_event("PrometheusUnreachable", "Holding")
        held = sum(stage.desired().values())
        stage.lever("demand", rps=0)
        stage.until_ticks(8)  # longer than the stabilization window
        assert sum(stage.desired().values()) >= held, "unknown demand is not zero demand"
        assert stage.condition("ScalingLimited")["reason"] == "MetricsMissing"
        assert stage.columns()["REASON"] == "MetricsMissing"
    finally:
        stage.cluster.start_component("prometheus")
    stage.until_event("MetricsBack")
    stage.until_condition("MetricsAvailable", "True", "Fresh")
    stage.until(lambda: stage.desired() == {RESERVED: 1}, "the fleet shrinks by what is known again")


def test_a_prometheus_address_that_does_not_answer_is_told_and_nothing_shrinks(stage: Stage, product: Product) -> None:
    stage.apply(fleet(least=3))
    stage.until_ready(3)
    stage.until_condition("MetricsAvailable", "True")
    product.restart_operator(INFERENCEFLEET_PROMETHEUS_URL="http://127.0.0.1:9")
    try:
        lost = stage.until_condition("MetricsAvailable", "False", "PrometheusUnreachable")
        assert "http://127.0.0.1:9" in lost["message"]
        assert "check the address" in lost["message"]
        stage.until_event("PrometheusUnreachable", "http://127.0.0.1:9")
        stage.patch("chat", {"scaling": {"minReplicas": 1}})
        stage.until(lambda: stage.status()["observedGeneration"] == 2, "the lower floor is seen", SOON_S)
        stage.until_ticks(8)
        assert stage.desired() == {RESERVED: 3}
        stage.patch("chat", {"scaling": {"minReplicas": 4}})
        stage.until_ready(4)  # up is allowed
        stage.patch("chat", {"scaling": {"minReplicas": 1}})
    finally:
        product.restart_operator()
    stage.until_event("MetricsBack")
    stage.until(lambda: stage.desired() == {RESERVED: 1}, "the fleet shrinks by what is known again")
