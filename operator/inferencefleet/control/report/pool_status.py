"""The status document of a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferencefleet.api.status_pool import PoolStatus
from inferencefleet.api.times import to_timestamp
from inferencefleet.control.report.conditions import Statement, conditions
from inferencefleet.domain.fleet import Problem
from inferencefleet.domain.plan import PoolOutlook
from inferencefleet.domain.pool import PoolState

JsonObject = dict[str, Any]


def pool_status(state: PoolState, outlook: PoolOutlook, reported: Mapping[str, Any], *, at_s: float) -> JsonObject:
    """GPUs, exhaustion and conditions of a pool that could be read."""
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
    return PoolStatus.model_validate(content).to_json()


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
