"""Prometheus as the operator sees it: the answers to its queries, assembled by the operator's own code."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from inferencefleet.adapters.prometheus.assemble import Answers, assemble
from inferencefleet.adapters.prometheus.queries import Queries, Vocabulary
from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.observation import FleetMetrics, Histogram, MetricsGap
from inferencefleet.simulator.replay.scrapes import Rates, Scrapes
from inferencefleet.simulator.servers import Floats

MAX_AGE_S = 60
LONG_WINDOW_S = 3600.0
LONG_EVERY_S = 30.0
"""The attainment window is read no more often than this, as the operator does."""
_SHAPES = {"prompt_length": "prompt", "output_length": "output", "ttft": "ttft", "itl": "itl", "e2e": "e2e"}
_WINDOW = {
    "requests_per_s": "finished", "prompts_per_s": "ttft_hist", "prompt_tokens_per_s": "prompt_tokens",
    "output_tokens_per_s": "output_tokens", "scheduled_tokens_per_s": "computed_tokens",
    "preemptions_per_s": "preemptions", "itl_seconds_per_s": "itl_sum", "itl_intervals_per_s": "itl_hist",
    "prefill_seconds_per_s": "prefill_seconds", "prefills_per_s": "prefills", "ttft_seconds_per_s": "ttft_sum",
}  # fmt: skip
"""Fields of `PoolWindow` and the counters behind them; of a histogram its count."""
_LONG = {"ttft_long": "ttft", "itl_long": "itl", "e2e_long": "e2e"}

UNREACHABLE = MetricsGap(
    code="PrometheusUnreachable",
    sentence="Prometheus cannot be queried: connection timed out; check the address, that the server runs, and that a "
    "network policy lets the operator reach it",
)


class Prometheus:
    """The metrics of one fleet. Reading is the whole round of queries of one tick."""

    def __init__(self, fleet: Fleet, scrapes: Scrapes, *, window_s: float, start_epoch_s: float) -> None:
        self.scrapes = scrapes
        self._fleet = fleet
        self._epoch_s = start_epoch_s
        self._queries = Queries(Vocabulary(), window_s=round(window_s), max_age_s=MAX_AGE_S)
        self._window_s = window_s
        self._long: deque[tuple[float, Floats]] = deque([(0.0, np.zeros(scrapes.columns.width))])
        self._long_shown: dict[str, Mapping[FleetKey, Histogram]] = {}
        self._rates: tuple[float, Rates] | None = None

    def rates(self, now_s: float) -> Rates:
        """Of the rate window; computed once for all that ask at the same moment."""
        if self._rates is None or self._rates[0] != now_s:
            self._rates = (now_s, self.scrapes.increases(now_s, self._window_s))
        return self._rates[1]

    def histogram(self, name: str, now_s: float) -> Histogram | None:
        """`prompt`, `output`, `ttft`, `itl`, `tpot` or `e2e` over the rate window; None without a rate."""
        rates = self.rates(now_s)
        return self._histogram(name, rates.increases.sum(axis=0)) if rates.rows.size else None

    def read(self, now_s: float) -> FleetMetrics | MetricsGap:
        self.scrapes.forget(now_s)
        self._refresh_long(now_s)
        seen = self.scrapes.visible(now_s)
        fresh = seen[self.scrapes.last_s[seen] >= now_s - MAX_AGE_S]
        answers = Answers(
            at_s=self._epoch_s + now_s,
            pools=self._gauges(seen, fresh),
            fleets=self._fleet_rates(now_s),
            histograms={
                name: {self._fleet.key: shape}
                for name, family in _SHAPES.items()
                if (shape := self.histogram(family, now_s)) is not None
            }
            | self._long_shown,
            windows=self._windows(now_s),
            models=dict.fromkeys(self._by_pool(fresh, self.scrapes.last_s[fresh]), (self._fleet.served_name,)),
        )
        return assemble(self._fleet.key, answers, self._queries)

    # -- pieces ----------------------------------------------------------------------------------------------------

    def _by_pool(self, rows: NDArray[np.intp], values: Floats) -> dict[tuple[FleetKey, str], Floats]:
        """The entries of each pool that these pods are in."""
        pools = self.scrapes.pool_of[rows]
        return {
            (self._fleet.key, name): values[pools == index]
            for index, name in enumerate(self.scrapes.pool_names)
            if (pools == index).any()
        }

    def _gauges(self, seen: NDArray[np.intp], fresh: NDArray[np.intp]) -> dict[str, dict[tuple[FleetKey, str], float]]:
        times = self.scrapes.last_s + self._epoch_s
        by_pool = self._by_pool(fresh, self.scrapes.last_gauges[fresh])
        fresh_times = self._by_pool(fresh, times[fresh])
        return {
            "newest": {pool: float(values.max()) for pool, values in self._by_pool(seen, times[seen]).items()},
            "oldest": {pool: float(values.min()) for pool, values in fresh_times.items()},
            "engines": {pool: float(values.size) for pool, values in fresh_times.items()},
            "running": {pool: float(values[:, 0].sum()) for pool, values in by_pool.items()},
            "waiting": {pool: float(values[:, 1].sum()) for pool, values in by_pool.items()},
            "kv_cache_usage_mean": {pool: float(values[:, 2].mean()) for pool, values in by_pool.items()},
            "kv_cache_usage_max": {pool: float(values[:, 2].max()) for pool, values in by_pool.items()},
        }

    def _fleet_rates(self, now_s: float) -> dict[str, dict[FleetKey, float]]:
        found = {"in_system_growth": self.scrapes.growth(now_s, self._window_s)} | dict.fromkeys(
            ("completions", "prompt_tokens", "output_tokens", "preemptions", "prefix_hit_ratio")
        )
        rates = self.rates(now_s)
        if rates.rows.size:
            per_s = rates.increases.sum(axis=0) / self._window_s
            at = self.scrapes.columns.at
            found["completions"] = float(per_s[at["finished"]])
            for name in ("prompt_tokens", "output_tokens", "preemptions"):
                found[name] = float(per_s[at[name]])
            found["prefix_hit_ratio"] = _ratio(per_s[at["prefix_hits"]], per_s[at["prefix_queries"]])
        return {name: {} if value is None else {self._fleet.key: value} for name, value in found.items()}

    def _windows(self, now_s: float) -> dict[str, dict[tuple[FleetKey, str], float]]:
        """By the names of `PoolWindow`."""
        rates, columns = self.rates(now_s), self.scrapes.columns
        found: dict[str, dict[tuple[FleetKey, str], float]] = {name: {} for name in (*_WINDOW, "prefix_hit_ratio")}
        for pool, increases in self._by_pool(rates.rows, rates.increases).items():
            per_s = increases.sum(axis=0) / self._window_s
            for name, column in _WINDOW.items():
                index = columns.at[column] if column in columns.at else columns.slices[column].stop - 1
                found[name][pool] = float(per_s[index])
            ratio = _ratio(per_s[columns.at["prefix_hits"]], per_s[columns.at["prefix_queries"]])
            if ratio is not None:
                found["prefix_hit_ratio"][pool] = ratio
        half = self._window_s / 2
        for name, gauge, from_s, to_s in (
            ("running_early", "running", self._window_s, half),
            ("running_late", "running", half, 0.0),
            ("waiting_mean", "waiting", self._window_s, 0.0),
        ):
            rows, means = self.scrapes.gauge_means(gauge, now_s, from_s, to_s)
            found[name] = {pool: float(values.sum()) for pool, values in self._by_pool(rows, means).items()}
        # A replica that starts again is a new pod here, so no counter of a pod ever starts again.
        found["resets"] = dict.fromkeys(found["waiting_mean"], 0.0)
        return found

    def _refresh_long(self, now_s: float) -> None:
        if now_s - self._long[-1][0] < LONG_EVERY_S:
            return
        self._long.append((now_s, self.scrapes.long_now.copy()))
        while self._long[1][0] <= now_s - LONG_WINDOW_S:
            self._long.popleft()
        rise = self._long[-1][1] - self._long[0][1]
        cumulative = self.scrapes.columns.cumulative(rise[None, :])[0]
        known = bool((self.scrapes.last_s > -np.inf).any())
        self._long_shown = {
            name: {self._fleet.key: self._histogram(family, cumulative)} for name, family in _LONG.items() if known
        }

    def _histogram(self, name: str, cumulative: Floats) -> Histogram:
        columns = self.scrapes.columns
        upto = np.maximum.accumulate(cumulative[columns.slices[f"{name}_hist"]])
        return Histogram(
            bounds=columns.bounds[f"{name}_hist"],
            counts=(float(upto[0]), *(upto[1:] - upto[:-1]).tolist()),
            total=float(upto[-1]),
            sum=float(cumulative[columns.at[f"{name}_sum"]]),
        )

    def pod_means(self, now_s: float) -> Mapping[int, tuple[float, float]]:
        """By row: mean prompt and output tokens of what finished in the last five minutes; 0 = nothing did."""
        rows, means = self.scrapes.means(now_s, ("prompt_sum", "output_sum"), "finished")
        return {row: (prompt, output) for row, (prompt, output) in zip(rows.tolist(), means.tolist(), strict=True)}


def _ratio(over: float, under: float) -> float | None:
    """0/0 is NaN in Prometheus, which the operator takes for unknown."""
    return float(over / under) if under > 0 else None
