"""Step 2: the upper bound of demand when a new replica would serve."""

from __future__ import annotations

from statistics import NormalDist

import pytest

from inferencefleet.domain.plan import Demand, Forecast
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.planning.forecast import LARGEST_RISE, forecast
from tests.builders import NOW_S, a_mix


def ahead(
    rps: float, *history: float, backlog: float = 0.0, observed: bool = True, horizon_s: float = 150.0
) -> Forecast:
    """`history` is one rate every 15 s, the last one now."""
    arrivals = tuple((NOW_S - 15 * (len(history) - 1 - i), rate) for i, rate in enumerate(history))
    demand = Demand(arrivals_per_s=rps, backlog_requests=backlog, observed=observed, lengths=a_mix(), sentence="")
    return forecast(
        demand, FleetMemory(arrivals=arrivals), at_s=NOW_S, horizon_s=horizon_s, window_s=60.0, attainment=0.9
    )


QUANTILE_Z = NormalDist().inv_cdf(0.9)
RAMP = tuple(10.0 + i for i in range(13))
"""One request/s more every 15 s over three minutes."""


def test_steady_traffic_is_planned_with_the_noise_of_counting_only() -> None:
    steady = ahead(10, *([10.0] * 13))
    assert steady.trend_per_s2 == 0
    assert steady.upper_per_s == pytest.approx(10 + QUANTILE_Z * steady.noise_per_s)
    assert 0 < steady.noise_per_s < 2


def test_a_ramp_is_followed_ahead_by_the_cold_start() -> None:
    ramp = ahead(22, *RAMP)
    assert ramp.trend_per_s2 == pytest.approx(1 / 15, rel=0.05)
    assert ramp.upper_per_s > 22 + 3
    assert ahead(22, *RAMP, horizon_s=300).upper_per_s > ramp.upper_per_s
    assert "by trend" in ramp.sentence


def test_no_ramp_goes_into_the_sky() -> None:
    steep = ahead(100, *(float(8 * i) for i in range(13)), horizon_s=86_400)
    assert steep.upper_per_s <= 100 * (1 + LARGEST_RISE) + QUANTILE_Z * steep.noise_per_s + 1e-9


def test_falling_traffic_never_lowers_the_bound_below_what_arrives_now() -> None:
    falling = ahead(10, *reversed(RAMP))
    assert falling.trend_per_s2 == 0
    assert falling.upper_per_s >= 10


def test_noise_is_no_trend() -> None:
    zigzag = ahead(10, *([9.0, 11.0] * 7))
    assert zigzag.trend_per_s2 < 0.01
    assert zigzag.noise_per_s > 0.9


@pytest.mark.parametrize("points", [1, 2, 3])
def test_a_few_points_say_nothing_about_a_trend(points: int) -> None:
    assert ahead(10, *RAMP[:points]).trend_per_s2 == 0


def test_the_backlog_is_drained_in_half_a_minute_however_far_the_horizon() -> None:
    assert ahead(10, backlog=240).backlog_drain_per_s == pytest.approx(8)
    assert ahead(10, backlog=240, horizon_s=0).backlog_drain_per_s == pytest.approx(8)


@pytest.mark.parametrize("jumped_at", range(1, 13))
def test_a_step_is_neither_a_trend_nor_noise(jumped_at: int) -> None:
    after = ahead(30, *([10.0] * jumped_at), *([30.0] * (13 - jumped_at)))
    assert after.trend_per_s2 == 0
    assert after.upper_per_s == pytest.approx(30 + QUANTILE_Z * after.noise_per_s)
    assert after.noise_per_s < 2


def test_a_ramp_is_seen_over_a_short_horizon_too() -> None:
    assert ahead(22, *RAMP, horizon_s=30).upper_per_s > 22 + 2


def test_declared_traffic_is_taken_as_it_is() -> None:
    declared = ahead(4, *RAMP, observed=False, backlog=99)
    assert declared.upper_per_s == 4
    assert "without a forecast" in declared.sentence


def test_an_idle_fleet_needs_nothing() -> None:
    assert ahead(0, *([0.0] * 13)).upper_per_s == 0


def test_a_higher_declared_attainment_leaves_more_room_for_noise() -> None:
    def upper(attainment: float) -> float:
        demand = Demand(arrivals_per_s=10, backlog_requests=0, observed=True, lengths=a_mix(), sentence="")
        return forecast(demand, FleetMemory(), at_s=NOW_S, horizon_s=60, window_s=60, attainment=attainment).upper_per_s

    assert upper(0.5) == pytest.approx(10)
    assert upper(0.5) < upper(0.9) < upper(0.99)
