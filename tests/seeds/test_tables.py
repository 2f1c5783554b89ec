"""The sources' tables against the catalogue and the physics."""

from __future__ import annotations

import re

import pytest

from inferencefleet.catalog import gpu
from inferencefleet.domain.capacity import Limit
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.memory import memory_budget, missing_bytes
from inferencefleet.physics.quick import nominal_weights_bytes, roofline_s
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.weights import weights_bytes
from tests.seeds.price_tiers import QUOTED_TIERS
from tests.seeds.shapes import BF16, LLAMA_70B, fixed, shape
from tests.seeds.tables import (
    BENCHMARKS,
    FITS,
    QUANTISED_GB,
    QUOTED_GPUS,
    STARVED_BELOW,
    QuotedBenchmark,
    QuotedFit,
    QuotedGpu,
)


@pytest.mark.parametrize("row", QUOTED_GPUS, ids=lambda row: f"{row.source} {row.gpu}")
def test_a_quoted_gpu_agrees_with_the_catalogue_or_says_why_not(row: QuotedGpu) -> None:
    spec = gpu(row.gpu)
    differences = [
        name
        for name, quoted, ours, tolerance in (
            ("bandwidth", row.bandwidth_tb_per_s, spec.bandwidth_bytes_per_s / 1e12, 0.04),
            ("bf16", row.bf16_tflops, spec.peak_flops[BF16] / 1e12, 0.01),
            # Marketing gigabytes lie between what the driver reports in GiB and in GB.
            ("memory", row.memory_gb, spec.memory_bytes / 1e9, 0.08),
        )
        if quoted is not None and abs(quoted / ours - 1) > tolerance
    ]
    assert bool(differences) == bool(row.differs), (row, differences)


@pytest.mark.parametrize(("billions", "weights", "gigabytes"), QUANTISED_GB)
def test_the_quantisation_table_is_parameters_times_bits(
    billions: float, weights: NumberFormat, gigabytes: float
) -> None:
    assert nominal_weights_bytes(billions * 1e9, weights) / 1e9 == pytest.approx(gigabytes, rel=0.003)


def test_a_real_int4_checkpoint_is_larger_than_the_table_says() -> None:
    there = shape(LLAMA_70B, "A100-SXM-40GB", 1, QUANTISED_GB[2][1])
    assert weights_bytes(there.model, there.weights) / 35e9 == pytest.approx(1.16, abs=0.02)


@pytest.mark.parametrize("row", BENCHMARKS, ids=lambda row: f"{row.what} on {row.gpus} x {row.gpu}")
def test_the_benchmark_table_sits_near_the_roofline_of_one_request(row: QuotedBenchmark) -> None:
    bandwidth = row.gpus * gpu(row.gpu).bandwidth_bytes_per_s
    roofline = 1 / roofline_s(nominal_weights_bytes(row.billions * 1e9, row.weights), bandwidth)
    assert roofline == pytest.approx(row.roofline_batch_1, rel=0.01)
    assert 0.9 <= row.quoted_tokens_per_s / roofline <= 2.7


@pytest.mark.parametrize("row", [row for row in BENCHMARKS if row.model], ids=lambda row: f"{row.what} on {row.gpu}")
def test_a_batch_of_128_gives_many_times_the_benchmark_table(row: QuotedBenchmark) -> None:
    assert row.model is not None
    there = shape(row.model, row.gpu, row.gpus, row.weights, BF16, 2048)
    decode = 128 / StepModel(there).seconds(128, 128 * (1024 + 64))
    serving = 128 * replica_capacity(there, fixed(1024, 128), ()).requests_per_s
    assert decode == pytest.approx(row.decode_batch_128, rel=0.1)
    assert serving == pytest.approx(row.serving, rel=0.15)
    assert decode > 5 * row.quoted_tokens_per_s
    assert serving < decode, "prompts take their share of the steps"


@pytest.mark.parametrize("row", FITS, ids=lambda row: f"{row.source} {row.what}")
def test_the_fit_verdict_is_about_serving_and_not_only_about_loading(row: QuotedFit) -> None:
    there = shape(row.model, row.gpu, row.gpus, row.weights, BF16, row.max_model_len_tokens)
    capacity = replica_capacity(there, fixed(1000, 250), ())
    assert memory_budget(there).kv_cache_bytes / 1e9 == pytest.approx(row.kv_gb, abs=0.6)
    if missing_bytes(there) > 0:
        found = "cannot start"
        assert capacity.binding is Limit.MODEL_TOO_LARGE
        assert not capacity.serves
    else:
        found = "serves" if capacity.concurrency >= STARVED_BELOW else "starved"
        assert capacity.serves
    assert found == row.verdict, capacity.sentence


def test_70b_in_fp16_on_two_80_gb_gpus_is_refused_with_what_is_left_and_a_way_out() -> None:
    capacity = replica_capacity(shape(LLAMA_70B, "A100-SXM", 2, BF16, BF16, 32_768), fixed(1000, 250), ())
    assert re.search(r"on 2 x A100-SXM leaves [67]\.\d GiB of KV cache \(2\d,\d{3} tokens\)", capacity.sentence)
    assert "one request of maxModelLen 32,768 needs" in capacity.sentence
    assert "It fits with tensor parallelism 4 or fp8 weights or maxModelLen 2" in capacity.sentence


def test_sources_disagree_on_prices_by_a_factor_of_two_and_more() -> None:
    # Which is why a price comes from the user or a dated list, never from a table of an article.
    spans = {}
    for row in QUOTED_GPUS:
        if row.usd_per_hour:
            low, high = spans.get(row.gpu, (1e9, 0.0))
            spans[row.gpu] = (min(low, row.usd_per_hour[0]), max(high, row.usd_per_hour[1]))
    assert all(spans[name][1] / spans[name][0] >= 2 for name in ("A100-SXM", "H100-SXM", "L40S"))


def test_every_quoted_price_tier_is_at_most_the_price_on_demand() -> None:
    assert all(0 < tier.low <= tier.high <= 1 for tier in QUOTED_TIERS)
