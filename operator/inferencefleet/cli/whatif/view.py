"""The answer of `what-if`: only what differs, before and after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from inferencefleet.cli.output import Page, dollars, number, rounded
from inferencefleet.cli.whatif.answer import Answer
from inferencefleet.domain.plan import FleetPlan, Plan

MOST_SENTENCES = 8
"""Of one fleet in the table; the document has all."""


def wanted_cost(fleet: FleetPlan) -> float:
    """Dollars per hour of what placement wants."""
    price = {sizing.pool: sizing.price_per_hour for sizing in fleet.sizings}
    return sum(pool.placed * price.get(pool.pool, 0.0) for pool in fleet.pools)


def capacity(fleet: FleetPlan) -> float:
    """Requests per second that the plan counts on when what is wanted serves."""
    planned = {sizing.pool: sizing.planned_requests_per_s for sizing in fleet.sizings}
    return sum(pool.placed * planned.get(pool.pool, 0.0) for pool in fleet.pools)


def placed(fleet: FleetPlan) -> int:
    return sum(pool.placed for pool in fleet.pools)


def refused(fleet: FleetPlan) -> bool:
    """It cannot be planned: its replicas stay as they are, wherever that is."""
    return bool(fleet.problems) and not fleet.pools


def sentences(fleet: FleetPlan) -> list[str]:
    """Every step of the derivation, and what is wrong."""
    steps = [f"{verdict.code}: {verdict.sentence}" for verdict in fleet.verdicts]
    risk = [f"risk: {fleet.risk}"] if fleet.risk else []
    return list(dict.fromkeys([*(f"{problem.code}: {problem}" for problem in fleet.problems), *steps, *risk]))


def document(answer: Answer) -> dict[str, Any]:
    """Keys as documented in docs/cli.md."""
    return {
        "kind": "WhatIf",
        "at": _time(answer.at_s),
        "changes": list(answer.changes),
        "usdPerHour": {"before": rounded(_total(answer.before)), "after": rounded(_total(answer.after))},
        "fleets": [
            {
                "fleet": str(before.key),
                "before": _fleet(before),
                "after": _fleet(after),
                "noLonger": _missing(sentences(before), sentences(after)),
                "newly": _missing(sentences(after), sentences(before)),
            }
            for before, after in answer.fleets
        ],
        "pools": [
            {
                "pool": before.pool,
                "gpusPlanned": {"before": before.gpus_planned, "after": after.gpus_planned},
                "worthPerGPUHour": {
                    "before": rounded(before.worth_per_gpu_hour),
                    "after": rounded(after.worth_per_gpu_hour),
                },
                "message": after.sentence,
            }
            for before, after in answer.pools
        ],
    }


def _fleet(fleet: FleetPlan) -> dict[str, Any]:
    planned = {sizing.pool: sizing.planned_requests_per_s for sizing in fleet.sizings}
    return {
        "refused": refused(fleet),
        "replicas": fleet.replicas,
        "wanted": placed(fleet),
        "usdPerHour": rounded(wanted_cost(fleet)),
        "capacityRequestsPerSecond": rounded(capacity(fleet)),
        "plannedForRequestsPerSecond": None if fleet.forecast is None else rounded(fleet.forecast.upper_per_s),
        "reason": str(fleet.reason),
        "message": fleet.sentence,
        "pools": [
            {
                "pool": pool.pool,
                "replicas": pool.replicas,
                "wanted": pool.placed,
                "requestsPerSecondOfOne": rounded(planned.get(pool.pool, 0.0)),
            }
            for pool in fleet.pools
        ],
    }


def show(answer: Answer) -> None:
    page = Page()
    page.heading(f"What if, for the plan of {_time(answer.at_s)}")
    page.items(answer.changes)
    page.heading("Fleets")
    page.table(
        ("FLEET", "NOW", "WANTED", "$/HOUR", "CAPACITY /S", "REASON"),
        [
            (
                before.key,
                _cell(before, after, lambda fleet: str(fleet.replicas)),
                _cell(before, after, lambda fleet: str(placed(fleet))),
                _cell(before, after, lambda fleet: dollars(wanted_cost(fleet))),
                _cell(before, after, lambda fleet: number(capacity(fleet))),
                _arrow(before.reason, after.reason),
            )
            for before, after in answer.fleets
        ],
    )
    page.heading("Pools")
    page.table(
        ("POOL", "FLEET", "WANTED", "OF ONE /S", "GPUS PLANNED", "A GPU MORE, $/HOUR"),
        list(_pool_rows(answer)),
    )
    for before, after in answer.fleets:
        gone, new = _missing(sentences(before), sentences(after)), _missing(sentences(after), sentences(before))
        if gone or new:
            page.heading(f"{before.key}: what is said differently")
            for sign, said in (("-", gone), ("+", new)):
                for line in said[:MOST_SENTENCES]:
                    page.say(f"  {sign} {line}")
    page.say("")
    page.say(_conclusion(answer))
    page.write()


def _cell(before: FleetPlan, after: FleetPlan, said: Callable[[FleetPlan], str]) -> str:
    was, becomes = ("refused" if refused(fleet) else said(fleet) for fleet in (before, after))
    return _arrow(was, becomes)


def _pool_rows(answer: Answer) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for before, after in answer.pools:
        gpus = _arrow(str(before.gpus_planned), str(after.gpus_planned))
        worth = _arrow(dollars(before.worth_per_gpu_hour), dollars(after.worth_per_gpu_hour))
        for old, new in answer.fleets:
            was, becomes = (_place(fleet, before.pool) for fleet in (old, new))
            if was[0] or becomes[0]:
                counts = _arrow(str(was[0]), str(becomes[0]))
                rows.append(
                    (before.pool, str(old.key), counts, _arrow(number(was[1]), number(becomes[1])), gpus, worth)
                )
    return rows


def _place(fleet: FleetPlan, pool: str) -> tuple[int, float]:
    count = sum(each.placed for each in fleet.pools if each.pool == pool)
    return count, sum(each.planned_requests_per_s for each in fleet.sizings if each.pool == pool)


def _conclusion(answer: Answer) -> str:
    lost = [old.key for old, new in answer.fleets if refused(new)]
    if lost:
        named = ", ".join(map(str, lost))
        return f"{named} cannot be planned then, and the replicas it has stay as they are; dollars are not compared."
    before, after = _total(answer.before), _total(answer.after)
    if before == after and all(placed(old) == placed(new) for old, new in answer.fleets):
        return f"Nothing moves: {dollars(before)} an hour as before."
    more = after - before
    share = f" ({100 * more / before:+.0f} %)" if before else ""
    sign = "+" if more >= 0 else "-"
    return (
        f"In all {dollars(before)} -> {dollars(after)} an hour, {sign}{dollars(abs(more))}{share}, once it is settled."
    )


def _total(decided: Plan) -> float:
    return sum(wanted_cost(fleet) for fleet in decided.fleets)


def _missing(these: list[str], those: list[str]) -> list[str]:
    return [line for line in these if line not in set(those)]


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
