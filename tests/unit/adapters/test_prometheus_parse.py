"""Answers of Prometheus as numbers: what is not finite is not there, and nothing missing becomes zero."""

from __future__ import annotations

import math
from typing import Any

import pytest

from inferencefleet.adapters.prometheus import parse
from inferencefleet.adapters.prometheus.assemble import Answers, assemble
from inferencefleet.adapters.prometheus.queries import Queries, Vocabulary, quoted
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import FleetMetrics, MetricsGap

WORDS = Vocabulary()
CHAT = FleetKey("prod", "chat")
QUERIES = Queries(WORDS, window_s=60, max_age_s=60)


def a_sample(value: Any, *, fleet: str = "chat", pool: str = "spot", at: float = 1000.0, **labels: str) -> Any:
    metric = {"namespace": "prod", "inferencefleet_io_fleet": fleet, "inferencefleet_io_pool": pool, **labels}
    return {"metric": metric, "value": [at, value]}


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf", "", "x", None])
def test_what_is_not_a_finite_number_is_unknown(text: Any) -> None:
    assert parse.number(text) is None
    assert parse.by_pool([a_sample(text)], WORDS) == {}


def test_values_are_filed_by_namespace_fleet_and_pool() -> None:
    vector = [a_sample("3"), a_sample("4", pool="reserved"), a_sample("5", fleet="other")]
    assert parse.by_pool(vector, WORDS) == {
        (CHAT, "spot"): 3.0,
        (CHAT, "reserved"): 4.0,
        (FleetKey("prod", "other"), "spot"): 5.0,
    }


def test_series_without_a_fleet_are_nobody_s() -> None:
    assert parse.by_fleet([{"metric": {"namespace": "prod"}, "value": [1, "2"]}, {"metric": {}}], WORDS) == {}


def test_cumulative_buckets_become_counts_and_the_sum_comes_along() -> None:
    vector = [
        a_sample("10", le="+Inf"),
        a_sample("4", le="0.5"),
        a_sample("7", le="1.0"),
        a_sample("6.5", le="sum"),
    ]
    found = parse.histograms(vector, WORDS)[CHAT]
    assert found.bounds == (0.5, 1.0, math.inf)
    assert found.counts == (4.0, 3.0, 3.0)
    assert (found.total, found.sum) == (10.0, 6.5)


def test_the_same_bound_in_two_spellings_is_one_bucket_and_steps_back_are_flattened() -> None:
    vector = [
        a_sample("1", le="1"),
        a_sample("2", le="1.0"),
        a_sample("2.5", le="2"),
        a_sample("4", le="+Inf"),
        a_sample("1", le="sum"),
    ]
    found = parse.histograms(vector, WORDS)[CHAT]
    assert found.counts == (3.0, 0.0, 1.0)


@pytest.mark.parametrize("missing", ["+Inf", "sum"])
def test_half_a_histogram_is_none(missing: str) -> None:
    vector = [a_sample("1", le=le) for le in ("1", "+Inf", "sum") if le != missing]
    assert parse.histograms(vector, WORDS) == {}


def answers(**pools: dict[tuple[FleetKey, str], float]) -> Answers:
    names = ("newest", "oldest", "engines", "running", "waiting", "kv_cache_usage_mean", "kv_cache_usage_max")
    fleets = ("completions", "in_system_growth", "prompt_tokens", "output_tokens", "preemptions", "prefix_hit_ratio")
    return Answers(
        at_s=1000.0,
        pools={name: pools.get(name, {}) for name in names},
        fleets={name: {} for name in fleets},
        histograms={},
    )


HERE = (CHAT, "spot")


def test_a_fleet_whose_gauges_are_there_and_whose_rates_are_not_has_metrics_with_unknowns() -> None:
    found = assemble(
        CHAT,
        answers(newest={HERE: 999}, oldest={HERE: 990}, engines={HERE: 2}, running={HERE: 0}, waiting={HERE: 0}),
        QUERIES,
    )
    assert isinstance(found, FleetMetrics)
    assert found.at_s == 990
    assert (found.completions_per_s, found.in_system_growth_per_s, found.ttft_s) == (None, None, None)
    assert found.pools["spot"].kv_cache_usage_max is None


def test_a_zero_kv_gauge_is_believed_of_an_idle_pool_only() -> None:
    kv = {"kv_cache_usage_mean": {HERE: 0.0}, "kv_cache_usage_max": {HERE: 0.0}}
    for running, believed in ((0.0, 0.0), (5.0, None)):
        seen = answers(newest={HERE: 999}, engines={HERE: 1}, running={HERE: running}, waiting={HERE: 0}, **kv)
        found = assemble(CHAT, seen, QUERIES)
        assert isinstance(found, FleetMetrics)
        assert found.pools["spot"].kv_cache_usage_max == believed


def test_no_series_and_old_series_are_different_gaps() -> None:
    none = assemble(CHAT, answers(), QUERIES)
    old = assemble(CHAT, answers(newest={HERE: 700}), QUERIES)
    assert isinstance(none, MetricsGap)
    assert isinstance(old, MetricsGap)
    assert (none.code, old.code) == ("NoSamples", "StaleSamples")
    assert "300 s old" in old.sentence


def test_label_values_are_escaped() -> None:
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'


def test_every_query_asks_for_all_fleets_at_once_and_groups_by_them() -> None:
    asked = [
        *(getattr(QUERIES, name)() for name in ("newest", "engines", "running", "completions", "prefix_hit_ratio")),
        QUERIES.histogram("itl"),
        QUERIES.in_system_growth(),
    ]
    for query in asked:
        assert 'inferencefleet_io_fleet!=""' in query
        assert "by (namespace, inferencefleet_io_fleet" in query


def test_a_renamed_metric_is_asked_for_under_both_names() -> None:
    assert "vllm:kv_cache_usage_perc" in QUERIES.kv_cache_usage_max()
    assert "vllm:gpu_cache_usage_perc" in QUERIES.kv_cache_usage_max()
    assert "vllm:time_per_output_token_seconds_bucket" in QUERIES.histogram("itl")
