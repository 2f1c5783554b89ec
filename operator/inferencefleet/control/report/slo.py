"""How far each SLO is kept, from the histograms that Prometheus has."""

from __future__ import annotations

from dataclasses import dataclass

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.observation import FleetMetrics, Histogram, MetricsGap
from inferencefleet.domain.slo import Slo, SloMetric

ENOUGH = {SloMetric.TTFT: 30.0, SloMetric.ITL: 3000.0, SloMetric.E2E: 30.0}
"""Requests, or tokens, from which on a rate window says something about a percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SloReading:
    """One SLO against one histogram. `share` is the share of values within the target, None = no data."""

    slo: Slo
    share: float | None
    at_percentile_s: float | None

    @property
    def holds(self) -> bool:
        return self.share is not None and self.share >= self.slo.percentile / 100

    @property
    def sentence(self) -> str:
        if self.share is None or self.at_percentile_s is None:
            return f"{self.slo}: no data"
        return f"{self.slo}: {100 * self.share:.1f}% within, p{self.slo.percentile} is {_human(self.at_percentile_s)}"


def read_slos(fleet: Fleet, metrics: FleetMetrics | MetricsGap, *, long: bool) -> tuple[SloReading, ...]:
    """One reading for each SLO; `long` reads the attainment window instead of the rate window.

    A rate window with few values says too little about a percentile: the attainment window stands in. One without any
    says nothing, and yesterday's traffic does not either.
    """
    if isinstance(metrics, MetricsGap):
        return tuple(SloReading(slo=slo, share=None, at_percentile_s=None) for slo in fleet.slos)
    return tuple(_read(slo, _histogram(slo.metric, metrics, long)) for slo in fleet.slos)


def attained_share(readings: tuple[SloReading, ...]) -> float | None:
    """The smallest share over all SLOs that have data."""
    return min((reading.share for reading in readings if reading.share is not None), default=None)


def _read(slo: Slo, histogram: Histogram | None) -> SloReading:
    if histogram is None:
        return SloReading(slo=slo, share=None, at_percentile_s=None)
    return SloReading(
        slo=slo, share=histogram.share_at_most(slo.target_s), at_percentile_s=histogram.quantile(slo.percentile / 100)
    )


def _histogram(metric: SloMetric, metrics: FleetMetrics, long: bool) -> Histogram | None:
    short, over_long = metrics.histogram(metric), metrics.histogram(metric, long=True)
    few = short is not None and 0 < short.total < ENOUGH[metric]
    return over_long if long or few else short


def _human(seconds: float) -> str:
    return f"{1000 * seconds:.0f}ms" if seconds < 1 else f"{seconds:.2f}s"
