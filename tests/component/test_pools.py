"""A pool that does not deliver nodes is told, spilled over, probed, and used again."""

from __future__ import annotations

import pytest

from tests.component.stage import ON_DEMAND, RESERVED, SOON_S, SPOT, Stage, fleet

pytestmark = pytest.mark.cluster


def test_a_pool_out_of_stock_is_exhausted_spilled_over_and_used_again_when_it_delivers(stage: Stage) -> None:
    def spot_nodes() -> int:
        pool = stage.cloud()["pools"][SPOT]
        return int(pool["nodes"]) + int(pool["nodesComing"])

    stage.until(lambda: spot_nodes() == 0, "no spot node is left of other tests")
    exhausted, delivering = stage.pool_events("Exhausted", SPOT), stage.pool_events("Delivering", SPOT)
    stage.lever("stockout", pool=SPOT, lasts="10m")
    stage.apply(fleet(least=6))
    stage.until(lambda: stage.desired().get(SPOT) == 2, "spot is asked for, because it is cheaper")

    told = stage.until(
        lambda: (now := stage.pool_condition("Exhausted", SPOT)).get("status") == "True" and now, "the pool is marked"
    )
    assert "did not deliver" in told["message"]
    stage.until(lambda: stage.pool_events("Exhausted", SPOT) > exhausted, "an Event of the pool", SOON_S)
    stage.until(lambda: len(stage.ready(ON_DEMAND)) == 2, "what spot owes is served from on-demand")
    assert len(stage.ready(RESERVED)) == 4
    assert stage.metric("inferencefleet_pool_exhausted", pool=SPOT) == 1

    stage.lever("stockout", pool=SPOT, lasts="0s")
    stage.until(
        lambda: stage.pool_condition("Exhausted", SPOT).get("status") == "False", "a probe finds that it delivers", 90
    )
    stage.until(lambda: stage.pool_events("Delivering", SPOT) > delivering, "an Event of the pool", SOON_S)
    stage.until(lambda: stage.desired() == {RESERVED: 4, SPOT: 2}, "back on the cheaper pool")
    stage.until_ready(6)
