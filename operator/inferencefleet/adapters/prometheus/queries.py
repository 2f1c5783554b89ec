"""PromQL, as pure functions: one query per metric for all fleets at once.

vLLM renamed metrics between versions, and a fleet may run two versions during a rollout. So each query takes the new
name `or` the old one, pod by pod: `or` keeps the series of the left side and adds those of pods that lack it.
Counters are rated for each pod before they are summed, because they start again with every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMES: Mapping[str, tuple[str, ...]] = {
    "running": ("num_requests_running",),
    "waiting": ("num_requests_waiting",),
    "kv_cache_usage": ("kv_cache_usage_perc", "gpu_cache_usage_perc"),
    "finished": ("request_success_total",),
    "prompt_tokens": ("prompt_tokens_total",),
    "output_tokens": ("generation_tokens_total",),
    "preemptions": ("num_preemptions_total",),
    "prefix_hits": ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total"),
    "prefix_queries": ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
    "prompt_length": ("request_prompt_tokens",),
    "output_length": ("request_generation_tokens",),
    "ttft": ("time_to_first_token_seconds",),
    "itl": ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    "e2e": ("e2e_request_latency_seconds",),
    "prefill": ("request_prefill_time_seconds",),
    "scheduled_tokens": ("iteration_tokens_total_sum",),
}
"""By our own name: vLLM's names, the newest first."""

MODEL_LABEL = "model_name"
"""vLLM's own label: the first served name."""

SUM = "sum"
"""Value of the `le` label that carries the sum of a histogram, so that one query brings both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What the series are called in this installation."""

    prefix: str = "vllm:"
    namespace_label: str = "namespace"
    fleet_label: str = "inferencefleet_io_fleet"
    pool_label: str = "inferencefleet_io_pool"
    instance_label: str = "instance"
    """What tells one pod from another."""
    matchers: Mapping[str, str] = field(default_factory=dict)
    """More labels that a series must carry, for example `cluster` in a shared Prometheus."""


