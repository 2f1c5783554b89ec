"""Step 1: what arrives now."""

from __future__ import annotations

import math

import pytest

from inferencefleet.domain.observation import FleetMetrics, Histogram
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.planning.estimate import estimate
from tests.builders import GAP, NOW_S, a_fleet, metrics

FLEET = a_fleet(rps=4.0)
REMEMBERS = FleetMemory(arrivals=((NOW_S - 30, 8.0), (NOW_S - 15, 9.0)))
NOTHING = FleetMemory()


def test_arrivals_are_completions_plus_what_piles_up() -> None:
    demand = estimate(FLEET, metrics(rps=10, growth=2.5), NOTHING)
    assert demand.observed
    assert demand.arrivals_per_s == pytest.approx(12.5)
    assert "12.50 req/s arrive: 10.00 finish" in demand.sentence


def test_a_queue_that_drains_lowers_arrivals_but_never_below_zero() -> None:
    assert estimate(FLEET, metrics(rps=10, growth=-4), NOTHING).arrivals_per_s == pytest.approx(6)
    assert estimate(FLEET, metrics(rps=1, growth=-50), NOTHING).arrivals_per_s == 0


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


def lengths(total: float) -> Histogram:
    return Histogram(bounds=(100, 1000, math.inf), counts=(0, total, 0), total=total, sum=500 * total)


def test_lengths_are_believed_from_fifty_requests_on() -> None:
    few = estimate(FLEET, metrics(rps=1, prompt_tokens=lengths(49), output_tokens=lengths(49)), NOTHING)
    many = estimate(FLEET, metrics(rps=1, prompt_tokens=lengths(50), output_tokens=lengths(50)), NOTHING)
    assert few.lengths is FLEET.expected.lengths
    assert many.lengths.source == "observed"
    assert many.lengths.mean_prompt_tokens == pytest.approx(500, rel=0.02)
