"""llm-d's SLO-aware law: its formula, its signal and its HorizontalPodAutoscaler, by hand."""

from __future__ import annotations

import pytest

from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.simulator.laws.llmd_slo import LlmdSlo
from inferencefleet.simulator.policy import ANY
from tests.unit.simulator.laws_world import cluster, decide, fleet, see, tail

BOUNDS = fleet(3, 8)
"""The published benchmark's: TTFT 3 s, TPOT 100 ms, 3 to 8 replicas."""


def test_above_the_band_the_ask_grows_with_the_signal() -> None:
    # n + ceil(n (s / 0.55 - 1)): 4 + ceil(4 x 0.4545) = 6; at the clamp 4 + ceil(4 x 2.636) = 15.
    assert LlmdSlo().desired(0.8, provisioned=4, ready_replicas=4) == 6
    assert LlmdSlo().desired(2.0, provisioned=4, ready_replicas=4) == 15


def test_what_warms_already_is_not_asked_for_again() -> None:
    # c = 3 / 6: 6 + ceil(6 (1.2 x 0.5 / 0.55 - 1)) = 6 + ceil(0.545) = 7; without the credit 6 + ceil(7.09) = 14.
    assert LlmdSlo().desired(1.2, provisioned=6, ready_replicas=3) == 7
    assert LlmdSlo().desired(1.2, provisioned=6, ready_replicas=6) == 14


def test_between_the_thresholds_nothing_changes() -> None:
    assert LlmdSlo().desired(0.40, provisioned=5, ready_replicas=5) == 5
    assert LlmdSlo().desired(0.55, provisioned=5, ready_replicas=5) == 5


def test_below_the_band_the_signal_is_not_credited() -> None:
    # n - floor(n (1 - s / 0.40)): 8 - floor(8 x 0.25) = 6, whether or not all are ready.
    assert LlmdSlo().desired(0.30, provisioned=8, ready_replicas=8) == 6
    assert LlmdSlo().desired(0.30, provisioned=8, ready_replicas=4) == 6


def test_the_signal_is_the_worse_of_both_tails_against_its_own_slo() -> None:
    # TTFT 1.2 s of 3 s = 0.4; TPOT 45 ms of 100 ms = 0.45.
    seen = see(who=BOUNDS, ttft_s=tail(1.2), tpot_s=tail(0.045))
    assert LlmdSlo().raw_saturation(seen) == pytest.approx(0.45)
    assert LlmdSlo(quantile=0.45).raw_saturation(seen) == pytest.approx(0.225)


def test_no_traffic_reads_as_zero() -> None:
    assert LlmdSlo().raw_saturation(see(who=BOUNDS, ttft_s=tail(1.0, total=0.0))) == 0.0


def test_a_spike_is_clamped_and_leaves_the_average_after_45_s() -> None:
    # One sample of 10 x the SLO counts 2.0: (2 + 0.45 + 0.45) / 3 = 0.97 while it is in the window, then 0.45.
    law = LlmdSlo(up_stabilization_s=0.0, up_pods=100, up_period_s=1.0)
    asked = []
    for tick in range(5):
        ttft = tail(30.0 if tick == 0 else 1.35)
        seen = see(15.0 * tick, 3, who=fleet(3, 40), ttft_s=ttft, there=cluster(3))
        asked.append(decide(law, seen)[ANY])
    # 3 + ceil(3 (2.0 / 0.55 - 1)) = 11, with 1.225 it is 7, with 0.967 it is 6; then 0.45 is in the band.
    assert asked == [11, 7, 6, 3, 3]


def test_a_burst_waits_30_s_and_then_doubles_or_adds_four() -> None:
    # s = 2.0 asks for 3 + ceil(3 x 2.636) = 11. Stabilization 30 s with the 3 of the start in it; then max(100 %, 4)
    # in 60 s is 7, and 8 is the bound.
    law, current, history = LlmdSlo(), 3, []
    for tick in range(8):
        seen = see(15.0 * tick, current, who=BOUNDS, ttft_s=tail(6.0), there=cluster(3, starting=current - 3))
        current = decide(law, seen)[ANY]
        history.append(current)
    assert history[:2] == [3, 3]
    assert history[2] == 7
    # With 3 of 7 ready: 7 + ceil(7 (2.0 x 3 / 7 / 0.55 - 1)) = 7 + ceil(3.9) = 11, within 60 s not before 90 s.
    assert history[3:6] == [7, 7, 7]
    assert history[6] == 8


def test_the_drain_is_one_pod_in_120_s_after_180_s_of_calm() -> None:
    law, current, history = LlmdSlo(), 8, []
    for tick in range(30):
        current = decide(law, see(15.0 * tick, current, who=BOUNDS, ttft_s=tail(0.3), tpot_s=tail(0.01)))[ANY]
        history.append(current)
    assert history[11] == 8
    assert history[12] == 7  # the 8 of the start is 180 s old
    assert history[19] == 7
    assert history[20] == 6  # 120 s later


def test_a_warm_up_never_sheds_replicas_though_the_credit_asks_for_it() -> None:
    # Taken literally, s = 0.6 with 3 of 7 ready asks for 7 + ceil(7 (0.6 x 0.43 / 0.55 - 1)) = 4. The window holds 7.
    law = LlmdSlo()
    assert law.desired(0.6, provisioned=7, ready_replicas=3) == 4
    for tick in range(11):
        there = cluster(3, starting=4)
        assert decide(law, see(15.0 * tick, 7, who=BOUNDS, ttft_s=tail(1.8), there=there))[ANY] == 7


def test_it_holds_while_prometheus_is_silent() -> None:
    law = LlmdSlo()
    for tick in range(30):
        assert decide(law, see(15.0 * tick, 5, who=BOUNDS, blind=True))[ANY] == 5


def test_an_inverted_band_is_refused() -> None:
    with pytest.raises(ValueError, match=r"down_at=0.6, up_at=0.55.*inverted"):
        LlmdSlo(down_at=0.6)


def test_a_fleet_without_a_latency_slo_is_refused_instead_of_drained() -> None:
    only_e2e = fleet(slos=(Slo(metric=SloMetric.E2E, percentile=95, target_s=10.0),))
    with pytest.raises(ValueError, match="neither ttft nor itl"):
        decide(LlmdSlo(), see(who=only_e2e))
