"""The fleet follows demand through the pools, and replaces what a cloud takes away."""

from __future__ import annotations

import pytest

from tests.component.stage import LONG_S, ON_DEMAND, RESERVED, SPOT, Stage, Watcher, fleet

pytestmark = pytest.mark.cluster


def test_rising_demand_fills_reserved_then_spot_and_on_demand_and_falling_demand_gives_the_dearest_back(
    stage: Stage,
) -> None:
    stage.apply(fleet(least=5))
    stage.until_ready(5)
    assert stage.desired() == {RESERVED: 4, SPOT: 1}
    with Watcher(stage).watching() as watcher:
        stage.lever("demand", rps=12)
        stage.until(lambda: len(stage.desired()) == 3, "replicas are asked for in all three pools")
        stage.until(
            lambda: all(stage.ready(pool) for pool in (RESERVED, SPOT, ON_DEMAND)), "replicas serve in all three pools"
        )
        told = [*stage.events("ScaledUp"), *stage.events("RampAhead"), *stage.events("BacklogDrain")]
        told += stage.events("MaxReplicas")
        assert any(message.startswith("Replicas 5 -> ") and "req/s" in message for message in told), told
        columns = stage.columns()
        assert columns["RESERVED"] == "4"
        assert int(columns["ON-DEMAND"]) > 0
        assert int(columns["SPOT"]) > 0
        assert int(columns["DESIRED"]) == sum(int(columns[each]) for each in ("RESERVED", "ON-DEMAND", "SPOT"))

        stage.lever("demand", rps=0)
        stage.until_condition("ScalingLimited", "True", "Stabilizing")
        stage.until(lambda: stage.desired() == {RESERVED: 4, SPOT: 1}, "the dearest pool is empty first")
    stage.until_ready(5)
    assert all(desired[RESERVED] == 4 for desired, _ in watcher.seen), "no paid GPU is idle while others are rented"
    assert all(desired[SPOT] > 1 for desired, _ in watcher.seen if desired.get(ON_DEMAND, 0) > 1)
    assert min(ready for _, ready in watcher.seen) >= 5
    shrunk = [*stage.events("ScaledDown"), *stage.events("MinReplicas"), *stage.events("DemandMet")]
    assert any(message.startswith("Replicas ") and " -> " in message for message in shrunk), shrunk
    history = stage.status()["history"]
    assert history[0]["to"] == 5
    assert [each["from"] for each in history[:-1]] == [each["to"] for each in history[1:]], "no change is missing"


def test_a_spot_notice_is_answered_before_the_node_dies(stage: Stage) -> None:
    stage.apply(fleet(least=6))
    stage.until_ready(6)
    assert stage.desired() == {RESERVED: 4, SPOT: 2}
    before = {pod["metadata"]["name"] for pod in stage.pods(SPOT)}
    with Watcher(stage).watching() as watcher:
        node = stage.lever("interrupt", pool=SPOT, nodes=1, notice="6s")["hit"][0]
        doomed = {pod["metadata"]["name"] for pod in stage.pods(SPOT) if pod["spec"].get("nodeName") == node}
        assert doomed

        def replaced() -> bool:
            fresh = {pod["metadata"]["name"] for pod in stage.pods()} - before
            return len(fresh) >= len(doomed)

        stage.until(replaced, "replacements are there")
        node_is_there = stage.cluster.api("GET", f"/api/v1/nodes/{node}").ok
        assert node_is_there, "requested while the old node still lived"
        stage.until_event("ReplacingDoomed")
        stage.until(lambda: not stage.cluster.api("GET", f"/api/v1/nodes/{node}").ok, "the node is gone", LONG_S)
        stage.until_ready(6)
    assert stage.desired() == {RESERVED: 4, SPOT: 2}
    assert min(ready for _, ready in watcher.seen) >= 6 - len(doomed), "nothing else was lost"
    assert not doomed & {pod["metadata"]["name"] for pod in stage.pods()}
