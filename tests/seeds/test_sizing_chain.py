"""The headline: seven H100s by the textbook chain, about 24 by the physics, and the assumption that breaks."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

import pytest

from inferencefleet.catalog import model
from inferencefleet.domain.capacity import EngineLimits, Limit
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.seed_question import InvalidQuestion
from inferencefleet.physics.seed_sizing import SizingChain, seed_sizing, sizing_chain
from tests.seeds.shapes import s2_question

S2 = s2_question()
SHORT_PROMPTS = replace(S2, context_tokens=300, step_s=0.012)
"""44 prompt tokens and a step that an H100 reaches: what the chain assumes is true here."""


def assumption(chain: SizingChain, name: str) -> tuple[bool, str]:
    (found,) = [check for check in chain.assumptions if check.name == name]
    return found.holds, found.sentence


def test_seed_mode_reproduces_every_step_of_the_printed_derivation() -> None:
    chain = seed_sizing(S2)
    values = {step.name: (step.value, step.unit) for step in chain.steps}
    assert values["weights"] == (16e9, "bytes")
    assert values["KV cache per request"] == (1_048_576_000, "bytes")
    assert values["concurrency"] == (61, "requests")
    assert values["batch"] == (48, "requests")
    assert values["time in batch"] == (pytest.approx(4.608), "s")
    assert values["throughput"] == (pytest.approx(10.417, abs=1e-3), "requests/s per replica")
    assert values["usable throughput"] == (pytest.approx(7.292, abs=1e-3), "requests/s per replica")
    assert values["demand / usable"] == (pytest.approx(6.857, abs=1e-3), "replicas")
    assert values["replicas"] == (7, "replicas")
    assert (chain.replicas, chain.gpus) == (7, 7)


def test_the_printed_65_requests_come_from_dividing_gigabytes_by_gibibytes() -> None:
    chain = seed_sizing(S2)
    assert "65 when GB are divided by GiB" in chain.step("concurrency").note
    assert assumption(chain, "units") == (
        True,
        "64.0 GB divided by 0.977 GiB, as in the printed example, gives 65 requests; in one unit (1.05 GB) it is 61. "
        "The batch of 48 is below both.",
    )
    # Memory in GiB as well would be consistent, but an "80 GB" GPU has 80 GiB only by name.
    whole_gib = seed_sizing(replace(S2, nominal_memory_bytes=80 * 2**30))
    assert whole_gib.step("concurrency").value == 66


def test_the_unit_mix_breaks_the_chain_when_the_batch_lies_between_the_two_ceilings() -> None:
    holds, sentence = assumption(seed_sizing(replace(S2, batch=64)), "units")
    assert not holds
    assert sentence.endswith("it is 61. The batch must be smaller.")


def test_physics_mode_needs_about_24_gpus_for_the_question_the_chain_answers_with_7() -> None:
    chain = sizing_chain(S2, mode="physics")
    assert chain.requests_per_s == pytest.approx(3.0, rel=0.15)
    assert chain.replicas is not None
    assert 20 <= chain.replicas <= 27
    assert chain.gpus == chain.replicas
    assert chain.replicas == ceil(50 / (0.7 * chain.requests_per_s))


def test_a_request_really_stays_more_than_twice_as_long_as_the_chain_takes_it_for() -> None:
    chain = sizing_chain(S2, mode="physics")
    residence, running, throughput = (chain.step(n).value for n in ("residence", "running", "throughput"))
    # The capacity is interpolated on a grid of loads; the residence is computed at the point itself.
    assert running / residence == pytest.approx(throughput, rel=0.05)
    assert residence > 2 * seed_sizing(S2).step("time in batch").value
    assert running <= chain.step("concurrency").value


def test_the_step_time_and_the_forgotten_prefill_are_named_as_what_breaks() -> None:
    chain = sizing_chain(S2, mode="physics")
    assert [check.name for check in chain.assumptions if not check.holds] == ["step time", "prefill"]
    below, prefill = chain.broken
    assert below.startswith("a decode step of 18 ms for 48 sequences is below the roofline")
    assert "19.8 ms with the chain's own 16.0 GB + 48 x 1.05 GB" in below
    assert prefill.startswith("7.29 prompts/s of 7,744 tokens")
    assert prefill.endswith("the chain counts none, and there is only 1.")


def test_both_modes_check_the_same_assumptions() -> None:
    assert seed_sizing(S2).assumptions == sizing_chain(S2).assumptions


def test_nothing_is_said_to_break_where_the_assumptions_hold() -> None:
    chain = sizing_chain(SHORT_PROMPTS)
    assert chain.broken == ()
    assert {check.name for check in chain.assumptions} == {"memory", "units", "step time", "prefill", "host"}


def test_where_the_assumptions_hold_physics_takes_no_more_replicas_at_the_same_step_time() -> None:
    # Physics is free to run more than 48 sequences while the median step stays within the 12 ms of the chain.
    target = Slo(metric=SloMetric.ITL, percentile=50, target_s=0.012)
    question = replace(SHORT_PROMPTS, requests_per_s=500, slos=(target,))
    assert sizing_chain(question).requests_per_s >= seed_sizing(question).requests_per_s


def test_a_step_time_above_the_roofline_but_below_belief_is_called_too_fast() -> None:
    # One sequence alone: launches take as long as memory does, and no roofline knows of them.
    holds, sentence = assumption(seed_sizing(replace(SHORT_PROMPTS, batch=1, step_s=0.0048)), "step time")
    assert not holds
    assert "is too fast: the model expects" in sentence


def test_a_batch_that_real_memory_does_not_hold_is_named() -> None:
    holds, sentence = assumption(seed_sizing(replace(S2, batch=60)), "memory")
    assert not holds
    assert sentence.endswith("a batch of 60 does not.")


def test_more_tokens_than_one_api_server_streams_are_named() -> None:
    question = replace(S2, context_tokens=300, output_tokens=64, batch=512, step_s=0.020)
    holds, sentence = assumption(seed_sizing(question), "host")
    assert not holds
    assert "exceed the" in sentence


def test_the_memory_ceiling_takes_over_at_long_contexts() -> None:
    chain = seed_sizing(replace(S2, context_tokens=64_000))
    ceiling = floor((80e9 - 16e9) / (131072 * 64_000))
    assert chain.step("batch").value == chain.step("concurrency").value == ceiling == 7
    assert chain.replicas == ceil(50 / (0.7 * ceiling / (256 * 0.018)))


def test_a_model_that_leaves_no_room_is_refused_in_both_modes_with_a_way_out() -> None:
    question = replace(S2, model=model("meta-llama/Llama-3.1-70B-Instruct"), nominal_parameters=70e9)
    chain, physics = seed_sizing(question), sizing_chain(question)
    assert (chain.replicas, physics.replicas) == (None, None)
    assert "takes 140.0 of 80.0 GB" in chain.sentence
    assert "use more GPUs for each replica" in chain.sentence
    assert "GiB are missing" in physics.sentence
    assert not assumption(physics, "memory")[0]


def test_tensor_parallelism_multiplies_gpus_not_replicas() -> None:
    question = replace(
        S2, model=model("meta-llama/Llama-3.1-70B-Instruct"), nominal_parameters=70e9, tensor_parallel=4, step_s=0.05
    )
    chain = seed_sizing(question)
    assert chain.replicas is not None
    assert chain.gpus == 4 * chain.replicas


def test_without_round_numbers_the_chain_takes_the_model_and_the_gpu_as_they_are() -> None:
    chain = seed_sizing(replace(S2, nominal_parameters=None, nominal_memory_bytes=None))
    assert chain.step("weights").value == pytest.approx(16.06e9, rel=1e-3)
    assert chain.step("concurrency").value == 66


def test_smaller_weights_leave_more_room() -> None:
    assert seed_sizing(replace(S2, weights=NumberFormat.FP8)).step("concurrency").value == floor(72e9 / 1.048576e9)


def test_an_slo_out_of_reach_is_refused_by_physics_mode_only() -> None:
    target = Slo(metric=SloMetric.ITL, percentile=95, target_s=0.002)
    question = replace(S2, slos=(target,))
    assert seed_sizing(question).replicas == 7
    assert sizing_chain(question).replicas is None
    assert str(target) in sizing_chain(question).sentence


def test_engine_flags_change_what_physics_mode_answers_and_not_the_chain() -> None:
    tight = replace(S2, limits=EngineLimits(gpu_memory_utilization=0.6))
    assert seed_sizing(tight).replicas == 7
    assert sizing_chain(tight).requests_per_s < sizing_chain(S2).requests_per_s
    holds, sentence = assumption(sizing_chain(tight), "memory")
    assert not holds
    assert sentence.startswith("gpu_memory_utilization 0.6, ")


def test_physics_mode_names_what_binds() -> None:
    assert Limit.KV_MEMORY in sizing_chain(S2).step("running").formula


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("requests_per_s", 0, "must be above 0"),
        ("step_s", float("nan"), "must be above 0"),
        ("nominal_memory_bytes", -1, "must be above 0"),
        ("batch", 0, "must be at least 1"),
        ("tensor_parallel", 0, "must be at least 1"),
        ("output_tokens", float("inf"), "must be at least 1"),
        ("utilisation", 1.1, "must be in (0, 1]"),
        ("context_tokens", 256, "at least output_tokens + 1 = 257"),
        ("context_tokens", 200_000, "is above the 131,072 tokens of meta-llama/Llama-3.1-8B-Instruct"),
    ],
)
def test_a_bad_input_is_refused_with_field_value_rule_and_way_out(field: str, value: float, rule: str) -> None:
    with pytest.raises(InvalidQuestion) as caught:
        sizing_chain(replace(S2, **{field: value}))  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{field} = {value:g}: ")
    assert rule in message
    assert "; " in message


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 'seed'"):
        sizing_chain(S2, mode="guess")  # type: ignore[arg-type]


def test_asking_for_a_step_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(KeyError, match="KV cache per request"):
        seed_sizing(S2).step("magic")
