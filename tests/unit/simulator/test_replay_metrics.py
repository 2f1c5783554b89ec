"""What Prometheus shows of a replay, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from inferencefleet.simulator.replay import Span
from inferencefleet.simulator.replay.prometheus import Prometheus
from inferencefleet.simulator.replay.scrapes import Scrapes
from inferencefleet.simulator.replay.sight import buckets_of
from inferencefleet.simulator.servers import Buckets, Counters, Gauges
from tests.builders import NOW_S
from tests.unit.simulator.staging import (
    Script,
    a_replayed_fleet,
    a_stage,
    arrivals,
    every,
    play,
    reserved,
)

BUCKETS = Buckets(
    prompt_tokens=(100.0, 1000.0), output_tokens=(10.0, 100.0), ttft_s=(0.5, 2.0), itl_s=(0.05,), e2e_s=(10.0,)
)
TIMES_S = (10.0, 25.0, 40.0, 55.0, 70.0)


def counted(slots: int, **values: float) -> Counters:
    """All counters of all replicas are 0, but those named: a scalar goes to all, a row to each bucket."""
    widths = {
        "prompt_hist": 3, "output_hist": 3, "ttft_hist": 3, "itl_hist": 2, "tpot_hist": 2, "e2e_hist": 2,
    }  # fmt: skip
    made = {
        name: np.zeros((slots, widths[name])) if name in widths else np.zeros(slots)
        for name in Counters.__dataclass_fields__
    }
    for name, value in values.items():
        made[name][:] = value
    return Counters(**made)


def shown(slots: int, *, running: float = 0.0, waiting: float = 0.0, usage: float = 0.0) -> Gauges:
    return Gauges(
        running=np.full(slots, running),
        waiting=np.full(slots, waiting),
        kv_cache_usage=np.full(slots, usage),
        kv_cache_tokens=np.full(slots, 1e5),
    )


def watched(window_s: float = 60.0) -> Prometheus:
    """One fleet without pods."""
    scrapes = Scrapes(BUCKETS, 15.0, window_s)
    return Prometheus(a_replayed_fleet(), scrapes, window_s=window_s, start_epoch_s=NOW_S)


def read(prometheus: Prometheus, now_s: float) -> FleetMetrics:
    seen = prometheus.read(now_s)
    assert isinstance(seen, FleetMetrics)
    return seen


def test_rates_are_what_prometheus_extrapolates_for_each_pod():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    for at_s in TIMES_S:
        prometheus.scrapes.sample(np.array([0]), counted(1, finished=100 + 2 * at_s), shown(1), at_s)

    # In (15, 75] lie four samples, 25 to 70: a rise of 90 in 45 s, carried on over all 60 s.
    assert read(prometheus, 75.0).completions_per_s == pytest.approx(2.0)


def test_a_young_pod_counts_for_less_because_its_series_began_inside_the_window():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    for at_s in (55.0, 70.0):
        prometheus.scrapes.sample(np.array([0]), counted(1, finished=1000 + 2 * at_s), shown(1), at_s)

    # 30 in 15 s, carried on by half an interval to the left and by 5 s to the right: 30 x 27.5/15 in 60 s.
    assert read(prometheus, 75.0).completions_per_s == pytest.approx(30 * 27.5 / 15 / 60)


def test_no_rate_reaches_back_to_before_a_counter_was_zero():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    for at_s, finished in ((55.0, 3.0), (70.0, 33.0)):
        prometheus.scrapes.sample(np.array([0]), counted(1, finished=finished), shown(1), at_s)

    # A line through both reaches zero 1.5 s before the first sample.
    assert read(prometheus, 75.0).completions_per_s == pytest.approx(30 * (15 + 1.5 + 5) / 15 / 60)


def test_one_sample_is_no_rate():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    prometheus.scrapes.sample(np.array([0]), counted(1, finished=5), shown(1, running=3), 70.0)

    seen = read(prometheus, 75.0)

    assert seen.completions_per_s is None
    assert seen.ttft_s is None
    assert seen.running == 3


def test_gauges_are_summed_over_the_pods_of_each_pool():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    prometheus.scrapes.add(1, "spot")
    prometheus.scrapes.add(2, "spot")
    prometheus.scrapes.sample(np.arange(3), counted(3), shown(3, running=4, waiting=1, usage=0.25), 70.0)

    seen = read(prometheus, 75.0)

    assert {name: (pool.engines, pool.running, pool.waiting) for name, pool in seen.pools.items()} == {
        "reserved": (1, 4.0, 1.0), "spot": (2, 8.0, 2.0),
    }  # fmt: skip
    assert seen.pools["spot"].kv_cache_usage_max == 0.25
    assert seen.at_s == NOW_S + 70.0


def test_growth_is_the_slope_of_all_that_runs_and_waits():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    for at_s in np.arange(0.0, 76.0, 1.0):
        prometheus.scrapes.sample(np.array([0]), counted(1), shown(1, running=3 * at_s, waiting=at_s), at_s)

    assert read(prometheus, 75.0).in_system_growth_per_s == pytest.approx(4.0)


def test_histograms_are_increases_by_bucket_with_their_sum():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    for index, at_s in enumerate(TIMES_S):
        rows = counted(1, ttft_hist=np.array([90, 90, 30]) + np.array([3, 1, 1]) * index, ttft_sum=50 + 6 * index)
        prometheus.scrapes.sample(np.array([0]), rows, shown(1), at_s)

    ttft = read(prometheus, 75.0).ttft_s

    # Three intervals of 15 s between four samples, carried on to 60 s: as much as in four.
    assert ttft is not None
    assert ttft.bounds == (0.5, 2.0, float("inf"))
    assert ttft.counts == pytest.approx((12.0, 4.0, 4.0))
    assert ttft.total == pytest.approx(20.0)
    assert ttft.sum == pytest.approx(24.0)


def test_the_window_of_a_pool_holds_the_rates_that_calibration_reads():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    for index, at_s in enumerate(TIMES_S):
        rows = counted(
            1, finished=100 + 30 * index, output_tokens=30000 + 3000 * index, computed_tokens=90000 + 9000 * index,
            itl_sum=1000 + 60 * index, itl_hist=np.array([90000, 0]) + np.array([2970, 0]) * index,
            prefix_queries=60000 + 6000 * index, prefix_hits=15000 + 1500 * index,
        )  # fmt: skip
        prometheus.scrapes.sample(np.array([0]), rows, shown(1, running=index), at_s)

    window = read(prometheus, 75.0).pools["reserved"].window

    assert window is not None
    assert window.requests_per_s == pytest.approx(2.0)
    assert window.scheduled_tokens_per_s == pytest.approx(600.0)
    assert window.itl_mean_s == pytest.approx(60 / 2970)
    assert window.prefix_hit_ratio == pytest.approx(0.25)
    # Samples at 25 and 40 s are in the first half of (15, 75], those at 55 and 70 s in the second.
    assert (window.running_early, window.running_late) == (1.5, 3.5)
    assert window.models == ("Qwen/Qwen3-32B",)
    assert window.resets == 0.0


def test_a_pod_that_left_is_seen_until_its_next_scrape_and_in_rates_until_the_window_has_passed():
    prometheus = watched()
    scrapes = prometheus.scrapes
    scrapes.add(0, "reserved")
    for at_s in (31.5, 46.5, 61.5):
        scrapes.sample(np.array([0]), counted(1, finished=100 + at_s), shown(1, running=5), at_s)
    scrapes.leave(0, 65.0)

    assert read(prometheus, 75.0).running == 5
    after = prometheus.read(80.0)
    assert isinstance(after, MetricsGap)
    assert after.code == "NoSamples"
    assert prometheus.rates(80.0).rows.size == 1
    assert prometheus.rates(110.0).rows.size == 0


def test_rows_of_pods_that_left_long_ago_are_used_again():
    prometheus = watched()
    for slot in range(100):
        at_s = 400.0 * slot
        prometheus.scrapes.add(slot, "reserved")
        prometheus.scrapes.sample(np.array([slot]), counted(slot + 1), shown(slot + 1), at_s)
        prometheus.scrapes.leave(slot, at_s)
        prometheus.read(at_s)

    assert prometheus.scrapes.pool_of.size == 16


def test_the_long_window_forgets_what_is_more_than_an_hour_old():
    prometheus = watched()
    prometheus.scrapes.add(0, "reserved")
    for at_s in np.arange(0.0, 7201.0, 15.0):
        slow = max(0.0, min(at_s, 3600.0) - 1800.0) / 15
        rows = counted(1, ttft_hist=np.array([at_s / 15, 0, slow]))
        prometheus.scrapes.sample(np.array([0]), rows, shown(1), at_s)
        seen = prometheus.read(at_s)
        if at_s == 3600.0:
            assert isinstance(seen, FleetMetrics)
            assert seen.ttft_long_s is not None
            assert seen.ttft_long_s.share_at_most(2.0) == pytest.approx(240 / 360)

    assert isinstance(seen, FleetMetrics)
    assert seen.ttft_long_s is not None
    assert seen.ttft_long_s.share_at_most(2.0) == pytest.approx(1.0)
    assert seen.ttft_long_s.total == pytest.approx(240.0)


def test_engines_have_a_bucket_bound_on_every_target():
    stage = a_stage(reserved())

    found = buckets_of(stage.fleets[0])

    assert 2.0 in found.ttft_s
    assert 0.06 in found.itl_s
    assert list(found.itl_s) == sorted(found.itl_s)


def test_what_is_seen_of_real_engines_agrees_with_what_they_did():
    script = Script()
    traffic = arrivals(every(0.25, until_s=300.0))

    play(a_stage(reserved(2), traffic=traffic, initial={"reserved": 2}, duration_s=300.0), script)

    sight = script.sight(300.0)
    seen = sight.snapshot.fleets[0].metrics
    assert isinstance(seen, FleetMetrics)
    assert seen.engines == 2
    assert seen.completions_per_s == pytest.approx(4.0, rel=0.05)
    assert seen.prompt_tokens is not None
    assert seen.prompt_tokens.mean == pytest.approx(500.0, rel=0.05)
    assert seen.output_tokens_per_s == pytest.approx(400.0, rel=0.05)
    told = sight.fleets[0]
    assert told.arrivals_per_s == pytest.approx(4.0, rel=0.05)
    assert [pod.prompt_tokens_mean for pod in told.pods] == pytest.approx([500.0, 500.0])
    assert sum(pod.output_tokens_per_s for pod in told.pods) == pytest.approx(400.0, rel=0.05)
    assert told.tpot_s is not None
    assert told.tpot_s.total == pytest.approx(240, rel=0.05)
    assert told.profiled_requests_per_s["reserved"] > 4.0


def test_a_blind_prometheus_is_a_gap_and_tells_peers_nothing():
    script = Script()
    traffic = arrivals(every(0.5, until_s=300.0))
    stage = a_stage(
        reserved(1), traffic=traffic, initial={"reserved": 1}, duration_s=300.0, blind=(Span(100.0, 200.0),)
    )

    play(stage, script)

    dark, light = script.sight(150.0), script.sight(210.0)
    assert isinstance(dark.snapshot.fleets[0].metrics, MetricsGap)
    assert dark.snapshot.fleets[0].metrics.code == "PrometheusUnreachable"
    assert dark.fleets[0].blind
    assert dark.fleets[0].pods == ()
    assert dark.fleets[0].completions_per_s is None
    assert dark.fleets[0].replicas, "the API server still answers"
    assert isinstance(light.snapshot.fleets[0].metrics, FleetMetrics)


def test_no_engine_yet_is_a_gap_of_samples():
    script = Script()

    play(a_stage(reserved(1), duration_s=60.0), script)

    gap = script.sight(60.0).snapshot.fleets[0].metrics
    assert isinstance(gap, MetricsGap)
    assert gap.code == "NoSamples"
