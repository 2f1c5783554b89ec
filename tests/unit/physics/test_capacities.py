"""Tables of capacities: the same answers as one by one, whatever the order and the company."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo
from inferencefleet.physics import capacity
from inferencefleet.physics.capacity import operating_latencies_s, replica_capacities, replica_capacity
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.physics.remembered import Remembered
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

TABLE = [
    shape(id, gpu_name, size, weights)
    for id in ("Qwen/Qwen3-32B", "Qwen/Qwen3-235B-A22B")
    for gpu_name in ("A100-SXM", "H100-SXM", "L40S", "B200")
    for size in (1, 2, 4, 8)
    for weights in ("bf16", "fp8")
]
EVERY_METRIC = (slo("ttft", 95, 2.0), slo("itl", 95, 0.06), slo("e2e", 90, 30.0), slo("itl", 50, 0.05))
random_slos = st.lists(
    st.builds(
        slo,
        metric=st.sampled_from(["ttft", "itl", "e2e"]),
        percentile=st.sampled_from([50, 90, 95, 99]),
        target_s=st.floats(0.03, 30.0),
    ),
    max_size=3,
)
random_shapes = st.builds(
    shape,
    id=st.sampled_from(["Qwen/Qwen3-32B", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-30B-A3B"]),
    gpu_name=st.sampled_from(["H100-SXM", "A100-SXM", "L40S", "B200"]),
    tensor_parallel=st.sampled_from([2, 4]),
    max_num_seqs=st.sampled_from([16, 256, 1024]),
    max_num_batched_tokens=st.sampled_from([1024, 8192]),
)
random_mixes = st.builds(
    lognormal_mix,
    prompt_mean=st.floats(50, 8000),
    output_mean=st.floats(2, 1500),
    prefix_hit_ratio=st.floats(0.0, 1.0),
)
few = settings(max_examples=40, deadline=None)
NOISE = 1.01
"""Rates are interpolated between points of a search."""


@pytest.fixture
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "_ANSWERED", Remembered(1))


def numbers(found: ReplicaCapacity) -> dict[str, float]:
    limits = {str(limit): rate for limit, rate in found.limits_requests_per_s.items()}
    floors = {f"floor {name}": value for name, value in found.floors_s.items()}
    return {"rate": found.requests_per_s, "running": found.concurrency, **limits, **found.latencies_s, **floors}


@pytest.mark.usefixtures("nothing_is_remembered")
@pytest.mark.parametrize("slos", [CHAT_SLOS, (), EVERY_METRIC], ids=["chat", "none", "every metric"])
def test_a_table_answers_as_one_by_one(slos: tuple[Slo, ...]) -> None:
    together = replica_capacities(TABLE, chat(), slos)
    assert {found.binding for found in together} > {Limit.MODEL_TOO_LARGE}
    for replica, found in zip(TABLE, together, strict=True):
        alone = replica_capacity(replica, chat(), slos)
        assert found.binding is alone.binding, replica
        assert found.sentence == alone.sentence
        assert numbers(found) == pytest.approx(numbers(alone), rel=1e-9), replica


@pytest.mark.usefixtures("nothing_is_remembered")
def test_order_and_repetition_change_nothing() -> None:
    once = replica_capacities(TABLE, chat(), CHAT_SLOS)
    twice = replica_capacities([*reversed(TABLE), TABLE[3]], chat(), CHAT_SLOS)
    assert [found.sentence for found in twice] == [found.sentence for found in [*reversed(once), once[3]]]


def test_an_empty_table_is_empty() -> None:
    assert replica_capacities([], chat(), CHAT_SLOS) == []


@pytest.mark.usefixtures("nothing_is_remembered")
def test_the_same_question_has_the_same_answer_bit_for_bit() -> None:
    first = numbers(replica_capacity(TABLE[3], chat(), EVERY_METRIC))
    replica_capacity(TABLE[5], chat(400), ())
    assert numbers(replica_capacity(TABLE[3], chat(), EVERY_METRIC)) == first


@few
@given(replica=random_shapes, mix=random_mixes, slos=random_slos, longer=st.floats(1.02, 3.0))
def test_longer_prompts_and_outputs_never_raise_capacity(
    replica: ReplicaShape, mix: LengthMix, slos: list[Slo], longer: float
) -> None:
    before = replica_capacity(replica, mix, slos).requests_per_s
    for other in (
        replace(mix, prompt_tokens=mix.prompt_tokens * longer),
        replace(mix, output_tokens=mix.output_tokens * longer),
    ):
        assert replica_capacity(replica, other, slos).requests_per_s <= before * NOISE


@few
@given(replica=random_shapes, mix=random_mixes, slos=random_slos, tighter=st.floats(0.3, 0.99))
def test_a_tighter_slo_never_raises_capacity(
    replica: ReplicaShape, mix: LengthMix, slos: list[Slo], tighter: float
) -> None:
    before = replica_capacity(replica, mix, slos).requests_per_s
    tight = [replace(each, target_s=each.target_s * tighter) for each in slos]
    assert replica_capacity(replica, mix, tight).requests_per_s <= before * NOISE


@few
@given(replica=random_shapes, mix=random_mixes, slos=random_slos)
def test_capacity_is_the_least_of_its_limits_and_every_slo_holds_there(
    replica: ReplicaShape, mix: LengthMix, slos: list[Slo]
) -> None:
    found = replica_capacity(replica, mix, slos)
    assert all(np.isfinite(value) and value >= 0 for value in numbers(found).values())
    if not found.serves:
        assert found.binding in {Limit.MODEL_TOO_LARGE, Limit.SLO_UNREACHABLE}
        return
    assert found.requests_per_s == min(found.limits_requests_per_s.values())
    assert found.limits_requests_per_s[found.binding] == found.requests_per_s
    for each in slos:
        assert found.latencies_s[f"{each.metric}_p{each.percentile}"] <= each.target_s * 1.04


@pytest.mark.parametrize(
    "mix",
    [
        LengthMix(prompt_tokens=np.array([700.0]), output_tokens=np.array([120.0])),
        LengthMix(prompt_tokens=np.array([700.0]), output_tokens=np.array([1.0])),
        LengthMix(prompt_tokens=np.array([1.0, 1.0]), output_tokens=np.array([1.0, 1.0])),
        LengthMix(prompt_tokens=np.array([90_000.0, 500.0]), output_tokens=np.array([300.0, 90_000.0])),
        LengthMix(prompt_tokens=np.array([4000.0, 200.0]), output_tokens=np.array([50.0, 900.0]), prefix_hit_ratio=1.0),
    ],
    ids=["one request", "one token", "nothing but tokens", "beyond the model length", "all in the prefix cache"],
)
def test_odd_mixes_have_a_capacity(mix: LengthMix) -> None:
    slos = (slo("ttft", 99, 20.0), slo("itl", 50, 1.0), slo("e2e", 99, 2000.0))
    found = replica_capacity(shape(), mix, slos)
    assert found.serves
    assert all(np.isfinite(value) and value >= 0 for value in numbers(found).values())


def test_two_slos_of_one_metric_bind_by_the_harder_one() -> None:
    easy, hard = slo("ttft", 50, 5.0), slo("ttft", 99, 0.6)
    both = replica_capacity(shape(), chat(), (easy, hard))
    assert both.requests_per_s == pytest.approx(replica_capacity(shape(), chat(), (hard,)).requests_per_s, rel=1e-9)
    assert "ttft p99" in both.sentence


def test_latencies_at_a_capacity_are_those_of_its_rate() -> None:
    found = replica_capacity(shape(), chat(), (slo("ttft", 95, 0.4),))
    there = operating_latencies_s(shape(), chat(), [found.requests_per_s], (50, 95, 99))
    assert there["ttft_p95"][0] == pytest.approx(0.4, rel=0.01)
    assert there["running"][0] == pytest.approx(found.concurrency)
    assert there["itl_p50"][0] == pytest.approx(found.latencies_s["itl_p50"], rel=0.05)


def test_latencies_of_a_model_that_does_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Llama-3.3-70B-Instruct bf16 on 1 x H100-SXM does not fit"):
        operating_latencies_s(shape("meta-llama/Llama-3.3-70B-Instruct", tensor_parallel=1), chat(), [1.0])


def test_a_slower_first_token_by_calibration_lowers_only_what_waits_for_it() -> None:
    slow = Scales(ttft=1.5)
    before, after = (replica_capacity(shape(), chat(), CHAT_SLOS, scales) for scales in (Scales(), slow))
    assert after.limits_requests_per_s[Limit.TTFT] < before.limits_requests_per_s[Limit.TTFT]
    assert after.limits_requests_per_s[Limit.ITL] == before.limits_requests_per_s[Limit.ITL]
