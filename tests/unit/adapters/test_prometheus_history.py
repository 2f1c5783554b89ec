"""The past of arrivals out of range queries: canned answers, whole and broken ones."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

from inferencefleet.adapters.prometheus.history import DAY_S, DAYS, Unanswered, read_history
from inferencefleet.adapters.prometheus.queries import Queries, Vocabulary
from inferencefleet.adapters.prometheus.source import PrometheusMetricsSource
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.history import BLOCK_S, History
from tests.fakes.worlds import a_fleet

AT_S = 1_800_000_100.0
CHAT, OTHER = FleetKey("prod", "chat"), FleetKey("prod", "other")
QUERIES = Queries(Vocabulary(), window_s=60, max_age_s=60)
Matrix = list[dict[str, Any]]


def series(*points: tuple[float, object], fleet: str = "chat") -> dict[str, Any]:
    labels = {"namespace": "prod", "inferencefleet_io_fleet": fleet}
    return {"metric": labels, "values": [[at, str(value)] for at, value in points]}


class Store:
    """Answers by what is asked for; a day or the growth can be broken."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, float, float]] = []
        self.recent: Matrix = []
        self.growth: Matrix = []
        self.broken: set[str] = set()
        self.hangs = False

    async def ask(self, query: str, start_s: float, end_s: float, step_s: float) -> Matrix:
        self.asked.append((query, start_s, end_s, step_s))
        if self.hangs:
            await asyncio.Event().wait()
        if "[300s]" not in query:
            kind, answer = ("growth", self.growth) if "deriv" in query else ("recent", self.recent)
        else:
            day = round((AT_S // BLOCK_S * BLOCK_S - end_s) / DAY_S)
            kind, answer = f"day {day}", [series((start_s, day + 0.25), (end_s, day + 0.5))]
        if kind in self.broken:
            raise ConnectionError(f"no {kind}")
        return answer

    async def read(self, deadline_s: float = 5.0) -> tuple[dict[FleetKey, History], tuple[Unanswered, ...]]:
        found, failed = await read_history(self.ask, QUERIES, [CHAT, OTHER], at_s=AT_S, deadline_s=deadline_s)
        return dict(found), failed


async def test_two_weeks_are_asked_for_a_day_at_a_time_on_the_grid_of_blocks() -> None:
    store = Store()
    found, failed = await store.read()
    days = [asked for asked in store.asked if asked[3] == BLOCK_S]
    assert len(days) == DAYS
    assert failed == ()
    for _, start_s, end_s, step_s in days:
        assert start_s % BLOCK_S == end_s % BLOCK_S == 0
        assert (end_s - start_s) / step_s == 287, "no block twice, none left out"
    blocks = found[CHAT].blocks
    assert list(blocks) == sorted(blocks)
    assert blocks[-1] == (AT_S // BLOCK_S * BLOCK_S - BLOCK_S, 0.5), "a rate at the end of a block is that of the block"
    assert found[OTHER] == History(), "asked about, and nothing is known"


async def test_arrivals_are_completions_plus_growth_where_growth_is_known() -> None:
    store = Store()
    store.recent = [series((AT_S - 30, 8), (AT_S - 15, 9), (AT_S, 1), (AT_S + 15, "NaN"))]
    store.growth = [series((AT_S - 15, 1.5), (AT_S, -4), (AT_S - 30, math.nan))]
    found, _ = await store.read()
    assert found[CHAT].recent == ((AT_S - 30, 8.0), (AT_S - 15, 10.5), (AT_S, 0.0))
    assert found[CHAT].window_s == 60


async def test_a_day_that_is_refused_costs_no_other() -> None:
    store = Store()
    store.broken = {"day 3", "growth"}
    store.recent = [series((AT_S, 5))]
    found, failed = await store.read()
    assert [each.name for each in failed] == ["growth", "day -3"]
    assert found[CHAT].recent == ((AT_S, 5.0),)
    assert len(found[CHAT].blocks) == 2 * (DAYS - 1)


async def test_a_store_that_does_not_answer_in_time_leaves_every_fleet_out() -> None:
    store = Store()
    store.hangs = True
    found, failed = await store.read(deadline_s=0.05)
    assert found == {}
    assert len(failed) == DAYS + 2
    assert "no answer within" in str(failed[0].failure)


async def test_a_server_that_is_away_is_told_once_and_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    source = PrometheusMetricsSource("http://127.0.0.1:9", timeout_s=0.5)
    with caplog.at_level(logging.WARNING):
        assert await source.history([a_fleet()], AT_S) == {}
        assert await source.history([], AT_S) == {}
    source.close()
    told = [record.message for record in caplog.records if "history of arrivals" in record.message]
    assert len(told) == 1
    assert "refused" in told[0]
