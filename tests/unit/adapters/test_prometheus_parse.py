"""Answers of Prometheus as numbers: what is not finite is not there, and nothing missing becomes zero."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.adapters.prometheus import parse
from inferencefleet.adapters.prometheus.assemble import Answers, assemble
from inferencefleet.adapters.prometheus.queries import Queries, Vocabulary, quoted
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, PoolWindow

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


RATES = {
    "requests_per_s": 2.0, "prompts_per_s": 2.1, "output_tokens_per_s": 400.0, "itl_seconds_per_s": 8.0,
    "itl_intervals_per_s": 398.0, "prefill_seconds_per_s": 0.2, "prefills_per_s": 2.0, "ttft_seconds_per_s": 0.3,
    "running_early": 8.0, "running_late": 8.5, "resets": 0.0,
}  # fmt: skip


def window_of(**changes: float | None) -> PoolWindow | None:
    seen = answers(newest={HERE: 999}, engines={HERE: 1}, running={HERE: 8}, waiting={HERE: 0})
    values = {name: value for name, value in (RATES | changes).items() if value is not None}
    known = {name: {HERE: values[name]} if name in values else {} for name in (*RATES, "prefix_hit_ratio")}
    found = assemble(CHAT, replace(seen, windows=known, models={HERE: ("m",)}), QUERIES)
    assert isinstance(found, FleetMetrics)
    return found.pools["spot"].window


def test_the_window_of_a_pool_carries_means_and_leaves_out_what_is_unknown() -> None:
    window = window_of()
    assert window is not None
    assert window.itl_mean_s == pytest.approx(8.0 / 398)
    assert window.ttft_mean_s == pytest.approx(0.3 / 2.1)
    assert window.prefill_mean_s == pytest.approx(0.1)
    assert (window.prefix_hit_ratio, window.preemptions_per_s, window.models) == (None, None, ("m",))
    assert window.window_s == 60


@pytest.mark.parametrize("name", ["itl_seconds_per_s", "itl_intervals_per_s", "prompts_per_s", "ttft_seconds_per_s"])
def test_a_latency_at_zero_while_tokens_come_out_is_unknown(name: str) -> None:
    window = window_of(**{name: 0.0})
    assert window is not None
    assert getattr(window, name) is None
    idle = window_of(**dict.fromkeys(RATES, 0.0))
    assert idle is not None
    assert getattr(idle, name) == 0.0, "nothing happens there, and that is known"


def test_prefill_times_that_nobody_counted_are_unknown() -> None:
    window = window_of(prefills_per_s=0.0)
    assert window is not None
    assert (window.prefill_seconds_per_s, window.prefill_mean_s) == (None, None)


def test_without_the_rates_of_pools_there_is_no_window_and_everything_else_stays() -> None:
    seen = answers(newest={HERE: 999}, engines={HERE: 1}, running={HERE: 8}, waiting={HERE: 0})
    found = assemble(CHAT, seen, QUERIES)
    assert isinstance(found, FleetMetrics)
    assert (found.pools["spot"].window, found.pools["spot"].running) == (None, 8)


def test_models_of_a_pool_are_the_names_its_engines_report() -> None:
    vector = [a_sample("1", model_name="b"), a_sample("1", model_name="a"), a_sample("1", pool="x"), a_sample("2")]
    assert parse.names_by_pool(vector, WORDS, "model_name") == {HERE: ("a", "b")}


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
        QUERIES.pool_completions(),
        QUERIES.pool_rate("itl", "_sum"),
        QUERIES.pool_mean("running", 0.5, 0.5),
        QUERIES.pool_resets(),
        QUERIES.pool_models(),
    ]
    for query in asked:
        assert 'inferencefleet_io_fleet!=""' in query
        assert "by (namespace, inferencefleet_io_fleet" in query


def test_a_renamed_metric_is_asked_for_under_both_names() -> None:
    assert "vllm:kv_cache_usage_perc" in QUERIES.kv_cache_usage_max()
    assert "vllm:gpu_cache_usage_perc" in QUERIES.kv_cache_usage_max()
    assert "vllm:time_per_output_token_seconds_bucket" in QUERIES.histogram("itl")
    assert "vllm:time_per_output_token_seconds_sum" in QUERIES.pool_rate("itl", "_sum")
    assert "vllm:gpu_prefix_cache_hits_total" in QUERIES.pool_prefix_hit_ratio()


def test_halves_of_a_window_are_asked_for_one_after_the_other() -> None:
    assert "[30s] offset 30s" in QUERIES.pool_mean("running", 0.5, 0.5)
    assert "offset" not in QUERIES.pool_mean("running", 0.5)
