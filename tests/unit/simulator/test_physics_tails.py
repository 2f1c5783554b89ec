"""The closed forms of capacity against the discrete-event engine, which shares only the step time with them."""

from __future__ import annotations

import pytest

from benchmarks.tails import Workload, compare, workloads

BY_NAME = {workload.name: workload for workload in workloads()}
CHAT = BY_NAME["chat, MoE on H100"]
SLOTS = BY_NAME["slots, 8B with 48 on L40S"]
HEAVY = BY_NAME["heavy tail, 8B on A100"]
PREFIX = BY_NAME["prefix hits 0.7, 70B fp8 on 4 x H100"]


@pytest.mark.parametrize(
    ("workload", "utilisation", "ttft", "itl"),
    [(CHAT, 0.5, 0.15, 0.08), (SLOTS, 0.4, 0.15, 0.08), (PREFIX, 0.6, 0.20, 0.20), (HEAVY, 0.5, 0.25, 0.20)],
    ids=["chat", "slots", "prefix hits", "heavy tail"],
)
def test_latencies_of_the_engine_are_those_of_the_physics(
    workload: Workload, utilisation: float, ttft: float, itl: float
) -> None:
    errors = compare(workload, utilisation, requests=6000, seeds=2).errors
    assert abs(errors["itl_mean"]) < 0.06
    assert abs(errors["itl_p50"]) < 0.05
    assert abs(errors["ttft_p50"]) < 0.08
    assert abs(errors["ttft_p95"]) < ttft
    assert abs(errors["itl_p95"]) < itl


def test_requests_find_no_room_where_the_slots_bind_and_plenty_far_below() -> None:
    below, above = (compare(SLOTS, level, requests=3000, seeds=1) for level in (0.6, 0.95))
    assert below.waited < 0.01
    assert above.waited > 0.05
    # The wait for a slot, not the prompts, makes the tail: without it the physics would say a tenth of a second.
    assert abs(above.errors["ttft_p95"]) < 0.6
