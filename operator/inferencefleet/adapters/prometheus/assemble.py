"""One fleet's metrics out of the answers to all queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inferencefleet.adapters.prometheus.queries import Queries
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import FleetMetrics, Histogram, MetricsGap, PoolMetrics, PoolWindow

PoolValues = Mapping[tuple[FleetKey, str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One round, parsed: by query name."""

    at_s: float
    """When Prometheus evaluated the queries."""
    pools: Mapping[str, PoolValues]
    fleets: Mapping[str, Mapping[FleetKey, float]]
    histograms: Mapping[str, Mapping[FleetKey, Histogram]]
    windows: Mapping[str, PoolValues] = field(default_factory=lambda: MappingProxyType({}))
    """Rates and means of each pool by the names of `PoolWindow`; empty when they could not be read."""
    models: Mapping[tuple[FleetKey, str], tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


def assemble(key: FleetKey, answers: Answers, queries: Queries) -> FleetMetrics | MetricsGap:
    """Metrics when at least one engine was heard within the age limit, else the gap that says what is wrong."""
    newest = [at for (fleet, _), at in answers.pools["newest"].items() if fleet == key]
    if not newest:
        return MetricsGap(
            code="NoSamples",
            sentence=f"Prometheus has no series {queries.words.prefix}* with {queries.words.namespace_label}="
            f"{key.namespace!r} and {queries.words.fleet_label}={key.name!r}; if pods are ready, check that they are "
            f"scraped and that the scrape keeps the pod labels",
        )
    age_s = answers.at_s - max(newest)
    pools = _pools(key, answers, float(queries.window_s))
    if age_s > queries.max_age_s or not pools:
        return MetricsGap(
            code="StaleSamples",
            sentence=f"the newest sample is {age_s:.0f} s old, more than the {queries.max_age_s} s that are trusted; "
            f"check that Prometheus still scrapes the pods",
        )
    oldest = [at for (fleet, _), at in answers.pools["oldest"].items() if fleet == key]

    def rate(name: str) -> float | None:
        return answers.fleets[name].get(key)

    def histogram(name: str) -> Histogram | None:
        return answers.histograms.get(name, {}).get(key)

    return FleetMetrics(
        at_s=min(oldest, default=max(newest)),
        window_s=float(queries.window_s),
        pools=pools,
        completions_per_s=rate("completions"),
        in_system_growth_per_s=rate("in_system_growth"),
        prompt_tokens_per_s=rate("prompt_tokens"),
        output_tokens_per_s=rate("output_tokens"),
        preemptions_per_s=rate("preemptions"),
        prefix_hit_ratio=rate("prefix_hit_ratio"),
        prompt_tokens=histogram("prompt_length"),
        output_tokens=histogram("output_length"),
        ttft_s=histogram("ttft"),
        itl_s=histogram("itl"),
        e2e_s=histogram("e2e"),
        ttft_long_s=histogram("ttft_long"),
        itl_long_s=histogram("itl_long"),
        e2e_long_s=histogram("e2e_long"),
    )


def _pools(key: FleetKey, answers: Answers, window_s: float) -> dict[str, PoolMetrics]:
    """Pools with at least one engine that answered, and whose queue is known."""
    found = {}
    for (fleet, pool), engines in sorted(answers.pools["engines"].items()):
        running = answers.pools["running"].get((fleet, pool))
        waiting = answers.pools["waiting"].get((fleet, pool))
        if fleet != key or running is None or waiting is None:
            continue
        usage_max = answers.pools["kv_cache_usage_max"].get((fleet, pool))
        # Requests that run hold KV blocks: a gauge that says 0 then is dead, as renamed metrics were seen to be.
        dead = usage_max == 0 and running > 0
        found[pool] = PoolMetrics(
            engines=int(engines),
            running=running,
            waiting=waiting,
            kv_cache_usage_mean=None if dead else answers.pools["kv_cache_usage_mean"].get((fleet, pool)),
            kv_cache_usage_max=None if dead else usage_max,
            window=_window((fleet, pool), answers, window_s),
        )
    return found


def _window(at: tuple[FleetKey, str], answers: Answers, window_s: float) -> PoolWindow | None:
    """Latencies that stand at zero while tokens come out are those of a dead series: unknown."""
    if not answers.windows:
        return None
    values = {name: by_pool.get(at) for name, by_pool in answers.windows.items()}
    if values.get("output_tokens_per_s"):
        for name in ("itl_seconds_per_s", "itl_intervals_per_s", "prompts_per_s", "ttft_seconds_per_s"):
            values[name] = values.get(name) or None
    if not values.get("prefills_per_s"):
        values["prefill_seconds_per_s"] = values["prefills_per_s"] = None
    return PoolWindow(window_s=window_s, models=answers.models.get(at, ()), **values)
