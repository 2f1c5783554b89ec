"""Names of metrics in the sources, and what reads them here."""

from __future__ import annotations

from dataclasses import dataclass

from inferencefleet.adapters.prometheus.queries import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricName:
    """A metric that S4 names."""

    quoted: str
    state: str
    ours: str | None
    """Key of the query vocabulary that reads it or its successor; None when it is not read."""
    first_name: str | None = None
    """The name that is asked for first."""


METRICS: tuple[MetricName, ...] = (
    MetricName(quoted="vllm:num_requests_waiting", state="current", ours="waiting", first_name="num_requests_waiting"),
    MetricName(
        quoted="vllm:gpu_cache_usage_perc",
        state="renamed in 0.9.2 and gone since 0.12; still read from old versions",
        ours="kv_cache_usage",
        first_name="kv_cache_usage_perc",
    ),
    MetricName(
        quoted="vllm:num_preempted_seqs_total",
        state="never existed in vLLM's V1 engine. It counts requests that are computed again, not dropped",
        ours="preemptions",
        first_name="num_preemptions_total",
    ),
    MetricName(
        quoted="vllm:generation_tokens_total",
        state="current",
        ours="output_tokens",
        first_name="generation_tokens_total",
    ),
    MetricName(
        quoted="vllm:prompt_tokens_total", state="current", ours="prompt_tokens", first_name="prompt_tokens_total"
    ),
    MetricName(quoted="gpu_queue_depth", state="an invented name for a custom metric", ours=None),
    MetricName(quoted="DCGM_FI_DEV_GPU_UTIL", state="exists, and misleads", ours=None),
    MetricName(quoted='grep -E "vllm_"', state="finds nothing: the names have a colon, vllm:", ours=None),
)
PREFIX = Vocabulary().prefix
