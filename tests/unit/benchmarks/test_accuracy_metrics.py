"""Errors, other models, overload and coverage on examples that are worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.accuracy_parts import coverage
from benchmarks.accuracy_parts.baselines import constant_utilisation, linear_law, weights_over_bandwidth
from benchmarks.accuracy_parts.calibrate import calibrate, lowest_points
from benchmarks.accuracy_parts.cases import Case, case_of
from benchmarks.accuracy_parts.metrics import Scored, score, summary
from benchmarks.accuracy_parts.overload import confusion, overloaded, verdicts
from benchmarks.accuracy_parts.predict import Oracle, operating_point
from benchmarks.accuracy_parts.rows import row_from_cells
from benchmarks.accuracy_parts.split import Side
from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.confidence import DENSE_SIGMA_LOG
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.weights import parameters, weights_bytes


def case(**cells: str) -> Case:
    base = {
        "source": "mine", "engine": "vllm", "model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "H100", "tp": "1",
        "precision": "bf16", "load": "closed", "concurrency": "8", "isl": "1000", "osl": "101",
        "ttft_mean_ms": "100", "tpot_mean_ms": "10",
    }  # fmt: skip
    found = case_of(row_from_cells({**base, **cells}))
    assert isinstance(found, Case)
    return found


def at_rate(rate: float, **cells: str) -> Case:
    return case(load="open", concurrency="", request_rate=str(rate), **cells)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


def test_a_summary_has_the_median_and_mean_of_sizes_and_the_signed_median() -> None:
    found = summary([0.1, -0.3, None, 0.2])
    assert (found.rows, found.median, found.bias) == (3, pytest.approx(0.2), pytest.approx(0.1))
    assert found.mean == pytest.approx(0.2)


def test_a_summary_of_nothing_is_not_a_number_and_not_zero() -> None:
    assert summary([None]).rows == 0
    assert math.isnan(summary([]).median)


def test_an_error_is_modelled_over_measured_less_one(oracle: Oracle) -> None:
    row = replace(score(case(), oracle), itl_s=0.012)
    assert row.error("itl") == pytest.approx(0.2)
    assert row.log_ratio("itl") == pytest.approx(math.log(1.2))


def test_what_was_not_measured_has_no_error(oracle: Oracle) -> None:
    row = score(case(ttft_mean_ms=""), oracle)
    assert row.error("ttft") is None
    assert row.error("throughput") is None, "Little's law needs both latencies"


def test_a_median_ttft_is_compared_with_the_modelled_median(oracle: Oracle) -> None:
    row = score(at_rate(2.0, ttft_mean_ms="", ttft_p50_ms="80"), oracle)
    assert row.ttft_s == operating_point(row.case).ttft_p50_s


def test_a_run_is_saturated_when_its_ttft_is_mostly_waiting(oracle: Oracle) -> None:
    calm, queued = score(case(), oracle), score(case(ttft_mean_ms="400"), oracle)
    assert (calm.saturated, queued.saturated) == (False, True), "0.3 x 101 x 10 ms is 303 ms"
    assert score(case(concurrency="5000"), oracle).queued_by_model


def test_the_same_question_is_asked_once(oracle: Oracle) -> None:
    first, again = oracle(case(source="a")), oracle(case(source="b", tpot_mean_ms="99"))
    assert first is again
    assert oracle(case(), Scales(memory=1.1)) is not first


def test_weights_over_bandwidth_is_16_gb_by_3350_gb_per_s() -> None:
    found = case()
    guess = weights_over_bandwidth(found)
    assert guess.itl_s == pytest.approx(weights_bytes(found.shape.model, found.shape.weights) / 3.35e12)
    assert guess.itl_s == pytest.approx(4.79e-3, rel=0.01)
    assert guess.ttft_s == pytest.approx(2 * 7.5e9 * 1000 / 989e12, rel=0.01)


def test_the_roofline_of_constant_utilisation_reads_weights_and_cache_at_seven_tenths() -> None:
    found = case()
    cache = 8 * float(sequence_bytes(found.shape, 1050.5))
    weights = weights_bytes(found.shape.model, found.shape.weights)
    assert constant_utilisation(found, 8).itl_s == pytest.approx((weights + cache) / (0.7 * 3.35e12))
    many = 2 * parameters(found.shape.model).active * 4000 / (0.5 * 989e12)
    assert constant_utilisation(case(isl="1", osl="3"), 4000).itl_s == pytest.approx(many), "bound by compute"


def test_the_linear_law_goes_through_two_points() -> None:
    points = [case(concurrency="4", tpot_mean_ms="10"), case(concurrency="8", tpot_mean_ms="12", ttft_mean_ms="180")]
    law = linear_law(points, [4.0, 8.0])
    assert law is not None
    assert (law.alpha_s, law.beta_s) == (pytest.approx(0.008), pytest.approx(0.0005))
    guess = law.guess(case(isl="2000"), 16.0)
    assert guess.itl_s == pytest.approx(0.016)
    assert guess.ttft_s == pytest.approx(0.02 + 2e-5 * 2000 * 16)


def test_no_line_goes_through_one_load() -> None:
    assert linear_law([case(), case(tpot_mean_ms="11")], [8.0, 8.0]) is None


def test_calibration_takes_the_lowest_loads_of_the_shortest_lengths_with_their_repeats() -> None:
    short = [case(concurrency=str(load)) for load in (64, 4, 16, 4, 8, 32)]
    long = [case(concurrency="1", isl="8000")]
    assert [found.clients for found in lowest_points([*long, *short])] == [4, 4, 8, 16]


def test_a_replica_type_with_one_load_is_counted_and_not_calibrated(oracle: Oracle) -> None:
    found = calibrate([case(), case(), case(isl="4000")], oracle)
    assert (len(found.calibrations), len(found.too_few)) == (0, 3)


def test_calibration_finds_slower_memory_again_and_leaves_its_points_out_of_the_test(oracle: Oracle) -> None:
    truth = Scales(memory=1.3, ttft=1.5)
    runs = []
    for clients in (2, 4, 8, 32, 64):
        asked = case(concurrency=str(clients))
        point = oracle(asked, truth)
        runs.append(
            case(concurrency=str(clients), tpot_mean_ms=str(1e3 * point.itl_mean_s),
                 ttft_mean_ms=str(1e3 * point.ttft_mean_s))
        )  # fmt: skip
    found = calibrate(runs, oracle).calibrations
    assert [run.clients for run in found[0].rest] == [32, 64]
    errors = [score(run, oracle, found[0].fit.scales).error("itl") for run in found[0].rest]
    before = [score(run, oracle).error("itl") for run in found[0].rest]
    assert all(abs(late or 1) < 0.05 for late in errors), found[0].fit.sentence
    assert all(abs(early or 0) > 0.10 for early in before)


def test_a_run_that_serves_less_than_arrives_is_overloaded() -> None:
    calm = at_rate(1.0, req_per_s="1.0")
    assert overloaded(at_rate(10.0, req_per_s="9.6"), calm) is False
    assert overloaded(at_rate(10.0, req_per_s="9.4"), calm) is True


def test_the_time_to_drain_the_last_requests_is_not_overload() -> None:
    calm = at_rate(1.0, req_per_s="1.0", e2e_mean_ms="10000")
    run = at_rate(10.0, req_per_s="9.1", n_requests="1000")
    assert 1000 / (1000 / 9.1 - 10.0) > 9.5
    assert overloaded(run, calm) is False


def test_a_ttft_of_seconds_is_overload_even_where_no_rate_was_measured() -> None:
    calm = at_rate(1.0)
    assert overloaded(at_rate(10.0, ttft_mean_ms="1500"), calm) is True
    assert overloaded(at_rate(10.0, ttft_mean_ms="900"), calm) is False
    assert overloaded(at_rate(10.0, ttft_mean_ms=""), calm) is None


def test_the_confusion_matrix_counts_false_alarms_and_misses(oracle: Oracle) -> None:
    runs = [at_rate(0.5, req_per_s="0.5"), at_rate(400.0, req_per_s="40"), at_rate(0.6, req_per_s="0.1"),
            at_rate(500.0, req_per_s="500")]  # fmt: skip
    found = confusion(verdicts([score(run, oracle) for run in runs], runs))
    assert (found.stable_right, found.overload_right, found.missed, found.false_alarms) == (1, 1, 1, 1)
    assert found.accuracy == 0.5


def test_an_interval_of_80_per_cent_spans_1_28_standard_deviations(oracle: Oracle) -> None:
    def run(ratio: float) -> Scored:
        row = score(case(), oracle)
        assert row.seen.itl_s is not None
        return replace(row, itl_s=row.seen.itl_s / ratio)

    edge = math.exp(DENSE_SIGMA_LOG * 1.2816)
    found = coverage.uncalibrated([run(1.0), run(edge * 1.1), run(1 / (edge * 1.1)), run(edge * 0.9)], "itl")
    assert (found.rows, found.inside, found.below, found.above) == (4, 2, 1, 1)
    assert found.share == 0.5


def test_coverage_of_calibrated_rows_is_by_side(oracle: Oracle) -> None:
    runs = [case(concurrency=str(clients), tpot_mean_ms=str(8 + clients / 8)) for clients in (2, 4, 8, 16)]
    found = calibrate(runs, oracle)
    by_side = [coverage.calibrated(found, oracle, "itl", lambda run, side=side: run.side is side).rows for side in Side]
    assert sorted(by_side) == [0, 1], "three of the four loads taught"
