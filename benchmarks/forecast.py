"""How well the next minutes of recorded traffic are forecast, at the quantiles that are planned for.

    python -m benchmarks.forecast [--data DIR] [--seed 1]

The forecaster sees what it would see in production: one rate a tick, over the last rate window, and nothing of the
future. Each rate is then compared with the bound that was given one horizon earlier. Coverage is the share of windows
in which the bound held and should be the quantile; pinball loss is the price of bounds that are too low or too high.

The Azure 2023 conversation trace (one hour) is in the repository. With `--data`, the folder of the ServeGen rates
(`servegen/m-large_week1_total_rate.csv`, `servegen/m-small_total_rate.csv`), two production services of one and two
weeks. Those are ten-minute means: they are interpolated, scaled to 20 requests/s on average, and each window's requests
are drawn with the variance/mean of the Azure trace, so what they test is days and weeks and not bursts.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper import REPOSITORY, Paper, Table, percent
from inferencefleet.domain.history import Points
from inferencefleet.domain.plan import Demand, Forecast
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.planning.forecast import forecast
from inferencefleet.planning.forecasting.quantile import normal_quantile
from inferencefleet.planning.forecasting.skill import PRIOR_DISPERSION
from inferencefleet.planning.forecasting.ways import WAYS, trend_ahead
from inferencefleet.planning.remember import remember_arrivals

Floats = NDArray[np.float64]
AZURE = REPOSITORY / "sandbox" / "data" / "azure_llm_2023_conv.csv.gz"
SERVEGEN = {
    "ServeGen m-large, 7 days": "servegen/m-large_week1_total_rate.csv",
    "ServeGen m-small, 14 days": "servegen/m-small_total_rate.csv",
}
HORIZONS_S = (60.0, 180.0, 600.0)
QUANTILES = (0.9, 0.95, 0.99)
WINDOW_S = 60.0
MEAN_PER_S = 20.0
RAW_S = 600.0
LOGGING_GAP = 0.02
"""Raw windows below this share of the median are gaps of the log and not traffic, as the data's authors say."""
EPOCH_S = 1_799_971_200.0
"""A midnight."""
UNCOUNTED_S = 1200.0
"""The first minutes, in which nothing can be known, are not counted."""
OTHERS = ("now + noise", "trend + noise")
ABLE = 0.85
"""Share of the windows in which a way must have had the history to speak, to be called the best one."""
WITHIN, COVERAGE = 1.05, 0.02
"""Aims: loss of the blend over that of the best single way, and distance of coverage from the quantile."""


@dataclass(frozen=True, slots=True)
class Series:
    """Rates as Prometheus would show them: at each tick, of the window before."""

    name: str
    at_s: Floats
    rate: Floats


@dataclass(slots=True)
class Score:
    """One bound over one series."""

    held: float
    loss: float
    """Requests per second."""
    windows: int


@dataclass(slots=True)
class Scores:
    """Everything for one series, horizon and quantile."""

    series: str
    horizon_s: float
    quantile: float
    by_name: dict[str, Score] = field(default_factory=dict)
    blend_where: dict[str, Score] = field(default_factory=dict)
    """The blend over the windows of which a way could say something."""

    @property
    def best_single(self) -> str:
        """The way that beats the blend most in the same windows, of those that mostly can speak."""
        able = [way for way in WAYS if self.by_name[way].windows > ABLE * self.by_name["blend"].windows]
        return max(able, key=self._over)

    @property
    def over_best(self) -> float:
        return self._over(self.best_single)

    def _over(self, way: str) -> float:
        return self.blend_where[way].loss / self.by_name[way].loss

    @property
    def off(self) -> float:
        return self.by_name["blend"].held - self.quantile


def azure(tick_s: float = 15.0) -> Series:
    with gzip.open(AZURE, "rt") as lines:
        arrivals = np.array([int(row["arrival_ms"]) / 1000 for row in csv.DictReader(lines)])
    at_s = np.arange(WINDOW_S, arrivals[-1], tick_s)
    counted = np.searchsorted(arrivals, at_s) - np.searchsorted(arrivals, at_s - WINDOW_S)
    return Series("Azure 2023 conversation, 1 hour", at_s + EPOCH_S, counted / WINDOW_S)


def servegen(name: str, path: Path, seed: int, tick_s: float = 60.0) -> Series:
    with path.open() as lines:
        rows = [(float(row["t_s"]), float(row["total_rate_rps"])) for row in csv.DictReader(lines)]
    began, rate = np.array(rows).T
    real = rate > LOGGING_GAP * np.median(rate)
    at_s = np.arange(began[0] + RAW_S / 2, began[-1] + RAW_S / 2, tick_s)
    mean = np.interp(at_s, began[real] + RAW_S / 2, rate[real] * MEAN_PER_S / rate[real].mean()) * WINDOW_S
    share = 1 / PRIOR_DISPERSION
    drawn = np.random.default_rng(seed).negative_binomial(mean * share / (1 - share), share)
    seen = real[np.minimum(np.searchsorted(began, at_s, side="right") - 1, began.size - 1)]
    return Series(name, at_s[seen] + EPOCH_S, drawn[seen] / WINDOW_S)


def replayed(series: Series, horizon_s: float, quantile: float) -> Scores:
    """Every bound is scored when its moment comes."""
    bounds = bounds_of(series, horizon_s, quantile)
    found = Scores(series.name, horizon_s, quantile)
    for name, values in bounds.items():
        found.by_name[name] = _score(series, values, horizon_s, quantile)
    for way in WAYS:
        blend = np.where(np.isnan(bounds[way]), math.nan, bounds["blend"])
        found.blend_where[way] = _score(series, blend, horizon_s, quantile)
    return found


