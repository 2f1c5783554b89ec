"""The status document of a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferencefleet.api.status_pool import PoolStatus
from inferencefleet.api.times import to_timestamp
from inferencefleet.control.report.conditions import Statement, conditions
from inferencefleet.domain.fleet import Problem
from inferencefleet.domain.plan import PoolOutlook
from inferencefleet.domain.pool import InterruptionRecord, Pool, PoolState, Tally
from inferencefleet.planning.interruptions import believe

JsonObject = dict[str, Any]

TOLERANCE = 0.1
"""Of a number: a smaller move is not written."""
LEAST_NEWS, LEAST_HOURS = 0.005, 0.5
"""Likewise, in the number's own unit (nodes, events, dollars); of hours that were watched."""


def pool_status(state: PoolState, outlook: PoolOutlook, reported: Mapping[str, Any], *, at_s: float) -> JsonObject:
    """GPUs, exhaustion, interruptions and conditions of a pool that could be read."""
    exhausted = outlook.exhaustion
    statements = [
        Statement(type="Ready", holds=True, reason="Accepted", message=outlook.sentence),
        Statement(
            type="Exhausted",
            holds=exhausted is not None,
            reason="NotDelivering" if exhausted else "Delivering",
            message=outlook.sentence,
        ),
        Statement(type="Stalled", holds=False, reason="Accepted", message="the spec can be used"),
    ]
    generation = state.pool.generation
    content: JsonObject = {
        "observedGeneration": generation,
        "conditions": conditions(statements, reported, generation=generation, at_s=at_s),
        "gpus": {"total": outlook.gpus_total, "used": outlook.gpus_used, "planned": outlook.gpus_planned},
    }
    if exhausted is not None:
        content["exhaustion"] = {
            "since": to_timestamp(exhausted.since_s),
            "until": to_timestamp(exhausted.until_s),
            "strikes": exhausted.strikes,
        }
    if outlook.interruptions.as_of_s is not None:
        content["interruptions"] = _as_before(
            _interruptions(outlook.interruptions, state.pool, at_s), reported.get("interruptions")
        )
    if outlook.worth_per_gpu_hour > 0:
        content["worthPerGPUHour"] = _as_before(outlook.worth_per_gpu_hour, reported.get("worthPerGPUHour"))
    return PoolStatus.model_validate(content).to_json()


def _interruptions(record: InterruptionRecord, pool: Pool, at_s: float) -> JsonObject:
    content: JsonObject = {
        "asOf": to_timestamp(record.as_of_s or at_s),
        "perNodeHour": _rounded(believe(record, pool, at_s).per_node_hour),
        "nodes": _rounded(record.nodes),
        "noticeSeconds": None if record.notice_s is None else _rounded(record.notice_s),
        "noticed": _rounded(record.noticed),
        "silent": _rounded(record.silent),
        "quietSince": None if record.quiet_since_s is None else to_timestamp(record.quiet_since_s),
        "calm": _tally(record.calm),
        "restless": _tally(record.restless),
    }
    if record.last is not None:
        last = record.last
        content["latest"] = {
            "since": to_timestamp(last.began_s), "nodes": last.nodes, "of": last.of, "restless": last.restless,
        }  # fmt: skip
    return content


def _tally(tally: Tally) -> JsonObject:
    return {
        "nodeHours": _rounded(tally.node_hours),
        "groupHours": _rounded(tally.group_hours),
        "lone": _rounded(tally.lone),
        "groups": [_rounded(count) for count in tally.groups],
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _as_before(new: Any, reported: Any) -> Any:
    """What was reported, while the new is about the same: hours of watching and fading sums are no news by themselves.

    The exact numbers live in memory; a restart loses no more than this tolerance.
    """
    return reported if _alike(new, reported) else new


def _alike(new: Any, old: Any, least: float = LEAST_NEWS) -> bool:
    if isinstance(new, Mapping):
        return isinstance(old, Mapping) and all(
            _alike(new.get(key), old.get(key), LEAST_HOURS if key.endswith("Hours") else LEAST_NEWS)
            for key in {*new, *old} - {"asOf"}
        )
    if isinstance(new, list):
        return isinstance(old, list) and len(new) == len(old) and all(map(_alike, new, old))
    if isinstance(new, float) and isinstance(old, int | float):
        return abs(new - old) <= max(TOLERANCE * abs(old), least)
    return bool(new == old)


def broken_pool_status(
    problems: Sequence[Problem], generation: int, reported: Mapping[str, Any], *, at_s: float
) -> JsonObject:
    """Status of a pool whose spec cannot be read: no fleet uses it until it is corrected."""
    message = "; ".join(str(problem) for problem in problems)
    statements = [
        Statement(type="Ready", holds=False, reason=problems[0].code, message=message),
        Statement(type="Stalled", holds=True, reason=problems[0].code, message=message),
    ]
    found = conditions(statements, reported, generation=generation, at_s=at_s)
    return PoolStatus.model_validate({**reported, "observedGeneration": generation, "conditions": found}).to_json()
