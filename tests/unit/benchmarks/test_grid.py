"""The grid benchmark counts what happens and names what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks import grid
from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from tests.unit.physics.grid import cells

MODEL = "Qwen/Qwen3-32B"
SERVES = ReplicaCapacity(requests_per_s=2.0, binding=Limit.ITL, sentence="At 2 requests/s ...", concurrency=4.0)


def answered(monkeypatch: pytest.MonkeyPatch, wrong: ReplicaCapacity | Exception) -> grid.Tally:
    """Every cell serves, but fp8 on two H100 is `wrong`."""

    def answer(shape: ReplicaShape) -> ReplicaCapacity:
        if (shape.gpu.name, shape.tensor_parallel, shape.weights) != ("H100-SXM", 2, NumberFormat.FP8):
            return SERVES
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    def fake(shapes: Sequence[ReplicaShape], *_: object) -> list[ReplicaCapacity]:
        return [answer(shape) for shape in shapes]

    monkeypatch.setattr(grid, "replica_capacities", fake)
    return grid.measure([MODEL])


def cells_of_the_model() -> int:
    return sum(1 for _ in cells(names=[MODEL]))


def test_every_cell_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = answered(monkeypatch, SERVES)
    assert tally.outcomes == {grid.WORDS[Limit.ITL]: cells_of_the_model()}
    assert sum(sum(kinds.values()) for kinds in tally.by_gpu.values()) == cells_of_the_model()
    assert tally.faults == []


def test_a_cell_that_raises_is_named_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = answered(monkeypatch, ZeroDivisionError("float division by zero"))
    assert tally.faults == [f"{MODEL} fp8 on 2 x H100-SXM: ZeroDivisionError: float division by zero"]
    assert sum(tally.outcomes.values()) == cells_of_the_model() - 1


def test_a_value_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = answered(monkeypatch, replace(SERVES, latencies_s={"itl_p95": float("nan")}))
    assert len(tally.faults) == 1
    assert tally.faults[0].startswith(f"{MODEL} fp8 on 2 x H100-SXM: not finite: ")


def test_refusals_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(SERVES, requests_per_s=0.0, concurrency=0.0, binding=Limit.SLO_UNREACHABLE)
    assert answered(monkeypatch, slow).outcomes[grid.SLOW] == 1
    assert answered(monkeypatch, replace(slow, binding=Limit.MODEL_TOO_LARGE)).outcomes[grid.WEIGHTS] == 1


def test_the_report_shows_the_counts_and_the_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = grid.report(answered(monkeypatch, ZeroDivisionError("float division by zero")))
    text = "\n".join(part if isinstance(part, str) else "\n".join(part.markdown()) for part in parts)
    assert "1 exceptions or values that are not finite" in text
    assert f"| serves; inter-token latency binds | {cells_of_the_model() - 1} | 100.0 % |" in text
    assert "ZeroDivisionError" in text
