"""What a pool's status says of interruptions: enough to go on from after a restart, and written when it is news."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.api.convert_pool import interruptions_from_status
from inferencefleet.api.status_pool import PoolStatus
from inferencefleet.control.report.pool_status import pool_status
from inferencefleet.domain.plan import PoolOutlook
from inferencefleet.domain.pool import Batch, CapacityType, InterruptionRecord, Tally
from tests.builders import NOW_S, a_pool, a_pool_state

RECORD = InterruptionRecord(
    as_of_s=NOW_S,
    calm=Tally(node_hours=70, group_hours=9, lone=1.5),
    restless=Tally(node_hours=7, group_hours=1, groups=(0.0, 1.0, 0.0, 0.0)),
    quiet_since_s=NOW_S - 600,
    nodes=5,
    noticed=2,
    notice_sum_s=220,
    silent=3,
    last=Batch(began_s=NOW_S - 600, nodes=4, of=8, restless=True),
)
POOL = a_pool("spot", CapacityType.SPOT)


def reported(record: InterruptionRecord, before: dict[str, Any] | None = None, *, worth: float = 0.0) -> dict[str, Any]:
    outlook = PoolOutlook(
        pool="spot",
        gpus_total=16,
        gpus_used=0,
        gpus_planned=0,
        exhaustion=None,
        sentence="",
        worth_per_gpu_hour=worth,
        interruptions=record,
    )
    return pool_status(a_pool_state(POOL), outlook, before or {}, at_s=NOW_S)


def test_a_record_comes_back_from_the_status_as_it_was() -> None:
    status = reported(RECORD)
    assert PoolStatus.model_validate(status).to_json() == status, "the API server would prune or refuse nothing"
    assert interruptions_from_status(status) == RECORD


def test_a_pool_that_nobody_watched_says_nothing() -> None:
    assert "interruptions" not in reported(InterruptionRecord())


def test_more_hours_of_watching_are_written_only_when_they_add_up() -> None:
    before = reported(RECORD)
    later = replace(RECORD, as_of_s=NOW_S + 15, calm=replace(RECORD.calm, node_hours=70.1))
    assert reported(later, before)["interruptions"] == before["interruptions"]
    much = replace(later, calm=replace(RECORD.calm, node_hours=80))
    assert reported(much, before)["interruptions"]["calm"]["nodeHours"] == 80


@pytest.mark.parametrize(
    "news",
    [
        {"calm": replace(RECORD.calm, lone=2.5)},
        {"last": Batch(began_s=NOW_S, nodes=1, of=8, restless=True)},
        {"silent": 4.0},
    ],
    ids=["an event", "its time", "a death"],
)
def test_an_interruption_is_written_at_once(news: dict[str, Any]) -> None:
    before = reported(RECORD)
    assert reported(replace(RECORD, **news), before)["interruptions"] != before["interruptions"]


def test_what_a_gpu_more_is_worth_is_shown_while_it_is_worth_something() -> None:
    before = reported(RECORD, worth=3.0)
    assert before["worthPerGPUHour"] == 3.0
    assert reported(RECORD, before, worth=3.1)["worthPerGPUHour"] == 3.0, "prices that breathe are no news"
    assert "worthPerGPUHour" not in reported(RECORD, before)
