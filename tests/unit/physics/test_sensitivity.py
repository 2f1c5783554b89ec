"""By how much capacity changes when one input does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from inferencefleet.domain.capacity import Limit, ReplicaShape, Scales, Sensitivity, Speculation
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.sensitivity import NOISE, sensitivities
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

# Steps of all sizes replayed from CUDA graphs: where they end, capacity has a kink and no slope.
ITL_BOUND = (shape(cuda_graph_tokens=16384), chat(), CHAT_SLOS)
KV_BOUND = (shape("Qwen/Qwen3-32B", "H100-SXM", 1, "fp8"), chat(), ())
SLOT_BOUND = (shape(max_num_seqs=16), chat(), ())
HOST_BOUND = (
    shape("Qwen/Qwen3-0.6B", tensor_parallel=1, max_num_seqs=512, cuda_graph_tokens=8192),
    chat(prompt=50),
    (),
)
CONSTANTS = ("k_mem", "k_cmp", "k_ovh")
Question = tuple[ReplicaShape, LengthMix, Sequence[Slo]]


def by_input(question: Question, scales: Scales | None = None) -> dict[str, Sensitivity]:
    return {found.input: found for found in sensitivities(*question, scales or Scales())}


def elasticity(found: Sensitivity) -> float:
    assert found.elasticity is not None, found
    return found.elasticity


@pytest.mark.parametrize(
    ("question", "binding", "idle"),
    [
        (ITL_BOUND, Limit.ITL, ("gpu_memory", "max_num_seqs", "slo ttft p95")),
        (KV_BOUND, Limit.KV_MEMORY, ("max_num_seqs",)),
        (SLOT_BOUND, Limit.MAX_SEQS, ("gpu_memory",)),
        (
            HOST_BOUND,
            Limit.HOST,
            ("prompt_tokens", "gpu_bandwidth", "gpu_compute", "gpu_memory", "kv_cache", "weights", *CONSTANTS),
        ),
    ],
)
def test_what_does_not_bind_does_not_matter(question: Question, binding: Limit, idle: tuple[str, ...]) -> None:
    assert replica_capacity(*question).binding is binding
    found = by_input(question)
    for name in idle:
        assert found[name].ratio == pytest.approx(1.0, abs=NOISE), found[name]
        assert "not change capacity" in found[name].sentence
        assert found[name].binding is binding


def test_full_memory_holds_as_many_requests_on_faster_cores_but_turns_them_over_sooner() -> None:
    replica, lengths, slos = KV_BOUND
    peaks = {form: 2 * peak for form, peak in replica.gpu.peak_flops.items()}
    faster = replace(replica, gpu=replace(replica.gpu, peak_flops=peaks))
    before, after = (replica_capacity(each, lengths, slos) for each in (replica, faster))
    assert after.binding is before.binding is Limit.KV_MEMORY
    # Residents slow each other down less, so their number swings less below the same limit: 94 instead of 91.
    assert after.concurrency == pytest.approx(before.concurrency, rel=0.04)
    assert elasticity(by_input(KV_BOUND)["gpu_compute"]) > 0.1


def test_the_host_streams_tokens_so_outputs_alone_matter_to_it() -> None:
    found = by_input(HOST_BOUND)["output_tokens"]
    assert elasticity(found) == pytest.approx(-1.0, abs=0.01)
    assert found.sentence == "10 % longer outputs cost 9.1 % of capacity."


@pytest.mark.parametrize("question", [ITL_BOUND, KV_BOUND, SLOT_BOUND])
def test_times_and_time_targets_together_only_change_the_unit_of_time(question: Question) -> None:
    """Twice all times and all targets is half the rate, so the elasticities of times minus those of targets are -1."""
    found = by_input(question)
    times = sum(elasticity(found[name]) for name in CONSTANTS)
    targets = sum(elasticity(each) for name, each in found.items() if name.startswith("slo "))
    assert times + targets == pytest.approx(-1.0, abs=0.12)


def test_a_slower_host_and_one_standard_deviation_of_overhead_tell_the_same_elasticity() -> None:
    found = by_input(ITL_BOUND)
    assert found["step_overhead"].elasticity == pytest.approx(found["k_ovh"].elasticity)
    assert found["k_ovh"].to_value == pytest.approx(1.197, abs=1e-3)


@pytest.mark.parametrize("name", ["prompt_tokens", "output_tokens", "slo itl p95"])
def test_an_elasticity_is_the_slope_over_a_wide_range_not_the_noise_of_a_small_step(name: str) -> None:
    replica, _, _ = ITL_BOUND
    wide = 1.4

    def rate(factor: float) -> float:
        lengths = chat(
            1000 * (factor if name == "prompt_tokens" else 1), 250 * (factor if name == "output_tokens" else 1)
        )
        target = 0.060 * (factor if name == "slo itl p95" else 1)
        return replica_capacity(replica, lengths, (slo("itl", 95, target),)).requests_per_s

    secant = math.log(rate(wide) / rate(1 / wide)) / (2 * math.log(wide))
    assert elasticity(by_input((replica, chat(), (slo("itl", 95, 0.060),)))[name]) == pytest.approx(secant, abs=0.2)


def test_rates_and_ratios_belong_to_the_elasticity() -> None:
    before = replica_capacity(*ITL_BOUND).requests_per_s
    for found in sensitivities(*ITL_BOUND):
        assert found.ratio is not None
        assert found.requests_per_s == pytest.approx(before * found.ratio)
        if found.elasticity is not None and found.input != "prefix_hit_ratio":
            step = float(found.to_value) / float(found.from_value)
            assert found.ratio == pytest.approx(step**found.elasticity)


def test_the_strongest_comes_first() -> None:
    ratios = [found.ratio for found in sensitivities(*ITL_BOUND)]
    strengths = [max(ratio, 1 / ratio) for ratio in ratios if ratio]
    assert len(strengths) == len(ratios)
    assert strengths == sorted(strengths, reverse=True)


def test_the_same_question_has_the_same_answer() -> None:
    assert sensitivities(*ITL_BOUND) == sensitivities(*ITL_BOUND)


def test_a_sentence_says_direction_size_and_what_binds_then() -> None:
    found = by_input(ITL_BOUND)
    assert found["prompt_tokens"].sentence.startswith("10 % longer prompts cost ")
    assert found["weights"].sentence.startswith("Weights in fp8 add ")
    assert found["tensor_parallel"].sentence.startswith("4 GPUs for each replica add ")
    assert found["tensor_parallel"].sentence.endswith(" for each GPU.")
    slots = by_input(SLOT_BOUND)["max_num_seqs"]
    assert slots.sentence.startswith("32 sequence slots (maxNumSeqs) add ")
    loose = by_input((shape(max_num_seqs=32), chat(), CHAT_SLOS))["max_num_seqs"]
    assert loose.binding is Limit.ITL
    assert loose.sentence.endswith("to capacity; then inter-token latency binds.")


def test_where_every_prompt_token_hits_more_hits_are_no_change() -> None:
    found = by_input((shape(), chat(hit=1.0), CHAT_SLOS))
    assert "prefix_hit_ratio" not in found
    assert "output_tokens" in found


def test_prefix_hits_have_an_elasticity_only_where_there_are_some() -> None:
    assert by_input(ITL_BOUND)["prefix_hit_ratio"].elasticity is None
    some = by_input((shape(), chat(hit=0.5), CHAT_SLOS))["prefix_hit_ratio"]
    assert some.to_value == pytest.approx(1 - 0.5 / 1.1)
    assert some.sentence.startswith("Prefix cache hits of 55 % instead of 50 % add ")
    assert 0 < elasticity(some) < 2


def test_the_widest_replica_is_asked_with_fewer_gpus_and_a_slice_not_at_all() -> None:
    wide = by_input((shape(tensor_parallel=8), chat(), CHAT_SLOS))["tensor_parallel"]
    assert (wide.from_value, wide.to_value) == (8, 4)
    sliced = replace(shape(tensor_parallel=1, weights="fp8"), gpu=replace(shape().gpu, mig_profile="7g.80gb"))
    assert "tensor_parallel" not in by_input((sliced, chat(), CHAT_SLOS))


def test_a_change_that_ends_service_says_why() -> None:
    question = (shape(tensor_parallel=8), chat(), (slo("itl", 50, 0.0080),))
    assert replica_capacity(*question).serves
    first = sensitivities(*question)[0]
    assert (first.input, first.ratio, first.elasticity) == ("tensor_parallel", 0, None)
    assert first.binding is Limit.SLO_UNREACHABLE
    assert first.sentence.startswith("4 GPUs for each replica end service: itl p50 <= ")


def test_of_a_replica_that_cannot_serve_what_makes_it_serve_comes_first() -> None:
    found = sensitivities(shape(tensor_parallel=1), chat(), CHAT_SLOS)
    helps = [each for each in found if each.requests_per_s > 0]
    assert [each.input for each in helps][:2] == ["tensor_parallel", "weights"]
    assert {each.input for each in helps} == {"tensor_parallel", "weights", "kv_cache", "gpu_memory", "max_model_len"}
    assert helps[0].sentence.startswith("2 GPUs for each replica make the replica serve ")
    assert found[: len(helps)] == tuple(helps)
    for each in found[len(helps) :]:
        assert (each.ratio, each.elasticity) == (None, None)
        assert each.sentence.endswith("not help: the model does not fit.")
    assert by_input((shape(tensor_parallel=1), chat(), CHAT_SLOS))["prompt_tokens"].to_value == pytest.approx(
        1000 / 1.1
    )


def test_speculation_can_be_left_out() -> None:
    speculation = Speculation(draft_tokens=4, acceptance=0.1, draft_cost_ratio=0.1)
    drafted = replace(ITL_BOUND[0], speculation=speculation)
    found = by_input((drafted, chat(), CHAT_SLOS))["speculation"]
    assert found.requests_per_s == replica_capacity(*ITL_BOUND).requests_per_s
    assert "speculation" not in by_input(ITL_BOUND)


def test_accepted_drafts_are_a_quantity_that_ends_at_all() -> None:
    def drafted(acceptance: float) -> Sensitivity:
        speculation = Speculation(draft_tokens=4, acceptance=acceptance, draft_cost_ratio=0.05)
        return by_input((replace(shape(), speculation=speculation), chat(), (slo("e2e", 95, 20.0),)))["acceptance"]

    some = drafted(0.7)
    assert some.sentence.startswith("77 % of drafts accepted instead of 70 % add ")
    assert elasticity(some) > 0.2
    assert drafted(0.95).to_value == 1.0
