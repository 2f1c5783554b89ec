"""`status.observed`: what Prometheus says, rounded to what it can know."""

from __future__ import annotations

from typing import Any

from inferencefleet.api.times import to_timestamp
from inferencefleet.domain.observation import FleetMetrics, Histogram, MetricsGap
from inferencefleet.domain.plan import Demand


def observed_block(
    metrics: FleetMetrics | MetricsGap, share: float | None, demand: Demand | None
) -> dict[str, Any] | None:
    """None while metrics are missing: absent is unknown, not zero."""
    if isinstance(metrics, MetricsGap):
        return None
    usages = [pool.kv_cache_usage_mean for pool in metrics.pools.values() if pool.kv_cache_usage_mean is not None]
    return {
        "asOf": to_timestamp(metrics.at_s),
        "requestsPerSecond": _rounded(demand.arrivals_per_s if demand and demand.observed else None, 2),
        "promptTokensMean": _rounded(metrics.prompt_tokens.mean if metrics.prompt_tokens else None, 0),
        "outputTokensMean": _rounded(metrics.output_tokens.mean if metrics.output_tokens else None, 0),
        "prefixHitRatio": _rounded(metrics.prefix_hit_ratio, 3),
        "waiting": metrics.waiting,
        "running": metrics.running,
        "kvCacheUsage": _rounded(sum(usages) / len(usages) if usages else None, 3),
        "ttft": _latency(metrics.ttft_s),
        "itl": _latency(metrics.itl_s),
        "e2e": _latency(metrics.e2e_s),
        "attainment": _rounded(share, 4),
    }


def _latency(histogram: Histogram | None) -> dict[str, float | None] | None:
    if histogram is None or histogram.total <= 0:
        return None
    return {f"p{p}Seconds": _rounded(histogram.quantile(p / 100), 4) for p in (50, 90, 95, 99)}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
