from __future__ import annotations

import numpy as np
import pytest

from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.capacity import operating_latencies_s
from inferencefleet.physics.prefill import extension_s, new_tokens
from inferencefleet.physics.residence import clip_lengths, load
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.ttft import alone, latencies
from tests.unit.physics.shapes import chat, shape


def test_the_extension_is_the_sum_over_chunks_of_what_each_adds_to_a_step() -> None:
    step, budget, prompt, seqs, context = StepModel(shape()), 2048.0, 5000.0, 16, 800.0
    base = step.seconds(seqs, seqs * context)
    total, done = 0.0, 0.0
    while done < prompt:
        chunk = min(budget, prompt - done)
        total += step.seconds(seqs, seqs * context, chunk, done + chunk / 2) - base
        done += chunk
    assert extension_s(step, seqs, prompt, 0.0, budget) == pytest.approx(total)


def test_a_prefix_hit_removes_work_but_not_attention_to_the_prefix() -> None:
    step = StepModel(shape())
    whole = extension_s(step, 8, 8000.0, 0.0, 8192.0)
    half = extension_s(step, 8, 8000.0, 0.5, 8192.0)
    fresh = extension_s(step, 8, 4000.0, 0.0, 8192.0)
    assert fresh < half < whole


def test_even_a_full_prefix_hit_computes_one_token() -> None:
    assert new_tokens([100.0], 1.0) == pytest.approx(1.0)


def test_rate_and_residence_obey_littles_law() -> None:
    state = load(shape(), chat(), Scales(), 200.0)
    busy = state.seqs >= 1
    assert state.rate[busy] * state.residence_s[busy] == pytest.approx(state.seqs[busy])


def test_longer_batches_are_slower_for_each_and_faster_for_all() -> None:
    state = load(shape(), chat(), Scales(), 200.0)
    assert (np.diff(state.rate) > 0).all()
    assert (np.diff(state.itl_mean_s) >= 0).all()


def test_percentiles_are_ordered_and_grow_with_load() -> None:
    found = operating_latencies_s(shape(), chat(), np.linspace(0.5, 10, 20))
    assert (found["itl_p50"] <= found["itl_p95"]).all()
    assert (found["itl_p95"] <= found["itl_p99"]).all()
    assert (np.diff(found["itl_p95"]) >= 0).all()


def test_a_smaller_token_budget_shortens_the_longest_steps() -> None:
    wide, narrow = (
        operating_latencies_s(shape(max_num_batched_tokens=tokens), chat(4000), [1.0])["itl_p99"][0]
        for tokens in (8192, 512)
    )
    assert narrow < wide / 2


def test_the_queue_makes_later_requests_wait() -> None:
    state = load(shape(), chat(), Scales(), 200.0)
    calm, busy = latencies(state, 0.3 * state.rate[-1]), latencies(state, 0.9 * state.rate[-1])
    assert alone(state).ttft_percentile_s(95) < calm.ttft_percentile_s(95) < busy.ttft_percentile_s(95)


def test_requests_longer_than_the_model_length_are_clipped() -> None:
    clipped = clip_lengths(chat(30_000, 8_000), 32_768)
    assert (clipped.prompt_tokens + clipped.output_tokens <= 32_768).all()
