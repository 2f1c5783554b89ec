"""Workload Variant Autoscaler: the run table of V2, the percentages of V1, and the HPA between both and the pods."""

from __future__ import annotations

from typing import Any

import pytest

from inferencefleet.domain.capacity import EngineLimits
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.laws.variants import Variant
from inferencefleet.simulator.laws.wva_percentage import WvaPercentage
from inferencefleet.simulator.laws.wva_tokens import Balance, TokenAnalyzer, WvaTokens, cost_aware
from inferencefleet.simulator.policy import ANY, PodSample
from tests.builders import a_pool, a_pool_state
from tests.unit.simulator.laws_world import cluster, decide, fleet, pods, see

LIMITS = EngineLimits(max_num_batched_tokens=8192, max_num_seqs=256)
"""B and S of the run table; every replica there has 500,000 tokens of KV cache."""


def variant(name: str = "a", samples: tuple[PodSample, ...] = (), **overrides: Any) -> Variant:
    values: dict[str, Any] = {
        "cost_per_hour": 10.0,
        "hardware": name,
        "ready": len(samples),
        "current": len(samples),
        "least": 1,
        "most": 100,
    }
    return Variant(name=name, pods=samples, **{**values, **overrides})


def run(*variants: Variant, gateway: int = 0) -> tuple[Balance, dict[str, int]]:
    analyzer = TokenAnalyzer(kv_threshold=0.80, queue_threshold=5, up_at=0.85, down_at=0.70)
    balance = analyzer.balance(variants, gateway_waiting=gateway, limits=LIMITS)
    return balance, cost_aware(balance, variants)


def test_a_full_replica_with_a_backlog_asks_for_three_more() -> None:
    # D = 450k + 200 x 2000 + 100 x 2000 = 1,050,000. P1: k2 = 450k, k1 = 400k. RC = D / 0.85 - 400k = 835,294.
    balance, targets = run(variant(samples=pods(1, kv_cache_usage=0.9, waiting=200.0)), gateway=100)
    assert balance.demand == 1_050_000
    assert balance.required == pytest.approx(835_294, abs=1)
    assert targets == {"a": 4}


def test_a_half_full_replica_stays_alone() -> None:
    # P3: n = min(8192 x 1000 / 2000, 256) = 256, k2 = 256 x 1500 = 384k. SC = 384k - 250k / 0.7 = 26,857.
    balance, targets = run(variant(samples=pods(1, kv_cache_usage=0.5)))
    assert balance.required == 0
    assert balance.spare == pytest.approx(26_857, abs=1)
    assert targets == {"a": 1}


def test_three_idle_replicas_give_one_back() -> None:
    # SC = 3 x 384k - 300k / 0.7 = 723,429, floor(723,429 / 384k) = 1.
    balance, targets = run(variant(samples=pods(3, kv_cache_usage=0.2)))
    assert balance.spare == pytest.approx(723_429, abs=1)
    assert targets == {"a": 2}


def test_long_prompts_are_bound_by_memory() -> None:
    # k2 = 256 x 4500 = 1,152k, so k1 = 400k. D = 300k + 2 x 5000 = 310k: D / 0.85 = 364,706 < 400k.
    samples = pods(1, kv_cache_usage=0.6, waiting=2.0, prompt_tokens_mean=4000.0)
    balance, targets = run(variant(samples=samples))
    assert balance.per_replica == {"a": 400_000}
    assert targets == {"a": 1}


def test_two_busy_replicas_ask_for_a_third() -> None:
    # Each 450k + 20 x 1128 = 472,560: RC = 945,120 / 0.85 - 800k = 311,906.
    samples = pods(2, kv_cache_usage=0.9, waiting=20.0, output_tokens_mean=128.0)
    balance, targets = run(variant(samples=samples))
    assert balance.required == pytest.approx(311_906, abs=1)
    assert targets == {"a": 3}


SPOT = pods(2, pool="spot", kv_cache_usage=0.78)
ON_DEMAND = pods(1, pool="on-demand", kv_cache_usage=0.78)


def test_pods_that_never_come_hide_the_need_in_every_pool() -> None:
    # Two unschedulable spot pods count as 2 x 384k: RC = 1,170k / 0.85 - 1,920k < 0. Nobody grows.
    balance, targets = run(
        variant("spot", SPOT, cost_per_hour=3.0, current=4), variant("on-demand", ON_DEMAND, cost_per_hour=8.0)
    )
    assert balance.required == 0
    assert targets == {"spot": 4, "on-demand": 1}


