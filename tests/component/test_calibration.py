"""The operator learns the real speed of engines, says so, and knows it after a restart."""

from __future__ import annotations

import pytest

from tests.component.stage import RESERVED, Json, Product, Stage, fleet

pytestmark = pytest.mark.cluster

TRUE_FACTOR = (1.03, 1.16)
"""Hidden in the scenario: memory 1.06, compute 0.97, overhead 1.15; of an 8B model's ITL about 1.09."""
RPS = 14
"""84 requests in a window of 6 s; about a third of what two replicas can do."""


def told(stage: Stage) -> Json:
    found = [block for block in stage.status().get("calibration", []) if block["pool"] == RESERVED]
    return found[0] if found else {}


def learns(stage: Stage, product: Product) -> None:
    stage.until(lambda: told(stage).get("state") == "Calibrated", "windows teach", timeout_s=150)
    calibration = told(stage)
    assert TRUE_FACTOR[0] < calibration["factor"] < TRUE_FACTOR[1]
    assert calibration["windows"] >= 3
    assert calibration["message"]
    assert "Factor:" in stage.kubectl("describe", "ifleet", "chat")
    wide = stage.kubectl("get", "ifleet", "chat", "-o", "wide")
    assert "CALIBRATION" in wide
    assert "Calibrated x1." in wide
    labels = {"namespace": stage.namespace, "fleet": "chat", "pool": RESERVED}
    ratio = stage.metric("inferencefleet_calibration_ratio", metric="itl", **labels)
    assert TRUE_FACTOR[0] < ratio < TRUE_FACTOR[1]

    product.restart_operator()
    stage.until_ticks(2)
    remembered = stage.metric("inferencefleet_calibration_windows", verdict="used", **labels)
    assert remembered >= calibration["windows"], "the status is the memory"


def test_the_speed_of_engines_is_learnt_told_and_remembered(stage: Stage, product: Product) -> None:
    stage.apply(fleet(least=2, most=2))
    stage.until_ready(2)
    stage.lever("demand", rps=RPS)
    try:
        learns(stage, product)
    finally:
        # Requests that lose their replica are sent again, to whatever serves the model next: let them finish.
        stage.lever("demand", rps=0)
        demand, labels = "inferencefleet_demand_requests_per_second", {"namespace": stage.namespace, "fleet": "chat"}
        stage.until(lambda: stage.metric(demand, **labels) < 0.01, "the last requests finish")
