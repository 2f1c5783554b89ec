"""Cron windows become floors under the demand: the right ones, at the right time of the right zone."""

from __future__ import annotations

from datetime import datetime

import pytest

from inferencefleet.api.schedule import cron_fault, floors, zone_fault
from inferencefleet.domain.fleet import ScheduledTraffic
from inferencefleet.domain.snapshot import ScheduledFloor


def entry(cron: str, *, hours: float = 10.0, zone: str = "Europe/Berlin", rate: float = 12.0) -> ScheduledTraffic:
    return ScheduledTraffic(cron=cron, timezone=zone, duration_s=3600 * hours, requests_per_s=rate)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def spans(schedule: list[ScheduledTraffic], now: str) -> list[tuple[str, str]]:
    found = floors(schedule, at(now))
    return [tuple(_utc(moment) for moment in (each.start_s, each.end_s)) for each in found]  # type: ignore[misc]


def _utc(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, datetime.fromisoformat("2026-01-01T00:00:00+00:00").tzinfo).strftime(
        "%a %H:%M"
    )


WORKDAYS = entry("30 7 * * MON-FRI")


def test_a_window_that_opens_within_a_day_is_announced() -> None:
    assert spans([WORKDAYS], "2026-11-24T20:00:00+01:00") == [("Wed 06:30", "Wed 16:30")]


def test_a_window_that_is_open_is_still_there_and_the_next_as_well() -> None:
    assert spans([WORKDAYS], "2026-11-25T17:29:59+01:00") == [("Wed 06:30", "Wed 16:30"), ("Thu 06:30", "Thu 16:30")]
    assert spans([WORKDAYS], "2026-11-25T17:30:00+01:00") == [("Thu 06:30", "Thu 16:30")]


def test_a_weekend_has_no_working_day() -> None:
    assert spans([WORKDAYS], "2026-11-28T08:00:00+01:00") == []
    assert spans([WORKDAYS], "2026-11-29T07:30:00+01:00") == [("Mon 06:30", "Mon 16:30")]


def test_a_window_moves_with_summer_time() -> None:
    """On 29 March 2026 the clocks of Berlin go forward: half past seven comes an hour earlier in UTC."""
    assert spans([entry("30 7 * * *", hours=1)], "2026-03-28T06:00:00+00:00") == [
        ("Sat 06:30", "Sat 07:30"),
        ("Sun 05:30", "Sun 06:30"),
    ]


def test_a_window_that_opens_on_the_hour_is_not_lost_at_that_hour() -> None:
    assert spans([entry("0 7 * * *", hours=1, zone="UTC")], "2026-11-25T07:00:00+00:00")[0] == (
        "Wed 07:00",
        "Wed 08:00",
    )


def test_a_window_longer_than_the_time_between_openings_is_one() -> None:
    (always,) = floors([entry("*/30 * * * *", hours=1)], at("2026-11-25T07:10:00+00:00"))
    assert always.start_s <= at("2026-11-25T07:10:00+00:00")
    assert always.end_s > at("2026-11-26T07:10:00+00:00")


def test_floors_are_sorted_by_start_and_keep_their_own_rates() -> None:
    found = floors(
        [entry("0 12 * * *", hours=1, zone="UTC", rate=9), entry("0 9 * * *", hours=8, zone="UTC", rate=4)],
        at("2026-11-25T08:00:00+00:00"),
    )
    noon, nine = at("2026-11-25T12:00:00+00:00"), at("2026-11-25T09:00:00+00:00")
    assert found == (
        ScheduledFloor(start_s=nine, end_s=nine + 28_800, requests_per_s=4),
        ScheduledFloor(start_s=noon, end_s=noon + 3600, requests_per_s=9),
    )


@pytest.mark.parametrize("cron", ["30 7 * * MON-FRI", "0 0 29 2 *", "*/5 0-6,22 1,15 JAN-MAR *", "0 9 L * *"])
def test_a_time_that_comes_is_accepted(cron: str) -> None:
    assert cron_fault(cron) is None


@pytest.mark.parametrize("cron", ["0 7 30 2 *", "60 * * * *", "0 25 * * *", "0 0 * * MOO"])
def test_a_time_that_never_comes_is_named(cron: str) -> None:
    assert "is no time that comes" in str(cron_fault(cron))


def test_only_zones_that_exist_are_known() -> None:
    assert zone_fault("America/Argentina/Buenos_Aires") is None
    assert zone_fault("Europe/Atlantis") is not None
    assert zone_fault("../etc/passwd") is not None