def test_without_the_pending_pods_the_cheapest_variant_grows() -> None:
    # RC = 1,376,471 - 3 x 384k = 224,471.
    balance, targets = run(variant("spot", SPOT, cost_per_hour=3.0), variant("on-demand", ON_DEMAND, cost_per_hour=8.0))
    assert balance.required == pytest.approx(224_471, abs=1)
    assert targets == {"spot": 3, "on-demand": 1}


@pytest.mark.parametrize(("gateway", "dear"), [(0, 2), (800, 7)])
def test_a_dear_variant_that_is_only_pending_is_taken_for_free(gateway: int, dear: int) -> None:
    # A: 2 x (475k + 30 x 2000) = 1,070k, 2 x 400k ready; B pending with 384k by its arguments: RC = 74,824 -> B + 1.
    # 800 at the gateway are 1.6M tokens more: RC = 1,957,176 -> B + ceil(5.1) = 6.
    busy = pods(2, kv_cache_usage=0.95, waiting=30.0)
    _, targets = run(
        variant("a", busy, cost_per_hour=3.0), variant("b", cost_per_hour=50.0, current=1), gateway=gateway
    )
    assert targets == {"a": 2, "b": dear}


def test_an_observed_capacity_is_remembered_for_that_length_of_output() -> None:
    analyzer = TokenAnalyzer(kv_threshold=0.80, queue_threshold=5, up_at=0.85, down_at=0.70)

    def per_replica(**overrides: Any) -> float:
        seen = variant(samples=pods(1, **overrides))
        return analyzer.balance([seen], gateway_waiting=0, limits=LIMITS).per_replica["a"]

    assert per_replica(kv_cache_usage=0.3, waiting=9.0) == 150_000  # P1: the queue waits at 150k tokens
    assert per_replica(kv_cache_usage=0.5, waiting=9.0) == 250_000
    assert per_replica(kv_cache_usage=0.1) == 200_000  # P2: their mean
    # P3 for short outputs: n = min(8192 x 50 / 1050, 256) = 256, 256 x 1025 = 262,400.
    assert per_replica(kv_cache_usage=0.1, output_tokens_mean=50.0) == 262_400


def test_the_dearest_variant_gives_back_first() -> None:
    balance = Balance(demand=0.0, required=0.0, spare=900.0, per_replica={"cheap": 400.0, "dear": 400.0})
    two = (
        variant("cheap", pods(2, pool="cheap"), cost_per_hour=1.0),
        variant("dear", pods(1, pool="dear"), cost_per_hour=5.0),
    )
    assert cost_aware(balance, two) == {"cheap": 1, "dear": 0}


def test_v2_acts_through_an_hpa_that_waits_240_s() -> None:
    law, current, history = WvaTokens(), 1, []
    for tick in range(20):
        samples = pods(current, kv_cache_usage=0.9, waiting=200.0 / current)
        current = decide(law, see(15.0 * tick, current, samples=samples, there=cluster(current)))[ANY]
        history.append(current)
    assert history[15] == 1
    assert history[16] > 1  # 240 s after the start


def test_the_hpa_between_does_not_notice_one_replica_more_than_ten() -> None:
    # V1 publishes 11; 11 / 10 is within the tolerance. With the tolerance at 0 it moves.
    for tolerance, expected in ((0.1, 10), (0.0, 11)):
        law, current = WvaPercentage(stabilization_s=0.0, hpa_tolerance=tolerance), 10
        for tick in range(8):
            seen = see(15.0 * tick, current, samples=pods(10, kv_cache_usage=0.78), there=cluster(10))
            current = decide(law, seen)[ANY]
        assert current == expected


def test_v1_grows_when_the_mean_spare_falls_below_a_tenth() -> None:
    # The page: 65 % and 72 % leave 0.15 and 0.08, mean 0.115: no. 65 % and 76 % leave 0.095: yes.
    law = WvaPercentage()
    assert law.step([*pods(1, kv_cache_usage=0.65), *pods(1, kv_cache_usage=0.72)]) == 0
    assert law.step([*pods(1, kv_cache_usage=0.65), *pods(1, kv_cache_usage=0.76)]) == 1