def bounds_of(series: Series, horizon_s: float, quantile: float) -> dict[str, Floats]:
    """What each way, and all together, say at every tick; the forecaster lives through the series once."""
    lengths = lognormal_mix(prompt_mean=1000, output_mean=200)
    memory, bounds = FleetMemory(), {name: [math.nan] * series.rate.size for name in (*WAYS, "blend", "bound", *OTHERS)}
    z = normal_quantile(quantile)
    for index, (at_s, rate) in enumerate(zip(series.at_s.tolist(), series.rate.tolist(), strict=True)):
        demand = Demand(arrivals_per_s=rate, backlog_requests=0.0, observed=True, lengths=lengths, sentence="")
        memory = remember_arrivals(memory, demand, at_s=at_s, kept_s=1800.0)
        ahead, memory = forecast(
            demand, memory, at_s=at_s, horizon_s=horizon_s, window_s=WINDOW_S, quantile=quantile, drain_s=30.0
        )
        for each in ahead.candidates:
            bounds[each.name][index] = each.location_per_s + z * each.deviation_per_s
        bounds["blend"][index], bounds["bound"][index] = ahead.quantile_per_s, ahead.upper_per_s
        bounds["now + noise"][index] = rate + z * math.sqrt(PRIOR_DISPERSION * rate / WINDOW_S)
        bounds["trend + noise"][index] = _trend_and_noise(ahead, memory.arrivals, at_s, z)
    return {name: np.array(values) for name, values in bounds.items()}


def _trend_and_noise(ahead: Forecast, arrivals: Points, at_s: float, z: float) -> float:
    """A single law without learning: level, proven trend, and the larger of counting noise and recent changes."""
    recent = np.array([point for point in arrivals if point[0] > at_s - max(180.0, ahead.horizon_s)])
    changes = np.diff(recent[:, 1]) - ahead.trend_per_s2 * np.diff(recent[:, 0])
    spread = 1.4826 * float(np.median(np.abs(changes))) / math.sqrt(2) if changes.size >= 3 else 0.0
    noise = max(spread, math.sqrt(PRIOR_DISPERSION * ahead.level_per_s / WINDOW_S))
    rise = trend_ahead(ahead.level_per_s, ahead.trend_per_s2, horizon_s=ahead.horizon_s, window_s=WINDOW_S)
    return ahead.level_per_s + rise + z * noise


def _score(series: Series, bound: Floats, horizon_s: float, quantile: float) -> Score:
    due_s = series.at_s + horizon_s
    then = np.minimum(np.searchsorted(series.at_s, due_s), series.at_s.size - 1)
    counted = (series.at_s[then] == due_s) & (series.at_s >= series.at_s[0] + UNCOUNTED_S) & ~np.isnan(bound)
    over = series.rate[then][counted] - bound[counted]
    if not over.size:
        return Score(math.nan, math.nan, 0)
    return Score(float((over <= 0).mean()), float(np.maximum(quantile * over, (quantile - 1) * over).mean()), over.size)


def paper(found: Sequence[Scores], seed: int) -> Paper:
    names = ("blend", "bound", *WAYS, *OTHERS)
    rows = [
        (
            each.series, f"{each.horizon_s:.0f} s", f"{each.quantile:g}", *(_cell(each, name) for name in names),
            each.best_single, f"{each.over_best:.3f}",
        )
        for each in found
    ]  # fmt: skip
    close = sum(each.over_best <= WITHIN for each in found)
    covered = sum(abs(each.off) <= COVERAGE for each in found)
    result = Paper("forecast", "Forecasts of recorded traffic", seed)
    result.parts = [
        "Each cell: share of windows in which the bound held / pinball loss in requests per second. `blend` is the "
        "mixture of the five ways by their recent losses, `bound` what is planned for (never under what arrives now "
        "with its noise); `now + noise` and `trend + noise` learn nothing. The last two columns: the best single way "
        f"of those that could speak in {100 * ABLE:.0f} % of the windows, and the loss of the blend over its loss in "
        "the same windows.",
        Table(("traffic", "horizon", "quantile", *names, "best single", "blend / best"), rows),
        f"Aims: the loss of the blend is at most {WITHIN:g} times that of the best single way in {close} of "
        f"{len(found)} rows; its coverage is within {100 * COVERAGE:g} points of the quantile in {covered} of "
        f"{len(found)}. The hour of Azure traffic has six independent horizons of ten minutes and some fifty windows: "
        "its rows say how a forecaster begins, and its coverage at 0.99 counts one window.",
    ]
    result.figures = {
        "rows": [
            {
                "series": each.series,
                "horizon_s": each.horizon_s,
                "quantile": each.quantile,
                "over_best": each.over_best,
                "scores": {
                    name: {"held": score.held, "loss": score.loss, "windows": score.windows}
                    for name, score in each.by_name.items()
                    if score.windows
                },
            }
            for each in found
        ]
    }
    return result


def _cell(each: Scores, name: str) -> str:
    score = each.by_name[name]
    return "-" if not score.windows else f"{percent(score.held)} / {score.loss:.3f}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast")
    parser.add_argument("--data", type=Path, help="folder with servegen/; without it the Azure trace only")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    traffic = [azure()]
    if args.data is not None:
        missing = [str(args.data / path) for path in SERVEGEN.values() if not (args.data / path).is_file()]
        if missing:
            parser.error(f"--data {args.data}: {', '.join(missing)} not found; give the folder that holds servegen/")
        traffic += [servegen(name, args.data / path, args.seed) for name, path in SERVEGEN.items()]
    found = [
        replayed(series, horizon_s, quantile)
        for series in traffic
        for horizon_s in HORIZONS_S
        for quantile in QUANTILES
    ]
    paper(found, args.seed).write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
