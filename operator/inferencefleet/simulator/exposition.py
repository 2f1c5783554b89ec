"""`/metrics` of vLLM V1 (0.29), written as text; names, labels, order and HELP follow a real scrape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferencefleet.simulator.engine import Engine
from inferencefleet.simulator.histogram import Accumulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What the text says beside the engine's own numbers."""

    model_name: str
    created_s: float
    """Epoch seconds of the process start: counters restarted at 0 then."""
    gpu_memory_utilization: float = 0.9
    kv_cache_tokens: int = 0
    cache_dtype: str = "auto"
    prefix_caching: bool = True


def render(engine: Engine, exposure: Exposure) -> str:
    lines: list[str] = []
    writer = _Writer(lines, exposure)
    _gauges(writer, engine)
    _counters(writer, engine)
    _histograms(writer, engine)
    writer.sample("cache_config_info", "Information of the LLMEngine CacheConfig", "gauge", _cache(engine, exposure), 1)
    lines.append("")
    return "\n".join(lines)


def _gauges(out: _Writer, engine: Engine) -> None:
    out.sample(
        "num_requests_running", "Number of requests in model execution batches.", "gauge", {}, len(engine.running)
    )
    waiting = len(engine.waiting)
    out.sample("num_requests_waiting", "Number of requests waiting to be processed.", "gauge", {}, waiting)
    out.head("num_requests_waiting_by_reason", "Number of waiting requests by reason.", "gauge")
    out.value("num_requests_waiting_by_reason", {"reason": "capacity"}, waiting)
    out.value("num_requests_waiting_by_reason", {"reason": "deferred"}, 0)
    out.head("engine_sleep_state", "Engine sleep state; awake = 1 means engine is awake.", "gauge")
    for state in ("awake", "weights_offloaded", "discard_all"):
        out.value("engine_sleep_state", {"sleep_state": state}, int(state == "awake"))
    out.sample("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", "gauge", {}, engine.kv.usage)


def _counters(out: _Writer, engine: Engine) -> None:
    counts = engine.metrics
    queried = "Prefix cache queries, in terms of number of queried tokens."
    out.counter("prefix_cache_queries", queried, [({}, counts.prefix_queries)])
    out.counter(
        "prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.", [({}, counts.prefix_hits)]
    )
    out.counter("num_preemptions", "Cumulative number of preemption from the engine.", [({}, counts.preemptions)])
    out.counter("prompt_tokens", "Number of prefill tokens processed.", [({}, counts.prompt_tokens)])
    sources = (
        ({"source": "local_compute"}, counts.prompt_tokens - counts.cached_tokens),
        ({"source": "local_cache_hit"}, counts.cached_tokens),
        ({"source": "external_kv_transfer"}, 0),
    )
    out.counter("prompt_tokens_by_source", "Number of prompt tokens by source.", list(sources))
    cached = "Number of cached prompt tokens (local + external)."
    out.counter("prompt_tokens_cached", cached, [({}, counts.cached_tokens)])
    out.counter("generation_tokens", "Number of generation tokens processed.", [({}, counts.generation_tokens)])
    reasons = [({"finished_reason": reason}, count) for reason, count in counts.finished.items()]
    out.counter("request_success", "Count of successfully processed requests.", reasons)


def _histograms(out: _Writer, engine: Engine) -> None:
    counts = engine.metrics
    out.histogram("request_prompt_tokens", "Number of prefill tokens processed.", counts.request_prompt_tokens)
    out.histogram(
        "request_generation_tokens", "Number of generation tokens processed.", counts.request_generation_tokens
    )
    out.histogram("iteration_tokens_total", "Histogram of number of tokens per engine_step.", counts.iteration_tokens)
    out.histogram(
        "request_max_num_generation_tokens",
        "Histogram of maximum number of requested generation tokens.",
        counts.request_max_tokens,
    )
    out.histogram("request_params_n", "Histogram of the n request parameter.", counts.request_choices)
    out.histogram(
        "request_params_max_tokens", "Histogram of the max_tokens request parameter.", counts.request_max_tokens
    )
    out.histogram("time_to_first_token_seconds", "Histogram of time to first token in seconds.", counts.ttft)
    out.histogram("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", counts.itl)
    out.histogram(
        "request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        counts.time_per_output_token,
    )
    out.histogram("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", counts.e2e)
    for phase, accumulator in (
        ("queue", counts.queue),
        ("inference", counts.inference),
        ("prefill", counts.prefill),
        ("decode", counts.decode),
    ):
        state = "RUNNING" if phase == "inference" else "WAITING" if phase == "queue" else phase.upper()
        out.histogram(
            f"request_{phase}_time_seconds", f"Histogram of time spent in {state} phase for request.", accumulator
        )
    out.histogram(
        "request_prefill_kv_computed_tokens",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        counts.request_computed_tokens,
    )


def _cache(engine: Engine, exposure: Exposure) -> dict[str, str]:
    tokens = exposure.kv_cache_tokens or engine.kv.total * engine.kv.block_size
    return {
        "block_size": str(engine.kv.block_size),
        "cache_dtype": exposure.cache_dtype,
        "enable_prefix_caching": str(exposure.prefix_caching),
        "gpu_memory_utilization": str(exposure.gpu_memory_utilization),
        "kv_cache_max_concurrency": str(tokens / engine.config.max_model_len_tokens),
        "kv_cache_memory_bytes": "None",
        "kv_cache_size_tokens": str(tokens),
        "num_cpu_blocks": "None",
        "num_gpu_blocks": str(engine.kv.total),
        "num_gpu_blocks_override": "None",
        "sliding_window": "None",
    }


class _Writer:
    def __init__(self, lines: list[str], exposure: Exposure) -> None:
        self._lines = lines
        self._model_name = exposure.model_name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self._created = repr(exposure.created_s)

    def _labels(self, extra: Mapping[str, str]) -> str:
        labels = {"engine": "0", "model_name": self._model_name, **extra}
        return ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))

    def head(self, name: str, text: str, kind: str) -> None:
        self._lines.append(f"# HELP vllm:{name} {text}")
        self._lines.append(f"# TYPE vllm:{name} {kind}")

    def value(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self._lines.append(f"vllm:{name}{{{self._labels(labels)}}} {float(value)!r}")

    def sample(self, name: str, text: str, kind: str, labels: Mapping[str, str], value: float) -> None:
        self.head(name, text, kind)
        self.value(name, labels, value)

    def counter(self, name: str, text: str, samples: list[tuple[dict[str, str], int]]) -> None:
        self.head(f"{name}_total", text, "counter")
        for labels, value in samples:
            self.value(f"{name}_total", labels, value)
        self.head(f"{name}_created", text, "gauge")
        for labels, _ in samples:
            self._lines.append(f"vllm:{name}_created{{{self._labels(labels)}}} {self._created}")

    def histogram(self, name: str, text: str, accumulator: Accumulator) -> None:
        self.head(name, text, "histogram")
        before, after = f'vllm:{name}_bucket{{engine="0",le="', f'",model_name="{self._model_name}"}} '
        running = 0
        for bound, count in zip((*accumulator.bounds, "+Inf"), accumulator.counts, strict=True):
            running += count
            self._lines.append(f"{before}{bound}{after}{running}.0")
        labels = self._labels({})
        self._lines.append(f"vllm:{name}_count{{{labels}}} {running}.0")
        self._lines.append(f"vllm:{name}_sum{{{labels}}} {accumulator.sum!r}")
        self.head(f"{name}_created", text, "gauge")
        self._lines.append(f"vllm:{name}_created{{{labels}}} {self._created}")