def test_v1_looks_at_saturated_replicas_only_when_there_are_no_others() -> None:
    full, calm = pods(3, kv_cache_usage=0.95), pods(2, kv_cache_usage=0.3)
    assert WvaPercentage().step([*full, *calm]) == -1  # three full ones do not count: 0.6 on one leaves 0.2
    assert WvaPercentage().step(full) == 1


def test_v1_shrinks_only_if_one_fewer_keeps_the_spare() -> None:
    # 3 x 0.4 on 2 is 0.6: spare 0.2. 3 x 0.5 on 2 is 0.75: spare 0.05.
    assert WvaPercentage().step(pods(3, kv_cache_usage=0.4)) == -1
    assert WvaPercentage().step(pods(3, kv_cache_usage=0.5)) == 0
    assert WvaPercentage().step(pods(1, kv_cache_usage=0.0)) == 0


def test_v1_holds_the_whole_model_while_anything_is_pending() -> None:
    busy = variant("a", pods(2, kv_cache_usage=0.95), cost_per_hour=1.0)
    stuck = variant("b", pods(1), cost_per_hour=9.0, current=2)
    assert WvaPercentage().desired([busy, stuck], published={}) == {"a": 2, "b": 2}


def test_v1_holds_until_what_it_published_is_there() -> None:
    busy = variant("a", pods(2, kv_cache_usage=0.95))
    assert WvaPercentage().desired([busy], published={"a": 4}) == {"a": 4}


def test_v1_grows_the_cheapest_and_shrinks_the_dearest_variant() -> None:
    def with_usage(usage: float) -> list[Variant]:
        cheap = variant("a", pods(2, kv_cache_usage=usage), cost_per_hour=1.0)
        return [cheap, variant("b", pods(2, kv_cache_usage=usage), cost_per_hour=9.0)]

    assert WvaPercentage().desired(with_usage(0.75), published={}) == {"a": 3, "b": 2}
    assert WvaPercentage().desired(with_usage(0.1), published={}) == {"a": 2, "b": 1}


def test_a_variant_at_the_limit_of_its_pool_passes_the_need_on() -> None:
    full = variant("a", pods(2, kv_cache_usage=0.95), cost_per_hour=1.0, most=2)
    dear = variant("b", pods(1, kv_cache_usage=0.95), cost_per_hour=9.0)
    assert WvaPercentage().desired([full, dear], published={}) == {"a": 2, "b": 2}
    _, targets = run(full, dear)
    assert targets["a"] == 2
    assert targets["b"] > 1


def test_v1_reads_the_peak_of_the_last_minute() -> None:
    law, current = WvaPercentage(stabilization_s=0.0), 2
    for tick, usage in enumerate((0.78, 0.1, 0.1)):
        seen = see(15.0 * tick, current, samples=pods(2, kv_cache_usage=usage), there=cluster(2))
        current = decide(law, seen)[ANY]
        assert current == 3 if tick == 0 else current >= 3


def test_pools_are_variants_that_keep_one_replica_each_and_obey_the_fleet_together() -> None:
    pools = (
        a_pool_state(a_pool("reserved", CapacityType.RESERVED)),
        a_pool_state(a_pool("spot", CapacityType.SPOT)),
    )
    seen = see(
        0.0,
        {"reserved": 3},
        samples=pods(3, kv_cache_usage=0.95, waiting=50.0),
        there=cluster(3),
        who=fleet(1, 3),
    )
    # The spot variant's HPA has a minimum of 1; the fleet's maximum of 3 takes it from the dearer variant again.
    assert decide(WvaTokens(stabilization_s=0.0), seen, pools) == {"reserved": 3, "spot": 0}
    roomy = see(0.0, {"reserved": 3}, samples=pods(3, kv_cache_usage=0.3), there=cluster(3), who=fleet(1, 9))
    assert decide(WvaTokens(), roomy, pools) == {"reserved": 3, "spot": 1}


def test_both_hold_while_prometheus_is_silent() -> None:
    for law in (WvaPercentage(stabilization_s=0.0), WvaTokens(stabilization_s=0.0)):
        for tick in range(40):
            assert decide(law, see(15.0 * tick, 4, blind=True))[ANY] == 4


def test_an_inverted_band_and_a_trigger_above_its_threshold_are_refused() -> None:
    with pytest.raises(ValueError, match="inverted"):
        WvaTokens(up_at=0.5, down_at=0.7)
    with pytest.raises(ValueError, match=r"kv_spare_trigger=0.9"):
        WvaPercentage(kv_spare_trigger=0.9)
