"""What was computed before is answered from memory, and only that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape, Scales
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics import capacity
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.remembered import Remembered
from tests.builders import ITL, TTFT, a_mix

SHAPE = ReplicaShape(
    model=catalog.model("Qwen/Qwen3-32B"),
    gpu=catalog.gpu("H100-SXM"),
    tensor_parallel=2,
    weights=NumberFormat.BF16,
    kv_cache=NumberFormat.BF16,
    limits=EngineLimits(),
)


def a_copy(mix: LengthMix) -> LengthMix:
    return replace(mix, prompt_tokens=mix.prompt_tokens.copy(), output_tokens=mix.output_tokens.copy())


def test_the_same_question_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "_ANSWERED", Remembered(most=8))
    first = replica_capacity(SHAPE, a_mix(), (ITL, TTFT))
    assert replica_capacity(SHAPE, a_copy(a_mix()), [ITL, TTFT]) is first


@pytest.mark.parametrize(
    "other",
    [
        lambda: replica_capacity(replace(SHAPE, tensor_parallel=4), a_mix(), (ITL, TTFT)),
        lambda: replica_capacity(SHAPE, a_mix(600, 300), (ITL, TTFT)),
        lambda: replica_capacity(SHAPE, replace(a_mix(), prefix_hit_ratio=0.5), (ITL, TTFT)),
        lambda: replica_capacity(SHAPE, a_mix(), (replace(ITL, target_s=0.05), TTFT)),
        lambda: replica_capacity(SHAPE, a_mix(), (ITL, TTFT), Scales(memory=1.1)),
        lambda: replica_capacity(
            replace(SHAPE, gpu=replace(SHAPE.gpu, efficiency=catalog.gpu("L40S").efficiency)), a_mix(), (ITL, TTFT)
        ),
    ],
)
def test_another_question_gets_its_own_answer(other: object) -> None:
    assert callable(other)
    assert other().requests_per_s != replica_capacity(SHAPE, a_mix(), (ITL, TTFT)).requests_per_s


def test_what_was_not_asked_for_longest_is_forgotten_first() -> None:
    computed: list[str] = []

    def ask(memory: Remembered[str, str], question: str) -> None:
        memory.get(question, lambda: computed.append(question) or question)  # type: ignore[func-returns-value]

    memory: Remembered[str, str] = Remembered(most=2)
    for question in ("a", "b", "a", "c", "a", "b"):
        ask(memory, question)
    assert computed == ["a", "b", "c", "b"]
