"""The text on /metrics against a genuine scrape of vLLM 0.29: names, types, labels and meaning."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inferencefleet.simulator.exposition import Exposure, render
from inferencefleet.simulator.histogram import token_bounds
from inferencefleet.simulator.request import Request
from tests.unit.simulator.test_engine import engine_with, run

# Families of the genuine scrape with their types; `_created` gauges left out. Missing here on purpose: external prefix
# cache, multi-modal cache and estimated FLOPs, which nothing reads.
GENUINE = {
    "vllm:num_requests_running": "gauge",
    "vllm:num_requests_waiting": "gauge",
    "vllm:num_requests_waiting_by_reason": "gauge",
    "vllm:engine_sleep_state": "gauge",
    "vllm:kv_cache_usage_perc": "gauge",
    "vllm:prefix_cache_queries": "counter",
    "vllm:prefix_cache_hits": "counter",
    "vllm:num_preemptions": "counter",
    "vllm:prompt_tokens": "counter",
    "vllm:prompt_tokens_by_source": "counter",
    "vllm:prompt_tokens_cached": "counter",
    "vllm:generation_tokens": "counter",
    "vllm:request_success": "counter",
    "vllm:request_prompt_tokens": "histogram",
    "vllm:request_generation_tokens": "histogram",
    "vllm:iteration_tokens_total": "histogram",
    "vllm:request_max_num_generation_tokens": "histogram",
    "vllm:request_params_n": "histogram",
    "vllm:request_params_max_tokens": "histogram",
    "vllm:time_to_first_token_seconds": "histogram",
    "vllm:inter_token_latency_seconds": "histogram",
    "vllm:request_time_per_output_token_seconds": "histogram",
    "vllm:e2e_request_latency_seconds": "histogram",
    "vllm:request_queue_time_seconds": "histogram",
    "vllm:request_inference_time_seconds": "histogram",
    "vllm:request_prefill_time_seconds": "histogram",
    "vllm:request_decode_time_seconds": "histogram",
    "vllm:request_prefill_kv_computed_tokens": "histogram",
    "vllm:cache_config_info": "gauge",
}
EXPOSURE = Exposure(model_name='a "model"', created_s=1.5e9)


def busy_text() -> str:
    engine = engine_with(kv_blocks=200, max_num_batched_tokens=256, step_noise=0.0)
    load = [
        Request(id=n, arrival_s=0.2 * n, prompt_tokens=100, output_tokens=20, cached_tokens=32, finish_reason="length")
        for n in range(5)
    ]
    run(engine, load)
    return render(engine, EXPOSURE)


def test_every_family_of_the_genuine_scrape_is_there_with_its_type() -> None:
    families = {family.name: family.type for family in text_string_to_metric_families(busy_text())}
    assert {name: kind for name, kind in families.items() if not name.endswith("_created")} == GENUINE


def test_labels_are_those_of_vllm() -> None:
    for family in text_string_to_metric_families(busy_text()):
        for sample in family.samples:
            assert sample.labels["engine"] == "0"
            assert sample.labels["model_name"] == 'a "model"'


def test_counters_and_histograms_tell_what_happened() -> None:
    values = {
        (sample.name, *(sample.labels.get(key, "") for key in ("le", "finished_reason", "source"))): sample.value
        for family in text_string_to_metric_families(busy_text())
        for sample in family.samples
    }
    assert values["vllm:request_success_total", "", "length", ""] == 5
    assert values["vllm:prompt_tokens_total", "", "", ""] == 500
    assert values["vllm:prompt_tokens_by_source_total", "", "", "local_cache_hit"] == 160
    assert values["vllm:generation_tokens_total", "", "", ""] == 100
    assert values["vllm:inter_token_latency_seconds_count", "", "", ""] == 95
    assert values["vllm:inter_token_latency_seconds_bucket", "0.025", "", ""] == 95
    assert values["vllm:inter_token_latency_seconds_sum", "", "", ""] == pytest.approx(95 * 0.0101, rel=0.1)
    assert values["vllm:request_prompt_tokens_bucket", "50.0", "", ""] == 0
    assert values["vllm:request_prompt_tokens_bucket", "100.0", "", ""] == 5
    assert values["vllm:e2e_request_latency_seconds_bucket", "+Inf", "", ""] == 5
    assert values["vllm:num_requests_running", "", "", ""] == 0


def test_the_cache_size_is_told_in_blocks_and_tokens() -> None:
    families = {family.name: family for family in text_string_to_metric_families(busy_text())}
    labels = families["vllm:cache_config_info"].samples[0].labels
    assert (labels["num_gpu_blocks"], labels["block_size"], labels["kv_cache_size_tokens"]) == ("200", "16", "3200")


def test_everything_is_zero_and_present_before_the_first_request() -> None:
    families = list(text_string_to_metric_families(render(engine_with(), EXPOSURE)))
    assert {family.name for family in families if not family.name.endswith("_created")} == set(GENUINE)
    running = next(family for family in families if family.name == "vllm:time_to_first_token_seconds")
    assert all(sample.value == 0 for sample in running.samples)


def test_token_bounds_end_at_the_longest_sequence() -> None:
    assert token_bounds(4096) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def test_custom_buckets_put_a_bound_on_the_slo() -> None:
    engine = engine_with()
    engine.metrics.rebucket({"inter_token_latency": (0.06, 0.03)})
    text = render(engine, EXPOSURE)
    bounds = [
        sample.labels["le"]
        for family in text_string_to_metric_families(text)
        if family.name == "vllm:inter_token_latency_seconds"
        for sample in family.samples
        if sample.name.endswith("_bucket")
    ]
    assert bounds == ["0.03", "0.06", "+Inf"]
