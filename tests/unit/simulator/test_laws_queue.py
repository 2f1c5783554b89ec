"""Laws that scale on waiting requests (HPA, KEDA, KAITO), and the fixed fleet."""

from __future__ import annotations

import pytest

from inferencefleet.simulator.laws.common import FleetLaw
from inferencefleet.simulator.laws.hpa_waiting import HpaOnWaiting
from inferencefleet.simulator.laws.kaito import Kaito
from inferencefleet.simulator.laws.keda_production_stack import KedaProductionStack
from inferencefleet.simulator.laws.static import Static
from inferencefleet.simulator.policy import ANY
from tests.unit.simulator.laws_world import cluster, decide, fleet, see, waiting


def under(law: FleetLaw, queue: list[float], *, start: int, least: int = 1, most: int = 40) -> list[int]:
    """Replicas after each tick of 15 s, when so many requests wait and pods are ready at once."""
    current, history = start, []
    for tick, total in enumerate(queue):
        seen = see(15.0 * tick, current, samples=waiting(total, current), who=fleet(least, most))
        current = decide(law, seen)[ANY]
        history.append(current)
    return history


def test_the_seeds_hpa_adds_two_pods_in_two_minutes_after_a_minute_of_queue() -> None:
    # 400 waiting on 2 pods: 200 each against 50, ceil(400 / 50) = 8. Stabilization 60 s with the current 2 of the
    # start in it, then 2 Pods in 120 s.
    history = under(HpaOnWaiting(), [400.0] * 14, start=2, least=2, most=8)
    assert history[:4] == [2, 2, 2, 2]
    assert history[4:12] == [4] * 8
    assert history[12] == 6


def test_the_seeds_hpa_ignores_a_queue_below_fifty_for_each_pod() -> None:
    # 104 on 2 pods is 1.04 of the target.
    assert under(HpaOnWaiting(), [104.0] * 10, start=2, least=2, most=8) == [2] * 10


def test_the_seeds_hpa_holds_when_no_pod_is_scraped_and_keda_goes_to_the_minimum() -> None:
    # The adapter answers an empty query with an error; KEDA ignores nulls by default and reads 0.
    hpa, keda = HpaOnWaiting(), KedaProductionStack()
    for tick in range(30):
        empty = see(15.0 * tick, 4, there=cluster(starting=4))
        held, shrunk = decide(hpa, empty)[ANY], decide(keda, empty)[ANY]
    assert held == 4
    assert shrunk == 1


def test_no_law_on_a_queue_moves_while_prometheus_is_silent() -> None:
    for law in (HpaOnWaiting(), KedaProductionStack(), Kaito()):
        for tick in range(60):
            assert decide(law, see(15.0 * tick, 4, blind=True))[ANY] == 4


def test_production_stack_jumps_to_what_the_queue_asks_for_within_double_or_four() -> None:
    # ceil(32 / 5) = 7 on 1 pod: max(2 x 1, 4) = 4 first, then 7.
    assert under(KedaProductionStack(), [32.0, 32.0, 32.0], start=1) == [4, 7, 7]


def test_production_stack_shrinks_only_after_five_minutes_below() -> None:
    # 32 / (5 x 7) = 0.91 holds 7; the last proposal of 7 is of 45 s, and a plain HPA still counts it at 345 s.
    history = under(KedaProductionStack(), [32.0] * 4 + [0.0] * 22, start=7)
    assert history[:24] == [7] * 24
    assert history[24] == 1


def test_production_stacks_cooldown_delays_the_step_to_zero_alone() -> None:
    law = KedaProductionStack(cooldown_s=360.0)
    assert decide(law, see(0.0, 1, samples=waiting(1, 1), who=fleet(0, 3), arrivals_per_s=0.1))[ANY] == 1
    idle = [
        decide(law, see(15.0 * tick, 1, samples=waiting(0, 1), who=fleet(0, 3), arrivals_per_s=0.0))[ANY]
        for tick in range(1, 26)
    ]
    assert idle[:23] == [1] * 23
    assert idle[23] == 0  # 360 s after the last request
    assert decide(law, see(390.0, 0, who=fleet(0, 3), arrivals_per_s=0.1))[ANY] == 1


def test_kaito_adds_one_pod_in_five_minutes_whatever_the_queue() -> None:
    # 58 waiting asks for 6 (its page). One pod at 60 s, the next when 300 s have passed.
    history = under(Kaito(), [58.0] * 46, start=1, most=5)
    assert history[3] == 1
    assert history[4] == 2
    assert history[23] == 2
    assert history[24] == 3  # 60 + 300 s
    assert history[44] == 4


def test_kaito_removes_one_pod_in_ten_minutes() -> None:
    history = under(Kaito(), [0.0] * 82, start=5, most=5)
    assert history[19] == 5
    assert history[20] == 4  # the 5 of the start is 300 s old
    assert history[59] == 4
    assert history[60] == 3  # 300 + 600 s


def test_a_fixed_fleet_stays_within_the_bounds_of_its_fleet() -> None:
    assert decide(Static(replicas=8), see(0.0, 3, who=fleet(3, 8)))[ANY] == 8
    assert decide(Static(replicas=8), see(0.0, 3, who=fleet(3, 6)))[ANY] == 6
    with pytest.raises(ValueError, match=r"replicas=-1"):
        Static(replicas=-1)


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"target=0.*more than 0"):
        KedaProductionStack(threshold=0)
