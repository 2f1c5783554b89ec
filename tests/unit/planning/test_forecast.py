"""Step 2: the upper bound of demand when a new replica would serve."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.plan import Demand, Forecast
from inferencefleet.domain.snapshot import FleetMemory, ScheduledFloor
from inferencefleet.planning.forecast import CARRIED_ON_S, forecast
from inferencefleet.planning.forecasting.quantile import normal_quantile, upper_at
from inferencefleet.planning.forecasting.skill import FORECASTS_DUE, PRIOR_DISPERSION, PRIOR_DRIFT
from inferencefleet.planning.forecasting.ways import LARGEST_RISE
from inferencefleet.planning.remember import remember_arrivals
from tests.builders import NOW_S, a_mix

WINDOW_S = 60.0


def a_demand(rps: float, *, backlog: float = 0.0, observed: bool = True) -> Demand:
    return Demand(arrivals_per_s=rps, backlog_requests=backlog, observed=observed, lengths=a_mix(), sentence="")


def ahead(
    *history: float,
    backlog: float = 0.0,
    observed: bool = True,
    horizon_s: float = 150.0,
    quantile: float = 0.9,
    schedule: tuple[ScheduledFloor, ...] = (),
    tick_s: float = 15.0,
) -> Forecast:
    """What is forecast after one rate every tick, the last one now."""
    return lived(
        *history, backlog=backlog, observed=observed, horizon_s=horizon_s, quantile=quantile, schedule=schedule,
        tick_s=tick_s,
    )[0]  # fmt: skip


def lived(
    *history: float,
    backlog: float = 0.0,
    observed: bool = True,
    horizon_s: float = 150.0,
    quantile: float = 0.9,
    schedule: tuple[ScheduledFloor, ...] = (),
    tick_s: float = 15.0,
) -> tuple[Forecast, FleetMemory]:
    memory, found = FleetMemory(), None
    for index, rate in enumerate(history):
        at_s = NOW_S - tick_s * (len(history) - 1 - index)
        demand = a_demand(rate, backlog=backlog, observed=observed)
        memory = remember_arrivals(memory, demand, at_s=at_s, kept_s=1800.0)
        found, memory = forecast(
            demand, memory, at_s=at_s, horizon_s=horizon_s, window_s=WINDOW_S, quantile=quantile, drain_s=30.0,
            schedule=schedule,
        )  # fmt: skip
    assert found is not None
    return found, memory


Z = normal_quantile(0.9)
RAMP = tuple(10.0 + i for i in range(13))
"""One request/s more every 15 s over three minutes."""


def test_the_first_tick_plans_with_the_noise_of_counting_and_the_drift_of_recorded_traffic() -> None:
    first = ahead(10.0)
    counted = PRIOR_DISPERSION * 10 / 60
    assert first.noise_per_s == pytest.approx(math.sqrt(counted))
    assert {candidate.name for candidate in first.candidates} == {"persistence", "trend", "holt"}
    assert first.upper_per_s == pytest.approx(10 + Z * math.sqrt(counted + PRIOR_DRIFT * 150 * 10**2), rel=1e-3)


def test_traffic_that_never_moves_is_planned_with_less_and_less_doubt() -> None:
    uppers = [ahead(*([10.0] * ticks)).upper_per_s for ticks in (1, 60, 400)]
    assert uppers == sorted(uppers, reverse=True)
    assert 10 < uppers[-1] < 10 + Z * 0.4, "what was learnt of this fleet outweighs the prior"


def test_a_ramp_is_followed_ahead_by_the_cold_start() -> None:
    ramp = ahead(*RAMP)
    assert ramp.trend_per_s2 == pytest.approx(1 / 15, rel=0.05)
    assert ramp.upper_per_s > 22 + 3
    assert ahead(*RAMP, horizon_s=300).upper_per_s > ramp.upper_per_s
    assert "expected by persistence" in ramp.sentence
    assert "trend" in ramp.sentence


def test_a_ramp_is_seen_over_a_short_horizon_too() -> None:
    assert ahead(*RAMP, horizon_s=30).upper_per_s > 22 + 2


def test_no_ramp_goes_into_the_sky() -> None:
    steep = ahead(*(float(8 * i) for i in range(13)), horizon_s=86_400)
    assert max(candidate.location_per_s for candidate in steep.candidates) <= 96 * (1 + LARGEST_RISE) + 1e-9


def test_falling_traffic_never_lowers_the_bound_below_what_arrives_now() -> None:
    falling = ahead(*reversed(RAMP))
    assert falling.trend_per_s2 == 0
    assert falling.upper_per_s >= 10
    collapsed = ahead(*([1.0] * 400), 10.0)
    assert collapsed.upper_per_s >= 10, "however small everything that was learnt says the traffic is"


def test_noise_is_no_trend() -> None:
    assert ahead(*([9.0, 11.0] * 7)).trend_per_s2 < 0.01


@pytest.mark.parametrize("points", [1, 2, 3])
def test_a_few_points_say_nothing_about_a_trend(points: int) -> None:
    assert ahead(*RAMP[:points]).trend_per_s2 == 0


@pytest.mark.parametrize("jumped_at", range(1, 13))
def test_a_step_is_neither_a_trend_nor_taken_for_noise(jumped_at: int) -> None:
    after = ahead(*([10.0] * jumped_at), *([30.0] * (13 - jumped_at)))
    assert after.trend_per_s2 == 0
    assert after.noise_per_s < 2
    assert 30 < after.upper_per_s < 30 + 3 * Z * after.noise_per_s


def test_an_idle_fleet_needs_nothing() -> None:
    assert ahead(*([0.0] * 13)).upper_per_s == 0


def test_a_rare_request_is_not_forgotten_in_the_minute_without_one() -> None:
    quiet = ahead(*([0.5] * 40), 0.0)
    assert quiet.upper_per_s > 0.2, "the smoothed rate still says that there are requests"


def test_the_backlog_is_drained_in_the_time_that_is_given() -> None:
    without, with_it = ahead(10.0), ahead(10.0, backlog=240)
    assert with_it.backlog_drain_per_s == pytest.approx(8)
    assert with_it.upper_per_s == pytest.approx(without.upper_per_s + 8)


def test_declared_traffic_is_taken_as_it_is_and_nothing_is_learnt_from_it() -> None:
    declared, memory = lived(4.0, observed=False, backlog=99)
    assert declared.upper_per_s == 4
    assert "without a forecast" in declared.sentence
    assert memory == FleetMemory()


def blinded(*history: float, blind_s: float, schedule: tuple[ScheduledFloor, ...] = ()) -> Forecast:
    """The bound when nothing has been observed since the last of `history`."""
    _, memory = lived(*history)
    found, after = forecast(
        a_demand(history[-1], observed=False), memory, at_s=NOW_S + blind_s, horizon_s=150.0, window_s=WINDOW_S,
        quantile=0.9, drain_s=30.0, schedule=schedule,
    )  # fmt: skip
    assert after == memory, "nothing is learnt from what is not seen"
    return found


def test_a_ramp_goes_on_while_nothing_is_observed() -> None:
    seen, soon, later = (ahead(*RAMP).upper_per_s, *(blinded(*RAMP, blind_s=s).upper_per_s for s in (15, 120)))
    assert seen <= soon < later
    assert "22.00 when last seen 120 s ago, carried on from there" in blinded(*RAMP, blind_s=120).sentence


def test_what_was_seen_long_ago_is_not_carried_on_and_no_traffic_falls_while_it_is_not_seen() -> None:
    assert blinded(*RAMP, blind_s=CARRIED_ON_S + 1).upper_per_s == 22
    assert blinded(*reversed(RAMP), blind_s=300).upper_per_s >= 10
    announced = ScheduledFloor(start_s=NOW_S, end_s=NOW_S + 600, requests_per_s=90)
    assert blinded(*RAMP, blind_s=120, schedule=(announced,)).upper_per_s == 90


def test_bursty_arrivals_are_planned_with_more_room_than_even_ones_of_the_same_mean() -> None:
    minute = 4  # ticks: the windows of neighbours overlap
    bursty = [rate for pair in range(20) for rate in [7.0] * minute + [13.0] * minute]
    even = [rate for pair in range(20) for rate in [9.9] * minute + [10.1] * minute]
    assert ahead(*bursty, 10.0).noise_per_s > 1.3 * ahead(10.0).noise_per_s
    assert ahead(*even, 10.0).noise_per_s < 0.9 * ahead(10.0).noise_per_s


def test_the_way_that_was_right_lately_has_most_to_say() -> None:
    """A saw-tooth around a level: the smoothed rate is right, what was seen last never is."""
    saw = ahead(*([6.0, 6.0, 6.0, 6.0, 14.0, 14.0, 14.0, 14.0] * 30), horizon_s=60)
    weight = {candidate.name: candidate.weight for candidate in saw.candidates}
    assert weight["holt"] > 0.6
    assert sum(weight.values()) == pytest.approx(1)


def floor(begins_in_s: float, lasts_s: float, rps: float) -> ScheduledFloor:
    return ScheduledFloor(start_s=NOW_S + begins_in_s, end_s=NOW_S + begins_in_s + lasts_s, requests_per_s=rps)


@pytest.mark.parametrize(
    ("window", "counts", "why"),
    [
        (floor(-60, 120, 50), True, "it is open now"),
        (floor(100, 600, 50), True, "it opens before a replica that is asked for now would serve"),
        (floor(151, 600, 50), False, "there is time to wait"),
        (floor(-600, 600, 50), False, "it is over"),
    ],
)
def test_announced_demand_counts_from_one_horizon_before_it_until_its_end(
    window: ScheduledFloor, counts: bool, why: str
) -> None:
    found = ahead(10.0, schedule=(window, floor(0, 60, 20)))
    assert found.upper_per_s == (50 if counts else 20), why
    assert found.floor_per_s == found.upper_per_s
    assert "announced by spec.traffic.schedule" in found.sentence
    assert ahead(10.0, observed=False, schedule=(window,)).upper_per_s == (50 if counts else 10), why


def test_an_announced_floor_below_the_forecast_changes_nothing() -> None:
    assert ahead(10.0, schedule=(floor(0, 600, 5),)).upper_per_s == ahead(10.0).upper_per_s


def test_the_bound_at_its_own_quantile_is_done_again_from_its_parts() -> None:
    for found in (ahead(*RAMP), ahead(*reversed(RAMP), backlog=30), ahead(10.0, schedule=(floor(0, 60, 50),))):
        assert upper_at(found, found.quantile) == pytest.approx(found.upper_per_s)
        assert upper_at(found, 0.999) >= found.upper_per_s


def test_what_came_yesterday_at_this_time_is_expected_today() -> None:
    """Every day the rate trebles for an hour, five minutes from now: nothing but yesterday knows."""
    minutes = range(-2 * 1440, 1)
    history = [30.0 if 5 < minute % 1440 <= 65 else 10.0 for minute in minutes]
    before = ahead(*history, horizon_s=1500, tick_s=60)
    expected = {candidate.name: candidate.location_per_s for candidate in before.candidates}
    assert expected["persistence"] == 10
    assert expected["day"] == pytest.approx(30, rel=0.05)


def test_what_came_a_week_ago_is_expected_where_the_last_days_were_quiet() -> None:
    minutes = range(-8 * 1440, 1, 5)
    history = [30.0 if 5 < minute % (7 * 1440) <= 65 else 10.0 for minute in minutes]
    expected = {each.name: each.location_per_s for each in ahead(*history, horizon_s=1500, tick_s=300).candidates}
    assert expected["week"] == pytest.approx(30, rel=0.05)
    assert expected["day"] == pytest.approx(10, rel=0.05)


def test_there_is_no_yesterday_before_a_day_is_over() -> None:
    names = {candidate.name for candidate in ahead(*([10.0] * 600), tick_s=60).candidates}
    assert names == {"persistence", "trend", "holt"}


def test_forecasts_that_are_due_are_few_however_long_the_horizon() -> None:
    for horizon_s in (60.0, 600.0, 7200.0):
        _, memory = lived(*([10.0, 11.0] * 300), horizon_s=horizon_s)
        assert len(memory.skill.due) <= FORECASTS_DUE + 1


rates = st.lists(st.floats(0, 1e4), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(rates, st.floats(0, 3600), st.floats(0.5, 0.999), st.floats(0, 1e4))
def test_whatever_the_history_the_bound_is_finite_and_covers_what_arrives_and_what_waits(
    history: list[float], horizon_s: float, quantile: float, backlog: float
) -> None:
    found = ahead(*history, horizon_s=horizon_s, quantile=quantile, backlog=backlog)
    assert math.isfinite(found.upper_per_s)
    least = history[-1] + backlog / 30
    assert found.upper_per_s >= least - 1e-6 * (1 + least)
    higher = upper_at(found, min(0.999, quantile + 0.05))
    assert higher >= found.upper_per_s - 1e-3 * (1 + found.upper_per_s)
