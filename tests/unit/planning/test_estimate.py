"""Step 1: what arrives now."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.history import LengthMemory
from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from inferencefleet.domain.plan import Demand
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.planning.estimate import drain_time_s
from inferencefleet.planning.estimate import estimate as estimate_at
from tests.builders import GAP, ITL, NOW_S, TTFT, a_fleet, a_histogram, a_mix, metrics

FLEET = a_fleet(rps=4.0)
REMEMBERS = FleetMemory(arrivals=((NOW_S - 30, 8.0), (NOW_S - 15, 9.0)))
NOTHING = FleetMemory()


def estimate(fleet: Fleet, seen: FleetMetrics | MetricsGap, memory: FleetMemory) -> Demand:
    return estimate_at(fleet, seen, memory, at_s=NOW_S)


def test_arrivals_are_completions_plus_what_piles_up_where_first_tokens_are_not_counted() -> None:
    for unknown in (None, a_histogram(0.3, 0.0), a_histogram(0.3, math.nan)):
        demand = estimate(FLEET, metrics(rps=10, growth=2.5, ttft_s=unknown), NOTHING)
        assert demand.observed
        assert demand.arrivals_per_s == pytest.approx(12.5)
        assert "12.50 req/s arrive: 10.00 finish" in demand.sentence


def test_a_queue_that_drains_lowers_arrivals_but_never_below_zero() -> None:
    assert estimate(FLEET, metrics(rps=10, growth=-4, ttft_s=None), NOTHING).arrivals_per_s == pytest.approx(6)
    assert estimate(FLEET, metrics(rps=1, growth=-50, ttft_s=None), NOTHING).arrivals_per_s == 0


def test_while_nobody_waits_arrivals_are_counted_by_their_first_tokens() -> None:
    """660 in a minute are 11 a second, whatever the difference of two noisy gauges makes of it."""
    begun = a_histogram(0.3, 660.0)
    demand = estimate(FLEET, metrics(rps=10, growth=2.5, ttft_s=begun), NOTHING)
    assert demand.arrivals_per_s == pytest.approx(11)
    queued = estimate(FLEET, metrics(rps=10, growth=2.5, waiting=100, ttft_s=begun), NOTHING)
    assert queued.arrivals_per_s == pytest.approx(12.5), "who waits has arrived and has no token yet"


def test_waiting_requests_are_backlog_only_above_what_half_the_ttft_target_holds() -> None:
    assert estimate(FLEET, metrics(rps=10, waiting=10), NOTHING).backlog_requests == 0
    assert estimate(FLEET, metrics(rps=10, waiting=35), NOTHING).backlog_requests == pytest.approx(25)


def test_without_metrics_the_last_observed_rate_stands() -> None:
    demand = estimate(FLEET, GAP, REMEMBERS)
    assert (demand.arrivals_per_s, demand.observed) == (9.0, False)
    assert "as last observed" in demand.sentence


def test_before_the_first_observation_the_declared_traffic_counts() -> None:
    demand = estimate(FLEET, GAP, NOTHING)
    assert (demand.arrivals_per_s, demand.observed) == (4.0, False)
    assert "spec.traffic.expected" in demand.sentence


@pytest.mark.parametrize("rate", [None, math.nan, math.inf, -math.inf])
def test_a_completion_rate_that_is_no_number_is_unknown_and_not_zero(rate: float | None) -> None:
    seen = metrics(rps=1.0, completions_per_s=rate)
    demand = estimate(FLEET, seen, REMEMBERS)
    assert (demand.arrivals_per_s, demand.observed) == (9.0, False)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_growth_and_queue_that_are_no_numbers_are_left_out(odd: float) -> None:
    demand = estimate(FLEET, metrics(rps=5.0, growth=odd, waiting=odd), NOTHING)
    assert demand.observed
    assert demand.arrivals_per_s == pytest.approx(5)
    assert demand.backlog_requests == 0


def test_metrics_without_an_engine_are_no_observation() -> None:
    assert not estimate(FLEET, FleetMetrics(at_s=NOW_S, window_s=60, completions_per_s=7.0), NOTHING).observed


def test_zero_requests_are_an_observation() -> None:
    demand = estimate(FLEET, metrics(rps=0), REMEMBERS)
    assert (demand.arrivals_per_s, demand.observed) == (0, True)


def test_lengths_are_those_that_were_learnt_also_while_metrics_are_missing() -> None:
    learnt = FleetMemory(lengths=LengthMemory(mix=a_mix(300, 50)), arrivals=REMEMBERS.arrivals)
    for seen in (metrics(rps=10), GAP):
        assert estimate(FLEET, seen, learnt).lengths is learnt.lengths.mix
    assert estimate(FLEET, metrics(rps=10), NOTHING).lengths is FLEET.expected.lengths


def test_a_full_queue_whose_clients_give_up_does_not_look_like_less_traffic() -> None:
    """Clients that hang up are no completions: 4 finish, the queue shrinks by 2 a second, and 9 were there 15 s ago."""
    full = estimate(FLEET, metrics(rps=4, growth=-2, waiting=100), REMEMBERS)
    assert full.arrivals_per_s == pytest.approx(9 * math.exp(-15 / 300))
    assert "counted 2.00; a full queue hides the rest" in full.sentence
    assert estimate(FLEET, metrics(rps=4, growth=-2, waiting=0), REMEMBERS).arrivals_per_s == pytest.approx(2)


def test_full_engines_whose_growth_is_unknown_are_taken_for_as_busy_as_before() -> None:
    assert estimate(FLEET, metrics(rps=4, growth=math.nan, waiting=100), REMEMBERS).arrivals_per_s == pytest.approx(9)
    assert estimate(FLEET, metrics(rps=12, growth=math.nan, waiting=100), REMEMBERS).arrivals_per_s == pytest.approx(12)


@pytest.mark.parametrize(
    ("horizon_s", "drain_s", "why"),
    [
        (0, 15, "a gauge is one moment, and a burst of one scrape is no reason to buy"),
        (60, 15, "a fifth of the horizon would be less"),
        (150, 30, "a fifth of the time that is lost anyway"),
        (600, 120, "the same"),
    ],
)
def test_a_backlog_is_drained_in_proportion_to_the_time_until_the_replicas_for_it_serve(
    horizon_s: float, drain_s: float, why: str
) -> None:
    assert drain_time_s(FLEET, horizon_s) == pytest.approx(drain_s), why


def test_a_backlog_is_drained_no_faster_than_the_tightest_ttft_target() -> None:
    patient = replace(TTFT, target_s=40.0)
    assert drain_time_s(a_fleet(slos=(ITL, patient)), 60) == 40
    assert drain_time_s(a_fleet(slos=(ITL, patient, TTFT)), 60) == 15
