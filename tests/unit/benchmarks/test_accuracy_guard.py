"""The accuracy that the project claims, on a fixed sample of the measured runs: a regression of the physics shows here.

Limits are the aims of the project and not what is measured now, so that a change within them passes.
"""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from benchmarks.accuracy_parts.calibrate import calibrate, group_of, is_closed, rescored
from benchmarks.accuracy_parts.cases import Case, case_of
from benchmarks.accuracy_parts.command import DEFAULT_DATA
from benchmarks.accuracy_parts.metrics import Scored, score, summary
from benchmarks.accuracy_parts.predict import Oracle
from benchmarks.accuracy_parts.rows import read_rows
from benchmarks.accuracy_parts.split import Side
from benchmarks.accuracy_parts.startup import read_servers

SEED = 20261121
ROWS = 150
GROUPS = 5
"""Replica types of each kind that are calibrated."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """vLLM runs in a closed loop."""
    found = (case_of(row) for row in read_rows(DEFAULT_DATA) if row.engine == "vllm")
    return [case for case in found if isinstance(case, Case) and case.excluded is None and is_closed(case)]


@pytest.mark.parametrize(("kind", "itl", "ttft"), [("dense", 0.09, 0.25), ("MoE", 0.14, 0.25)])
def test_uncalibrated_errors_stay_within_the_aims(cases: list[Case], kind: str, itl: float, ttft: float) -> None:
    oracle = Oracle()
    chosen = [case for case in cases if case.kind == kind]
    chosen = random.Random(SEED).sample(chosen, min(ROWS, len(chosen)))
    rows = [row for case in chosen if not (row := score(case, oracle)).saturated]
    assert len(rows) > 80
    assert summary(row.error("itl") for row in rows).median <= itl
    assert summary(row.error("ttft") for row in rows).median <= ttft


def test_the_deployments_that_nothing_was_tuned_on_are_within_the_aims_too(cases: list[Case]) -> None:
    oracle = Oracle()
    chosen = [case for case in cases if case.side is Side.TEST]
    chosen = random.Random(SEED).sample(chosen, ROWS)
    rows = [row for case in chosen if not (row := score(case, oracle)).saturated]
    assert summary(row.error("itl") for row in rows).median <= 0.14


@pytest.mark.parametrize(("kind", "itl"), [("dense", 0.045), ("MoE", 0.06)])
def test_two_or_three_points_calibrate_a_replica_to_the_aims(cases: list[Case], kind: str, itl: float) -> None:
    groups = defaultdict(list)
    for case in cases:
        if case.kind == kind:
            groups[group_of(case)].append(case)
    large = sorted((members for members in groups.values() if len(members) >= 10), key=len)
    chosen = random.Random(SEED).sample(large, GROUPS)
    oracle = Oracle()
    found = calibrate([case for members in chosen for case in members], oracle)
    rows: list[Scored] = [row for row in rescored(found, oracle) if not row.saturated]
    assert len(found.calibrations) == GROUPS
    assert len(rows) >= 20
    assert summary(row.error("itl") for row in rows).median <= itl


def test_kv_cache_of_measured_servers_is_within_four_per_cent() -> None:
    servers, left_out = read_servers()
    errors = [server.kv_gib / server.seen_kv_gib - 1 for server in servers if server.seen_kv_gib]
    assert left_out == {}
    assert len(errors) == 7
    assert summary(errors).median <= 0.04
