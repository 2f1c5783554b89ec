"""The split is by deployment: what is tuned on one side is tested on others."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from benchmarks.accuracy_parts.command import DEFAULT_DATA
from benchmarks.accuracy_parts.naming import engine_family
from benchmarks.accuracy_parts.rows import Row, read_rows, row_from_cells
from benchmarks.accuracy_parts.split import Side, deployment, side


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(DEFAULT_DATA)


def test_no_deployment_is_on_both_sides(rows: list[Row]) -> None:
    sides: dict[str, set[Side]] = defaultdict(set)
    for row in rows:
        sides[deployment(row)].add(side(row))
    assert len(sides) > 50
    assert {name for name, found in sides.items() if len(found) > 1} == set()


def test_the_same_runs_from_two_sources_stay_together() -> None:
    cells = {"engine": "vllm", "model": "openai/gpt-oss-120b", "precision": "fp4", "tp": "2"}
    mine = row_from_cells({**cells, "source": "perf_inferencemax_runs", "gpu": "h200"})
    curated = row_from_cells({**cells, "source": "perf_aic_silicon_e2e", "gpu": "h200_sxm", "tp": "8"})
    assert deployment(mine) == deployment(curated)


def test_names_of_one_architecture_are_one_deployment() -> None:
    names = ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-R1-0528")
    cells = {"engine": "sglang", "gpu": "h200", "precision": "fp8"}
    assert len({deployment(row_from_cells({**cells, "model": name})) for name in names}) == 1


def test_each_kind_of_run_is_on_both_sides(rows: list[Row]) -> None:
    counts: Counter[tuple[str, bool, str, Side]] = Counter()
    for row in rows:
        moe = any(word in row.model.lower() for word in ("gpt-oss", "deepseek-r1", "deepseek-v3", "mixtral"))
        counts[engine_family(row.engine), moe, row.load, side(row)] += 1
    for kind in (("vllm", True), ("vllm", False), ("trtllm", True), ("trtllm", False), ("sglang", True)):
        train, test = counts[*kind, "closed", Side.TRAIN], counts[*kind, "closed", Side.TEST]
        assert 0.25 < train / (train + test) < 0.75, kind


def test_the_split_does_not_move() -> None:
    """Constants were tuned under it: another split would test on what they have seen."""
    cells = {"engine": "vllm", "model": "openai/gpt-oss-120b", "precision": "fp4"}
    found = {gpu: side(row_from_cells({**cells, "gpu": gpu})) for gpu in ("h100", "h200", "b200")}
    assert found == {"h100": Side.TRAIN, "h200": Side.TEST, "b200": Side.TEST}
