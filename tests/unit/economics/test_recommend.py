"""The ranking: what is first, why each other is not, and that nothing is dropped."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, Limit
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.pool import CapacityType
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.economics.formats import Checkpoint, checkpoint_of, formats_to_try, quality_of
from inferencefleet.economics.reasons import caveats, reason, workflow
from inferencefleet.economics.recommend import (
    NEARLY_CHEAPEST,
    Candidate,
    Offer,
    PriceTag,
    Recommendation,
    Request,
    Standing,
    recommend,
)
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.lengths import lognormal_mix

BF16, FP8, INT4 = NumberFormat.BF16, NumberFormat.FP8, NumberFormat.INT4
PRICES = {"H100-SXM": 2.5, "L40S": 1.2, "A100-SXM": 1.5}
SLOS = (
    Slo(metric=SloMetric.ITL, percentile=95, target_s=0.06),
    Slo(metric=SloMetric.TTFT, percentile=95, target_s=2.0),
)


def offer(name: str, usd: float | None, *, gpus_per_node: int = 8) -> Offer:
    price = PriceTag(usd_per_gpu_hour=usd, capacity_type=CapacityType.ON_DEMAND, source="test") if usd else None
    return Offer(gpu=catalog.gpu(name), price=price, gpus_per_node=gpus_per_node)


def request(**changes: Any) -> Request:
    asked = Request(
        model=catalog.model("Qwen/Qwen3-32B"),
        requests_per_s=20.0,
        lengths=lognormal_mix(prompt_mean=1000, output_mean=250),
        slos=SLOS,
        kv_cache=BF16,
        limits=EngineLimits(),
        planned_share=lambda _: 0.6,
        offers=tuple(offer(name, usd) for name, usd in PRICES.items()),
        formats=(BF16, FP8),
        other_formats=(INT4,),
    )
    return replace(asked, **changes)


@pytest.fixture(scope="module")
def found() -> Recommendation:
    return recommend(request())


def everybody(found: Recommendation) -> list[Candidate]:
    return [*found.ranked, *found.other_checkpoints, *found.other_sizes, *found.unpriced, *found.refused]


def test_the_ranking_is_by_dollars_per_hour(found: Recommendation) -> None:
    dollars = [candidate.usd_per_hour for candidate in found.ranked]
    assert dollars == sorted(dollars, key=lambda usd: usd or 0.0)
    assert found.best is found.ranked[0]


def test_every_combination_is_in_exactly_one_place(found: Recommendation) -> None:
    shapes = [(c.shape.gpu.name, c.shape.weights, c.shape.tensor_parallel) for c in everybody(found)]
    assert len(shapes) == len(set(shapes)) == len(PRICES) * 3 * 4


def test_replicas_and_dollars_follow_from_the_capacity(found: Recommendation) -> None:
    for candidate in found.ranked:
        capacity = replica_capacity(candidate.shape, found.request.lengths, SLOS)
        planned = capacity.requests_per_s * 0.6
        assert candidate.planned_requests_per_s == pytest.approx(planned)
        assert candidate.replicas == math.ceil(20.0 / planned)
        price = PRICES[candidate.shape.gpu.name]
        assert candidate.usd_per_hour == pytest.approx(price * candidate.replicas * candidate.shape.tensor_parallel)
        tokens_per_hour = 20.0 * 250 * 3600
        assert candidate.tokens is not None
        million = candidate.tokens.usd_per_million_output_tokens
        assert million == pytest.approx((candidate.usd_per_hour or 0.0) / tokens_per_hour * 1e6, rel=1e-3)
        assert candidate.tokens.output_tokens_per_usd == pytest.approx(1e6 / million, rel=1e-6)


def test_of_two_sizes_the_smaller_wins_within_ten_percent(found: Recommendation) -> None:
    for chosen in (*found.ranked, *found.other_checkpoints):
        for other in found.other_sizes:
            same = (other.shape.gpu.name, other.shape.weights) == (chosen.shape.gpu.name, chosen.shape.weights)
            if same and other.shape.tensor_parallel < chosen.shape.tensor_parallel:
                assert (other.usd_per_hour or 0.0) > (chosen.usd_per_hour or 0.0) * 1.0
            if same and other.shape.tensor_parallel > chosen.shape.tensor_parallel:
                assert (chosen.usd_per_hour or 0.0) <= NEARLY_CHEAPEST * (other.usd_per_hour or 0.0)


def test_tensor_parallelism_over_pcie_is_ranked_only_when_forced(found: Recommendation) -> None:
    over_pcie = [c for c in everybody(found) if c.shape.gpu.name == "L40S" and c.shape.tensor_parallel > 1]
    assert all(not candidate.capacity.serves or candidate.standing is Standing.PCIE for candidate in over_pcie)
    serving = next(candidate for candidate in over_pcie if candidate.capacity.serves)
    assert "--force-pcie" in reason(found, serving)
    forced = recommend(request(force_pcie=True))
    assert any(c.shape.gpu.name == "L40S" and c.shape.tensor_parallel > 1 for c in forced.ranked)


def test_pcie_is_forced_when_nothing_else_serves() -> None:
    # 61 GiB of weights do not fit one L40S, and there is no other GPU.
    only = recommend(request(offers=(offer("L40S", 1.2),), formats=(BF16,), other_formats=(), slos=SLOS[:1]))
    assert only.best is not None
    assert only.best.shape.tensor_parallel > 1


def test_a_gpu_without_a_price_is_listed_with_what_it_would_need() -> None:
    found = recommend(request(offers=(offer("H100-SXM", None), offer("A100-SXM", 1.5))))
    assert {candidate.shape.gpu.name for candidate in found.unpriced} == {"H100-SXM"}
    said = reason(found, found.unpriced[0])
    assert "--price H100-SXM=USD" in said
    assert f"{found.unpriced[0].planned_per_gpu:.3g} requests/s for each GPU" in said


def test_a_replica_does_not_span_nodes() -> None:
    found = recommend(request(offers=(offer("H100-SXM", 2.5, gpus_per_node=2),)))
    assert {candidate.shape.tensor_parallel for candidate in everybody(found)} == {1, 2}


def test_formats_that_need_another_checkpoint_are_shown_apart(found: Recommendation) -> None:
    assert {candidate.shape.weights for candidate in found.ranked} <= {BF16, FP8}
    assert {candidate.shape.weights for candidate in found.other_checkpoints} == {INT4}
    assert "perplexity +0.3 to +1.2 (as quoted)" in " ".join(caveats(found.other_checkpoints[0]))


def test_what_misses_an_objective_alone_is_refused_with_its_floor() -> None:
    tight = (Slo(metric=SloMetric.ITL, percentile=95, target_s=0.012), SLOS[1])
    found = recommend(request(slos=tight))
    slow = next(c for c in found.refused if c.shape.gpu.name == "A100-SXM" and c.standing is Standing.SLO_UNREACHABLE)
    assert slow.capacity.binding is Limit.SLO_UNREACHABLE
    assert "one request alone already has itl p95" in reason(found, slow)


def test_what_does_not_fit_says_how_many_gib_are_missing(found: Recommendation) -> None:
    small = next(c for c in found.refused if c.standing is Standing.DOES_NOT_FIT and c.shape.weights is BF16)
    assert "GiB" in reason(found, small)


def test_a_loser_is_told_how_many_times_dearer_and_by_which_factor(found: Recommendation) -> None:
    best, loser = found.ranked[0], found.ranked[-1]
    times = (loser.usd_per_hour or 0.0) / (best.usd_per_hour or 1.0)
    said = reason(found, loser)
    assert said.startswith(f"{times:.2f}x dearer")
    assert f"{loser.planned_per_gpu / best.planned_per_gpu:.2g}x the requests of a GPU" in said
    assert str(loser.capacity.binding) in said


def test_whole_replicas_that_stand_idle_are_part_of_the_reason() -> None:
    found = recommend(request(requests_per_s=0.01))
    assert found.best is not None
    assert found.best.replicas == 1
    assert "whole replicas are" in reason(found, found.best)


def test_smaller_steps_are_tried_where_prompts_delay_tokens() -> None:
    plain, tuned = recommend(request()), recommend(request(token_budgets=(2048, 512)))
    budgets = {c.token_budget for c in everybody(tuned)}
    assert budgets <= {8192, 2048, 512}
    assert len(budgets) > 1
    assert tuned.best is not None
    assert plain.best is not None
    assert (tuned.best.usd_per_hour or 0.0) <= (plain.best.usd_per_hour or 0.0)
    for candidate in everybody(tuned):
        if candidate.token_budget != 8192:
            wide = replace(candidate.shape, limits=EngineLimits())
            before = replica_capacity(wide, tuned.request.lengths, SLOS)
            assert before.binding is Limit.ITL
            assert candidate.capacity.requests_per_s > 1.05 * before.requests_per_s


def test_the_workflow_has_its_seven_steps_in_order(found: Recommendation) -> None:
    names = [name for name, _ in workflow(found)]
    assert names == ["workload", "model + context", "memory fit", "throughput", "latency", "hardware", "cost"]


def test_the_uncertainty_of_each_replica_counts() -> None:
    def doubtful_h100(shape: Any) -> float:
        return 0.1 if shape.gpu.name == "H100-SXM" else 0.6

    sure, doubtful = recommend(request()), recommend(request(planned_share=doubtful_h100))
    assert sure.best is not None
    assert doubtful.best is not None
    assert sure.best.shape.gpu.name == "H100-SXM"
    assert doubtful.best.shape.gpu.name != "H100-SXM"


@pytest.mark.parametrize(
    ("model", "weights", "checkpoint"),
    [
        ("Qwen/Qwen3-32B", BF16, Checkpoint.PUBLISHED),
        ("Qwen/Qwen3-32B", FP8, Checkpoint.CONVERTED),
        ("Qwen/Qwen3-32B", INT4, Checkpoint.ANOTHER),
        ("deepseek-ai/DeepSeek-V3", FP8, Checkpoint.PUBLISHED),
        ("deepseek-ai/DeepSeek-V3", INT4, Checkpoint.ANOTHER),
        ("openai/gpt-oss-120b", NumberFormat.MXFP4, Checkpoint.PUBLISHED),
    ],
)
def test_a_checkpoint_gives_its_own_format_and_bf16_gives_fp8(
    model: str, weights: NumberFormat, checkpoint: Checkpoint
) -> None:
    assert checkpoint_of(catalog.model(model), weights) is checkpoint


def test_a_checkpoint_of_four_bits_is_not_blown_up() -> None:
    gpt_oss = catalog.model("openai/gpt-oss-120b")
    assert formats_to_try(gpt_oss) == (NumberFormat.MXFP4,)
    assert quality_of(gpt_oss, NumberFormat.MXFP4) == "as published"
