"""What Prometheus still knows of arrivals from before this process began: range queries, a day at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferencefleet.adapters.prometheus import parse
from inferencefleet.adapters.prometheus.queries import Queries
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.history import BLOCK_S, History, Points

DAYS = 14
DAY_S = 86_400.0
RECENT_S = 1800.0
RECENT_STEP_S = 15.0

AskRange = Callable[[str, float, float, float], Awaitable[list[dict[str, Any]]]]
"""(query, start, end, step in seconds) -> a matrix; raises when the server does not answer with one."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A query that failed, and how."""

    name: str
    failure: BaseException


async def read_history(
    ask: AskRange, queries: Queries, fleets: Sequence[FleetKey], *, at_s: float, deadline_s: float
) -> tuple[Mapping[FleetKey, History], tuple[Unanswered, ...]]:
    """(a history, perhaps an empty one, for every fleet; what was not answered within the deadline).

    One query would ask the server for two weeks of every pod's samples at once, which it may refuse: so a day is
    asked at a time, and a day that fails costs no other. When nothing is answered no fleet has a history.
    """
    last_s = at_s // BLOCK_S * BLOCK_S
    asked = {
        "completions": ask(queries.completions(), at_s - RECENT_S, at_s, RECENT_STEP_S),
        "growth": ask(queries.in_system_growth(), at_s - RECENT_S, at_s, RECENT_STEP_S),
    }
    for day in range(DAYS):
        end_s = last_s - day * DAY_S
        asked[f"day -{day}"] = ask(queries.completions(int(BLOCK_S)), end_s - DAY_S + BLOCK_S, end_s, BLOCK_S)
    answers, failed = await _all_that_answer(asked, deadline_s)
    if not answers:
        return {}, failed
    series = {name: parse.series_by_fleet(matrix, queries.words) for name, matrix in answers.items()}
    days = [found for name, found in series.items() if name.startswith("day")]
    completions, growth = series.get("completions", {}), series.get("growth", {})
    return {
        fleet: History(
            recent=_arrivals(completions.get(fleet, ()), growth.get(fleet, ())),
            # A rate is evaluated at the end of its block.
            blocks=tuple(
                sorted((at - BLOCK_S, rate) for found in days for at, rate in found.get(fleet, ()) if at <= last_s)
            ),
            window_s=float(queries.window_s),
        )
        for fleet in fleets
    }, failed


def _arrivals(completions: Points, growth: Points) -> Points:
    """Completions plus the growth of what is in the system, where it is known."""
    grows = dict(growth)
    return tuple((at, max(0.0, rate + grows.get(at, 0.0))) for at, rate in completions)


async def _all_that_answer(
    asked: Mapping[str, Awaitable[list[dict[str, Any]]]], deadline_s: float
) -> tuple[dict[str, list[dict[str, Any]]], tuple[Unanswered, ...]]:
    tasks = {name: asyncio.ensure_future(query) for name, query in asked.items()}
    await asyncio.wait(tasks.values(), timeout=deadline_s)
    late = [task for task in tasks.values() if not task.done()]
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    failed = tuple(_failures(tasks, deadline_s))
    unanswered = {each.name for each in failed}
    return {name: task.result() for name, task in tasks.items() if name not in unanswered}, failed


def _failures(tasks: Mapping[str, asyncio.Future[Any]], deadline_s: float) -> Iterable[Unanswered]:
    for name, task in tasks.items():
        if task.cancelled():
            yield Unanswered(name, TimeoutError(f"no answer within {deadline_s:.0f} s"))
        elif (failure := task.exception()) is not None:
            yield Unanswered(name, failure)
