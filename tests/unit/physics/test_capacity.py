from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.capacity import Limit, Scales
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.refusals import nearest_target_s, seconds
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

few = settings(max_examples=25, deadline=None)
NOISE = 1.01
"""Rates are searched to 0.3 %, and ITL crossings to 0.6 %."""


@few
@given(prompt=st.floats(100, 6000), longer=st.floats(1.05, 3.0))
def test_longer_prompts_never_raise_capacity(prompt: float, longer: float) -> None:
    short = replica_capacity(shape(), chat(prompt), CHAT_SLOS).requests_per_s
    long = replica_capacity(shape(), chat(prompt * longer), CHAT_SLOS).requests_per_s
    assert long <= short * NOISE


@few
@given(output=st.floats(50, 1500), longer=st.floats(1.05, 3.0))
def test_longer_outputs_never_raise_capacity(output: float, longer: float) -> None:
    short = replica_capacity(shape(), chat(500, output), ()).requests_per_s
    long = replica_capacity(shape(), chat(500, output * longer), ()).requests_per_s
    assert long <= short * NOISE


@few
@given(
    metric=st.sampled_from(["ttft", "itl", "e2e"]),
    percentile=st.sampled_from([50, 90, 95, 99]),
    target=st.floats(0.02, 60.0),
    easier=st.floats(1.0, 4.0),
)
def test_an_easier_slo_never_lowers_capacity(metric: str, percentile: int, target: float, easier: float) -> None:
    hard = replica_capacity(shape(), chat(), [slo(metric, percentile, target)])
    easy = replica_capacity(shape(), chat(), [slo(metric, percentile, target * easier)])
    assert easy.requests_per_s * NOISE >= hard.requests_per_s


@few
@given(hit=st.floats(0.0, 0.9))
def test_prefix_hits_never_lower_capacity(hit: float) -> None:
    without = replica_capacity(shape(), chat(4000), CHAT_SLOS).requests_per_s
    assert replica_capacity(shape(), chat(4000, hit=hit), CHAT_SLOS).requests_per_s * NOISE >= without


@few
@given(slower=st.floats(1.0, 1.6))
def test_a_slower_reality_never_raises_capacity(slower: float) -> None:
    prior = replica_capacity(shape(), chat(), CHAT_SLOS).requests_per_s
    scales = Scales(memory=slower, compute=slower, overhead=slower, ttft=slower)
    assert replica_capacity(shape(), chat(), CHAT_SLOS, scales).requests_per_s <= prior * NOISE


def test_every_slo_holds_at_capacity() -> None:
    slos = (slo("ttft", 99, 1.0), slo("itl", 95, 0.080), slo("e2e", 90, 12.0))
    found = replica_capacity(shape(), chat(), slos)
    for target in slos:
        reached = found.latencies_s[f"{target.metric}_p{target.percentile}"]
        assert reached <= target.target_s * NOISE


@pytest.mark.parametrize(
    ("replica", "slos", "binding"),
    [
        (shape(), CHAT_SLOS, Limit.ITL),
        (shape(), (slo("ttft", 95, 0.3),), Limit.TTFT),
        (shape(), (slo("e2e", 50, 3.0),), Limit.E2E),
        (shape(tensor_parallel=1, weights="fp8"), (), Limit.KV_MEMORY),
        (shape(max_num_seqs=16), (), Limit.MAX_SEQS),
        (shape("Qwen/Qwen3-0.6B", "B200", max_num_seqs=1024, cuda_graph_tokens=8192), (), Limit.HOST),
    ],
)
def test_each_limit_can_bind_and_says_so(replica: object, slos: tuple[Slo, ...], binding: Limit) -> None:
    found = replica_capacity(replica, chat(), slos)  # type: ignore[arg-type]
    assert found.binding is binding
    assert found.requests_per_s == pytest.approx(found.limits_requests_per_s[binding])
    assert found.sentence.endswith(".")
    assert any(character.isdigit() for character in found.sentence)


def test_weights_that_do_not_fit_are_refused_with_what_is_missing_and_what_fits() -> None:
    found = replica_capacity(shape("meta-llama/Llama-3.3-70B-Instruct", tensor_parallel=1), chat(), CHAT_SLOS)
    assert not found.serves
    assert found.binding is Limit.MODEL_TOO_LARGE
    assert "needs 131.4 GiB for weights" in found.sentence
    assert "GiB are missing" in found.sentence
    assert "tensor parallelism 4" in found.sentence


def test_a_cache_too_small_for_one_request_is_refused_with_the_context_that_fits() -> None:
    found = replica_capacity(shape(tensor_parallel=1), chat(), CHAT_SLOS)
    assert found.binding is Limit.MODEL_TOO_LARGE
    assert found.memory is not None
    fits = int(found.memory.kv_cache_tokens // 1024 * 1024)
    assert 24_000 < fits < 32_768
    assert f"maxModelLen {fits:,}" in found.sentence
    assert "tensor parallelism 2" in found.sentence
    assert "fp8 weights" in found.sentence
    shorter = shape(tensor_parallel=1, max_model_len_tokens=fits)
    assert replica_capacity(shorter, chat(), CHAT_SLOS).binding is not Limit.MODEL_TOO_LARGE


def test_a_model_beyond_any_size_of_the_gpu_says_so() -> None:
    found = replica_capacity(shape("moonshotai/Kimi-K2-Instruct", "L40S", 8, "fp8"), chat(), ())
    assert "use a GPU with more memory" in found.sentence


def test_an_slo_below_the_floor_is_refused_with_the_floor_and_a_target_that_works() -> None:
    found = replica_capacity(shape(), chat(), [slo("itl", 95, 0.010)])
    assert found.binding is Limit.SLO_UNREACHABLE
    assert not found.serves
    floor = found.floors_s["itl_p95"]
    assert 0.012 < floor < 0.018
    assert f"one request alone already has itl p95 = {seconds(floor)}" in found.sentence
    reachable = nearest_target_s(floor)
    assert f"at least {seconds(reachable)}" in found.sentence
    assert replica_capacity(shape(), chat(), [slo("itl", 95, reachable)]).serves


def test_the_same_question_has_the_same_answer() -> None:
    first, second = (replica_capacity(shape(), chat(), CHAT_SLOS) for _ in range(2))
    assert first.requests_per_s == second.requests_per_s
    assert dict(first.latencies_s) == dict(second.latencies_s)


def test_a_cache_for_hardly_one_request_still_has_a_capacity() -> None:
    tight = shape(tensor_parallel=1, max_model_len_tokens=30_720)
    found = replica_capacity(tight, chat(28_000, 1_000), ())
    assert 0 < found.requests_per_s < 0.2
    assert found.concurrency < 1.5


def test_outputs_of_one_token_have_a_capacity() -> None:
    found = replica_capacity(shape(), replace(chat(500), output_tokens=chat(500).output_tokens * 0 + 1), CHAT_SLOS)
    assert found.serves


@pytest.mark.parametrize("prompt", [4332.0, 4420.0, 4450.0])
def test_capacity_does_not_jump_where_the_itl_percentile_does(prompt: float) -> None:
    here = replica_capacity(shape(), chat(prompt), CHAT_SLOS).requests_per_s
    beside = replica_capacity(shape(), chat(prompt + 12), CHAT_SLOS).requests_per_s
    assert beside == pytest.approx(here, rel=0.01), "a coarse grid put 6 % between 4420 and 4432 tokens"
