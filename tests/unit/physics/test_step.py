from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.step import StepModel
from tests.unit.physics.shapes import shape

SHAPES = {
    "dense": shape(),
    "one gpu": shape("meta-llama/Llama-3.1-8B-Instruct", tensor_parallel=1),
    "moe, sliding": shape("openai/gpt-oss-120b", weights="mxfp4"),
    "moe, mla": shape("deepseek-ai/DeepSeek-V3", "H200", 8, "fp8"),
    "linear": shape("Qwen/Qwen3.5-27B"),
    "pcie": shape("meta-llama/Llama-3.1-8B-Instruct", "L40S", 2),
}

counts = st.integers(0, 512)


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(seqs=counts, context=st.floats(0, 50_000), prefill=st.integers(0, 8192), attended=st.floats(0, 50_000))
def test_the_fast_path_and_the_array_path_agree(
    name: str, seqs: int, context: float, prefill: int, attended: float
) -> None:
    scales = Scales(memory=1.1, compute=0.9, overhead=1.3)
    step = StepModel(SHAPES[name], scales)
    work = (seqs, seqs * context, prefill, attended)
    assert step.seconds_array(*work) == pytest.approx(step.seconds(*work), rel=1e-9)


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(seqs=counts, prefill=st.integers(0, 4096), context=st.floats(1, 20_000))
def test_more_work_never_takes_less_time(name: str, seqs: int, prefill: int, context: float) -> None:
    step = StepModel(SHAPES[name])
    base = step.seconds(seqs, seqs * context, prefill, context)
    assert step.seconds(seqs + 1, (seqs + 1) * context, prefill, context) >= base
    assert step.seconds(seqs, seqs * context + 1000, prefill, context) >= base
    assert step.seconds(seqs, seqs * context, prefill + 1, context) >= base
    assert step.seconds(seqs, seqs * context, prefill, context + 1000) >= base


def test_arrays_broadcast() -> None:
    assert StepModel(SHAPES["dense"]).seconds_array(np.arange(1, 9)[:, None], [100.0, 1000.0]).shape == (8, 2)


def test_decoding_alone_is_bound_by_reading_the_weights() -> None:
    # 65.5 GB over 2 x 3.35 TB/s at 80 %, then launches and all-reduces on top.
    assert 0.012 < StepModel(SHAPES["dense"]).seconds(1, 500) < 0.018


def test_a_batch_of_one_reads_only_the_chosen_experts() -> None:
    step = StepModel(SHAPES["moe, sliding"])
    few, many = step.seconds(1, 0), step.seconds(64, 0)
    assert many > 1.5 * few


def test_tensor_parallelism_over_pcie_is_slower_than_over_nvlink_per_byte() -> None:
    one = StepModel(shape("meta-llama/Llama-3.1-8B-Instruct", "L40S", 1)).seconds(0, 0, 4096, 2048)
    four = StepModel(shape("meta-llama/Llama-3.1-8B-Instruct", "L40S", 4)).seconds(0, 0, 4096, 2048)
    assert four > one / 2


def test_scales_multiply_their_own_terms() -> None:
    prior = StepModel(SHAPES["dense"])
    slow = StepModel(SHAPES["dense"], Scales(memory=2.0, compute=2.0, overhead=2.0))
    assert slow.seconds(64, 64_000, 512, 256) == pytest.approx(2 * prior.seconds(64, 64_000, 512, 256))


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(seqs=counts, context=st.floats(0, 50_000), prefill=st.integers(0, 8192), attended=st.floats(0, 50_000))
def test_the_terms_of_a_step_add_up_to_it(name: str, seqs: int, context: float, prefill: int, attended: float) -> None:
    step = StepModel(SHAPES[name])
    terms = step.terms(seqs, seqs * context, prefill, attended)
    assert sum(terms.values()) == pytest.approx(step.seconds(seqs, seqs * context, prefill, attended), rel=1e-9)
    assert all(seconds >= 0 for seconds in terms.values())


def test_a_step_too_large_for_a_cuda_graph_waits_for_the_host_to_launch_it() -> None:
    step = StepModel(SHAPES["one gpu"])
    captured, launched = step.terms(128, 128 * 236, 384), step.terms(128, 128 * 236, 385)
    assert captured["launch"] == 0
    # vLLM 0.11 on H100, 192 sequences and three prompts of 201 tokens in a step: 26 ms (inference-perf, KubeCon 2025).
    assert step.seconds(192, 192 * 233, 583) == pytest.approx(0.026, rel=0.08)
    assert sum(captured.values()) < 0.75 * sum(launched.values())
    assert launched["launch"] > 0.3 * sum(launched.values())


def test_larger_graphs_spare_the_launch() -> None:
    limits = replace(SHAPES["one gpu"].limits, cuda_graph_tokens=2048)
    assert StepModel(replace(SHAPES["one gpu"], limits=limits)).terms(0, 0, 1024)["launch"] == 0
