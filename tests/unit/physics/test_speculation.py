"""Speculative decoding: what a step gives, what it costs, and that both are in the capacity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.capacity import ReplicaShape, Speculation
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.memory import memory_budget
from inferencefleet.physics.operating import open_loop
from inferencefleet.physics.speculation import (
    drafting_share,
    prompt_lookup,
    tokens_per_step,
    verified_tokens,
    warnings,
    with_drafter,
    with_heads,
    with_one_layer,
    with_share,
)
from inferencefleet.physics.step import StepModel
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

EAGLE = Speculation(draft_tokens=4, acceptance=0.7, draft_cost_ratio=0.05)
FREE = Speculation(draft_tokens=3, acceptance=0.8)


def drafted(speculation: Speculation, replica: ReplicaShape | None = None) -> ReplicaShape:
    return replace(replica or shape(), speculation=speculation)


@given(acceptance=st.floats(0.0, 0.999), tokens=st.integers(1, 16))
@settings(deadline=None, max_examples=50)
def test_a_step_gives_the_geometric_sum_of_acceptances(acceptance: float, tokens: int) -> None:
    found = tokens_per_step(Speculation(draft_tokens=tokens, acceptance=acceptance))
    assert found == pytest.approx((1 - acceptance ** (tokens + 1)) / (1 - acceptance))
    assert 1 <= found <= tokens + 1


def test_a_step_gives_one_token_when_nothing_is_accepted_and_all_when_everything_is() -> None:
    assert tokens_per_step(None) == 1
    assert tokens_per_step(Speculation(draft_tokens=4, acceptance=0.0)) == 1
    assert tokens_per_step(Speculation(draft_tokens=4, acceptance=1.0)) == 5


def test_without_speculation_a_step_verifies_one_token_and_drafts_none() -> None:
    assert (verified_tokens(None), drafting_share(None)) == (1, 0.0)
    assert (verified_tokens(EAGLE), drafting_share(EAGLE)) == (5, pytest.approx(0.2))


def test_drafting_costs_its_share_of_a_plain_step_on_top_of_the_verification() -> None:
    plain, free, eagle = (
        StepModel(each) for each in (shape(), drafted(replace(EAGLE, draft_cost_ratio=0.0)), drafted(EAGLE))
    )
    seqs, context = 32.0, 32 * 1500.0
    verified = free.seconds(seqs, context)
    assert verified > plain.seconds(seqs, context)
    assert eagle.seconds(seqs, context) == pytest.approx(verified + 0.2 * plain.seconds(seqs, context))


def test_verified_tokens_cost_the_compute_of_so_many_and_the_memory_of_one_pass() -> None:
    """Five tokens of one sequence read weights and cache once: far cheaper than five sequences."""
    plain, free = StepModel(shape()), StepModel(drafted(replace(EAGLE, draft_cost_ratio=0.0)))
    one, five = plain.seconds(8, 8 * 8000.0), plain.seconds(40, 40 * 8000.0)
    assert one < free.seconds(8, 8 * 8000.0) < 1.02 * one
    assert five > 1.3 * one


@pytest.mark.parametrize("speculation", [EAGLE, FREE])
@pytest.mark.parametrize("seqs", [0.0, 1.0, 40.0, 200.0])
def test_one_step_and_many_steps_agree(speculation: Speculation, seqs: float) -> None:
    step = StepModel(drafted(speculation))
    many = step.seconds_array(np.array([seqs, seqs]), seqs * 900.0, np.array([0.0, 512.0]), 256.0)
    assert many[0] == pytest.approx(step.seconds(seqs, seqs * 900.0))
    assert many[1] == pytest.approx(step.seconds(seqs, seqs * 900.0, 512.0, 256.0))


def test_few_requests_are_answered_sooner_and_many_gain_nothing() -> None:
    plain, fast = shape(), drafted(FREE)
    seconds = [
        StepModel(each).seconds(seqs, seqs * 1000.0) / tokens_per_step(each.speculation)
        for seqs in (1.0, 250.0)
        for each in (plain, fast)
    ]
    assert seconds[1] < 0.4 * seconds[0]
    assert seconds[3] / seconds[2] > 1.8 * seconds[1] / seconds[0]


def test_itl_is_the_time_between_steps_and_the_whole_request_gains_tokens_per_step() -> None:
    plain, fast = (replica_capacity(each, chat(), CHAT_SLOS) for each in (shape(), drafted(FREE)))
    assert fast.floors_s["itl_mean"] >= plain.floors_s["itl_mean"]
    decode = [found.floors_s["e2e_p50"] - found.floors_s["ttft_p50"] for found in (plain, fast)]
    assert decode[0] / decode[1] == pytest.approx(tokens_per_step(FREE), rel=0.1)


def test_higher_acceptance_never_lowers_capacity() -> None:
    slos = (slo("ttft", 95, 2.0), slo("e2e", 95, 20.0))
    found = [
        replica_capacity(drafted(replace(EAGLE, acceptance=acceptance)), chat(), slos).requests_per_s
        for acceptance in (0.0, 0.3, 0.6, 0.9)
    ]
    assert found == sorted(found)
    assert found[-1] > 1.2 * found[0]


def test_the_public_run_with_eagle_is_reproduced_at_its_own_acceptance() -> None:
    """inference-perf, KubeCon NA 2025 (Apache-2.0): Llama-3.1-8B on H100, 200 prompt and 63 output tokens, 128 slots.

    With EAGLE-3 (4 drafts) throughput stood at 73 requests/s, and 106 without. The time
    between steps was 13.4 ms at 18 requests/s and 32.8 ms at the limit, 1.14 times the time per token.
    """
    replica = shape(
        "meta-llama/Llama-3.1-8B-Instruct",
        tensor_parallel=1,
        max_num_seqs=128,
        max_model_len_tokens=512,
        max_num_batched_tokens=2048,
    )
    eagle = drafted(with_one_layer(replica.model, 4, 0.125), replica)
    lengths = LengthMix(prompt_tokens=np.full(16, 201.0), output_tokens=np.full(16, 63.0))
    assert tokens_per_step(eagle.speculation) == pytest.approx(1.14, abs=0.01)
    limit = open_loop(eagle, lengths, 100.0)
    assert not limit.stable
    assert limit.requests_per_s == pytest.approx(73, rel=0.12)
    assert limit.itl_mean_s == pytest.approx(0.0328, rel=0.15)
    assert open_loop(eagle, lengths, 18.0).itl_mean_s == pytest.approx(0.0134, rel=0.25)
    assert open_loop(replica, lengths, 103.0).stable


def test_a_smaller_drafter_costs_less_and_none_costs_more_than_the_model() -> None:
    large, small, tiny = (shape(f"Qwen/Qwen3-{size}").model for size in ("32B", "8B", "0.6B"))
    costs = [with_drafter(large, drafter, 3, 0.6).draft_cost_ratio for drafter in (tiny, small)]
    assert costs[0] < costs[1] < 0.3
    assert with_drafter(tiny, large, 3, 0.6).draft_cost_ratio == 1.0
    layers = [with_one_layer(model, 3, 0.6).draft_cost_ratio for model in (large, small)]
    assert layers[0] < layers[1] < 0.2


def test_a_drafter_takes_memory_for_its_weights_and_its_cache() -> None:
    target, tiny = shape().model, shape("Qwen/Qwen3-0.6B").model
    plain = memory_budget(shape())
    found = {
        name: memory_budget(drafted(each))
        for name, each in {
            "prompt": prompt_lookup(3, 0.6),
            "heads": with_heads(target, 3, 0.6),
            "layer": with_one_layer(target, 3, 0.6),
            "model": with_drafter(target, tiny, 3, 0.6),
        }.items()
    }
    assert found["prompt"] == plain
    weights = {name: budget.weights_bytes - plain.weights_bytes for name, budget in found.items()}
    # Three heads of 5120 x 5120 and 151,936 x 5120; one of 64 layers; 0.6 billion parameters: two bytes each.
    assert weights["heads"] == pytest.approx(2 * 3 * 5120 * (5120 + 151_936), rel=1e-6)
    assert weights["layer"] == pytest.approx(2 * 31.2e9 / 64, rel=0.01)
    assert weights["model"] == pytest.approx(2 * 0.596e9, rel=0.02)
    cache = {name: budget.kv_bytes_per_token / plain.kv_bytes_per_token for name, budget in found.items()}
    assert cache["heads"] == 1
    assert cache["layer"] == pytest.approx(1 + 1 / 64)
    # 28 layers of the same heads beside 64: a small model does not have a small cache.
    assert cache["model"] == pytest.approx(1 + 28 / 64)
    assert found["model"].kv_cache_tokens < 0.7 * plain.kv_cache_tokens


def test_a_draft_model_of_unknown_shape_is_taken_for_a_part_of_the_model() -> None:
    found = with_share(shape().model, 0.1, 3, 0.6)
    plain, budget = memory_budget(shape()), memory_budget(drafted(found))
    assert found.draft_cost_ratio == found.draft_kv_ratio == 0.1
    assert budget.weights_bytes == pytest.approx(1.1 * plain.weights_bytes)


def test_low_acceptance_and_high_concurrency_are_warned_of_with_a_way_out() -> None:
    assert warnings(EAGLE, 20.0) == ()
    low = warnings(replace(EAGLE, acceptance=0.45), 20.0)
    assert len(low) == 1
    assert "acceptance of 0.45: below 0.6" in low[0]
    assert "spec.engine.speculative" in low[0]
    busy = warnings(EAGLE, 120.0)
    assert len(busy) == 1
    assert busy[0].startswith("120 requests run at once: above about 50")


def test_the_warnings_are_caveats_of_the_capacity() -> None:
    found = replica_capacity(drafted(replace(EAGLE, acceptance=0.4)), chat(), ())
    assert found.concurrency > 50
    assert any("acceptance of 0.4" in caveat for caveat in found.caveats)
    assert any("requests run at once" in caveat for caveat in found.caveats)