@dataclass(frozen=True, slots=True)
class Queries:
    """All queries of one round."""

    words: Vocabulary
    window_s: int
    max_age_s: int

    # Gauges of each pool.

    def newest(self) -> str:
        """Time of the newest sample: tells a stale fleet from one that has no series."""
        return f"max by ({self._by_pool}) ({self._either('running', 'timestamp({})')})"

    def oldest(self) -> str:
        """Time of the oldest sample that is still used."""
        return (
            f"min by ({self._by_pool}) ({self._either('running', f'(timestamp({{}}) >= time() - {self.max_age_s})')})"
        )

    def engines(self) -> str:
        pods = f"count by ({self._by_pool}, {self.words.instance_label}) ({self._fresh('running')})"
        return f"count by ({self._by_pool}) ({pods})"

    def running(self) -> str:
        return f"sum by ({self._by_pool}) ({self._fresh('running')})"

    def waiting(self) -> str:
        return f"sum by ({self._by_pool}) ({self._fresh('waiting')})"

    def kv_cache_usage_mean(self) -> str:
        return f"avg by ({self._by_pool}) ({self._kv_of_each_pod()})"

    def kv_cache_usage_max(self) -> str:
        return f"max by ({self._by_pool}) ({self._kv_of_each_pod()})"

    # The rate window of each pool, for calibration.

    def pool_rate(self, name: str, suffix: str = "", matcher: str = "") -> str:
        """Increase per second of a counter, or of the `_sum` or `_count` of a histogram."""
        return f"sum by ({self._by_pool}) ({self._rate(name, matcher, suffix)})"

    def pool_completions(self) -> str:
        return self.pool_rate("finished", matcher='finished_reason!="abort"')

    def pool_prefix_hit_ratio(self) -> str:
        hits, asked = (self.pool_rate(name) for name in ("prefix_hits", "prefix_queries"))
        return f"{hits} / {asked}"

    def pool_mean(self, name: str, share: float = 1.0, offset_share: float = 0.0) -> str:
        """Mean of a gauge over a part of the window, summed over pods."""
        over_s, back_s = max(1, round(share * self.window_s)), round(offset_share * self.window_s)
        offset = f" offset {back_s}s" if back_s else ""
        return f"sum by ({self._by_pool}) ({self._either(name, f'avg_over_time({{}}[{over_s}s]{offset})')})"

    def pool_resets(self) -> str:
        return f"sum by ({self._by_pool}) ({self._either('output_tokens', f'resets({{}}[{self.window_s}s])')})"

    def pool_models(self) -> str:
        return f"count by ({self._by_pool}, {MODEL_LABEL}) ({self._fresh('running')})"

    # Rates of each fleet.

    def completions(self, window_s: int | None = None) -> str:
        finished = self._rate("finished", 'finished_reason!="abort"', window_s=window_s)
        return f"sum by ({self._by_fleet}) ({finished})"

    def in_system_growth(self) -> str:
        """Slope of running + waiting of the whole fleet.

        Over the sum, not for each pod: a pod that left took no requests out of the world, they finished or moved.
        """
        step = max(1, self.window_s // 12)
        total = " + ".join(f"sum by ({self._by_fleet}) ({self._series(name)})" for name in ("running", "waiting"))
        return f"deriv(({total})[{self.window_s}s:{step}s])"

    def prompt_tokens(self) -> str:
        return f"sum by ({self._by_fleet}) ({self._rate('prompt_tokens')})"

    def output_tokens(self) -> str:
        return f"sum by ({self._by_fleet}) ({self._rate('output_tokens')})"

    def preemptions(self) -> str:
        return f"sum by ({self._by_fleet}) ({self._rate('preemptions')})"

    def prefix_hit_ratio(self) -> str:
        """0/0 is NaN, which the parser takes for unknown."""
        hits, asked = (f"sum by ({self._by_fleet}) ({self._rate(name)})" for name in ("prefix_hits", "prefix_queries"))
        return f"{hits} / {asked}"

    # Histograms of each fleet.

    def histogram(self, name: str, window_s: int | None = None) -> str:
        """Increase of every bucket, and of the sum under `le="sum"`."""
        over = f"[{window_s or self.window_s}s]"
        buckets = " or ".join(f"increase({self._one(metric + '_bucket')}{over})" for metric in NAMES[name])
        total = " or ".join(f"increase({self._one(metric + '_sum')}{over})" for metric in NAMES[name])
        return (
            f"sum by ({self._by_fleet}, le) ({buckets})"
            f' or label_replace(sum by ({self._by_fleet}) ({total}), "le", "{SUM}", "", "")'
        )

    # Pieces.

    @property
    def _by_fleet(self) -> str:
        return f"{self.words.namespace_label}, {self.words.fleet_label}"

    @property
    def _by_pool(self) -> str:
        return f"{self._by_fleet}, {self.words.pool_label}"

    def _one(self, metric: str, matcher: str = "") -> str:
        """One metric of all pods that belong to a fleet."""
        pairs = [f'{self.words.fleet_label}!=""']
        pairs += [f"{label}={quoted(value)}" for label, value in self.words.matchers.items()]
        pairs += [matcher] if matcher else []
        return f"{self.words.prefix}{metric}{{{','.join(pairs)}}}"

    def _either(self, name: str, around: str) -> str:
        return " or ".join(around.format(self._one(metric)) for metric in NAMES[name])

    def _series(self, name: str) -> str:
        return self._either(name, "{}")

    def _fresh(self, name: str) -> str:
        """Only samples within the age limit: Prometheus would show the last one for five minutes."""
        return " or ".join(
            f"({series} unless (timestamp({series}) < time() - {self.max_age_s}))"
            for series in (self._one(metric) for metric in NAMES[name])
        )

    def _rate(self, name: str, matcher: str = "", suffix: str = "", window_s: int | None = None) -> str:
        over = f"[{window_s or self.window_s}s]"
        return " or ".join(f"rate({self._one(metric + suffix, matcher)}{over})" for metric in NAMES[name])

    def _kv_of_each_pod(self) -> str:
        """The largest of its series: with several API servers some releases export idle copies that stay at 0."""
        return f"max by ({self._by_pool}, {self.words.instance_label}) ({self._fresh('kv_cache_usage')})"


def quoted(value: str) -> str:
    """A PromQL string literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
