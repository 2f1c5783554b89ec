"""Cron expressions and time zones, and the windows that they open: `spec.traffic.schedule`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from inferencefleet.domain.fleet import ScheduledTraffic
from inferencefleet.domain.snapshot import ScheduledFloor

AHEAD_S = 86_400.0
"""Windows that open within a day are announced: no replica takes longer to start."""
REFRESH_S = 3600.0
"""The calendar is read once in this time, an hour further ahead."""
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def cron_fault(cron: str) -> str | None:
    """Why no window would ever open, in words; None when it does."""
    try:
        croniter(cron, _SOME_DAY).get_next(datetime)
    except CroniterError as error:
        return f"is no time that comes ({str(error).rstrip('.')})"
    return None


def zone_fault(timezone: str) -> str | None:
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "is no time zone that is known here"
    return None


def floors(schedule: Sequence[ScheduledTraffic], at_s: float) -> tuple[ScheduledFloor, ...]:
    """Windows that are open at `at_s` or open within a day, by start; windows of one entry that overlap are one."""
    since_s = at_s - at_s % REFRESH_S
    found = [
        floor
        for entry in schedule
        for floor in _windows(entry, since_s)
        if floor.end_s > at_s and floor.start_s <= at_s + AHEAD_S
    ]
    return tuple(sorted(found, key=lambda floor: (floor.start_s, floor.end_s, floor.requests_per_s)))


@lru_cache(maxsize=10_000)
def _windows(entry: ScheduledTraffic, since_s: float) -> tuple[ScheduledFloor, ...]:
    merged: list[tuple[float, float]] = []
    for start_s in _openings(entry, since_s, since_s + REFRESH_S + AHEAD_S):
        end_s = start_s + entry.duration_s
        if merged and start_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], end_s)
        else:
            merged.append((start_s, end_s))
    return tuple(
        ScheduledFloor(start_s=start_s, end_s=end_s, requests_per_s=entry.requests_per_s) for start_s, end_s in merged
    )


def _openings(entry: ScheduledTraffic, since_s: float, until_s: float) -> Iterator[float]:
    """The last opening before `since_s`, whose window ends later than any before it, and those up to `until_s`.

    Read on the clock of the zone: summer time moves a window with the people.
    """
    zone = ZoneInfo(entry.timezone)
    start = datetime.fromtimestamp(since_s, zone)
    yield croniter(entry.cron, start).get_prev(datetime).timestamp()
    ahead = croniter(entry.cron, start)
    if croniter.match(entry.cron, start):
        yield since_s
    while (opens_s := ahead.get_next(datetime).timestamp()) <= until_s:
        yield opens_s
