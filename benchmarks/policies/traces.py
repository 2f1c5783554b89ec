"""Recorded traffic as arrivals: Azure, Mooncake and ServeGen, with seeds for what the records leave open."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.policies import arrivals as making
from benchmarks.policies.arrivals import Lengths, Step
from inferencefleet.simulator.servers import Arrivals, Floats, Integers

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "benchmarks" / "data"
AZURE = REPOSITORY / "sandbox" / "data" / "azure_llm_2023_conv.csv.gz"
AZURE_LASTS_S = 3503.0
MOONCAKE_LASTS_S = 3540.0
STAMP_S = 3.0
"""Mooncake's time stamps are rounded to this."""
WINDOW_S = 600.0
LENGTH_WINDOW_S = 21600.0
GAP_SHARE = 0.02
"""ServeGen's windows below this share of the median are holes in its log, not traffic."""
MOST_DISPERSION = 64.0
"""A window in which one client sent everything at once says nothing about the others."""
KNOTS = (0.0, 0.5, 0.9, 0.99, 1.0)


@lru_cache(maxsize=4)
def _columns(path: Path) -> dict[str, Floats]:
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        names = next(rows)
        table = np.array([[float(cell) for cell in row] for row in rows])
    return {name: table[:, number] for number, name in enumerate(names)}


def azure() -> Arrivals:
    """The conversation service as recorded: one hour, 5.4 requests/s."""
    columns = _columns(AZURE)
    return making.of(
        columns["arrival_ms"] / 1000,
        np.maximum(1, columns["prompt_tokens"]).astype(np.int64),
        np.maximum(1, columns["output_tokens"]).astype(np.int64),
    )


def azure_lengths(chance: np.random.Generator, at_s: Floats) -> tuple[Integers, Integers]:
    """Pairs of lengths drawn from the whole hour."""
    recorded = azure()
    which = chance.integers(0, len(recorded), size=at_s.size)
    return recorded.prompt_tokens[which], recorded.output_tokens[which]


def fixed_lengths(prompt_mean: float, output_mean: float, spread: float = 0.1) -> Lengths:
    """Normal around the means, as load generators draw them; `spread` is the standard deviation as a share."""

    def draw(chance: np.random.Generator, at_s: Floats) -> tuple[Integers, Integers]:
        prompt = chance.normal(prompt_mean, spread * prompt_mean, size=at_s.size)
        output = chance.normal(output_mean, spread * output_mean, size=at_s.size)
        return np.maximum(1, np.rint(prompt)).astype(np.int64), np.maximum(1, np.rint(output)).astype(np.int64)

    return draw


def mooncake(seed: int) -> Arrivals:
    """Kimi's conversations: 59 minutes, 3.4 requests/s, prompts that begin as earlier ones did.

    Requests that carry the same rounded stamp are spread over the three seconds that it stands for, in their order.
    """
    columns = _columns(DATA / "mooncake_conversation.csv.gz")
    stamp_s = np.floor(columns["arrival_ms"] / 1000 / STAMP_S + 0.5) * STAMP_S
    chance = np.random.default_rng(seed)
    arrival_s = np.sort(stamp_s + chance.uniform(0, STAMP_S, size=stamp_s.size))
    return Arrivals(
        arrival_s=arrival_s,
        prompt_tokens=columns["prompt_tokens"].astype(np.int64),
        output_tokens=np.maximum(1, columns["output_tokens"]).astype(np.int64),
        prefix_tokens=columns["prefix_tokens"].astype(np.int64),
        session=columns["session"].astype(np.int64),
    )


def servegen_rates(pool: str) -> tuple[Floats, Floats]:
    """Requests/s and dispersion of each ten minutes; holes in the log are bridged by a straight line."""
    columns = _columns(DATA / f"servegen_{pool.replace('-', '_')}_rates.csv.gz")
    rate, dispersion = columns["requests_per_s"], np.clip(columns["dispersion"], 1.0, MOST_DISPERSION)
    there = rate >= GAP_SHARE * np.median(rate)
    windows = np.arange(rate.size)
    return np.interp(windows, windows[there], rate[there]), np.where(there, dispersion, np.median(dispersion[there]))


def servegen(
    pool: str, *, mean_requests_per_s: float, from_s: float, lasts_s: float, seed: int, lengths: Lengths | None = None
) -> Arrivals:
    """A share of the clients' traffic from `from_s` on, thinned to this mean rate over the whole record.

    Thinning by p takes the dispersion I to 1 + p (I - 1); arrivals are a Gamma process with it in each ten minutes.
    """
    rate, dispersion = servegen_rates(pool)
    share = mean_requests_per_s / float(rate.mean())
    first, many = int(from_s // WINDOW_S), round(lasts_s / WINDOW_S)
    steps = [
        Step(WINDOW_S, share * float(rate[index % rate.size]), 1 + share * (float(dispersion[index % rate.size]) - 1))
        for index in range(first, first + many)
    ]
    return making.made(steps, lengths or servegen_lengths(pool, from_s=first * WINDOW_S), seed)


def servegen_lengths(pool: str, *, from_s: float) -> Lengths:
    """A client by its share of the six hours, then a length between the published quantiles of that client."""
    columns = _columns(DATA / f"servegen_{pool.replace('-', '_')}_lengths.csv.gz")
    windows = np.unique(columns["window_s"])

    def draw(chance: np.random.Generator, at_s: Floats) -> tuple[Integers, Integers]:
        prompt, output = np.ones(at_s.size, dtype=np.int64), np.ones(at_s.size, dtype=np.int64)
        window_s = np.floor((from_s + at_s) / LENGTH_WINDOW_S) % windows.size * LENGTH_WINDOW_S
        for each_s in np.unique(window_s):
            here = window_s == each_s
            rows = np.flatnonzero(columns["window_s"] == each_s)
            shares = columns["share"][rows]
            sender = rows[chance.choice(rows.size, size=int(here.sum()), p=shares / shares.sum())]
            prompt[here] = _between_quantiles(columns, "input", sender, chance)
            output[here] = _between_quantiles(columns, "output", sender, chance)
        return prompt, output

    return draw


def _between_quantiles(
    columns: dict[str, Floats], side: str, sender: Integers, chance: np.random.Generator
) -> Integers:
    """Log-linear between the median, p90 and p99; below the median it mirrors, above p99 it goes on half as far."""
    median, p90, p99 = (np.maximum(1.0, columns[f"{side}_tokens_{name}"][sender]) for name in ("p50", "p90", "p99"))
    knots = np.log(np.stack([np.maximum(1.0, median**2 / p90), median, p90, p99, p99 * np.sqrt(p99 / p90)]))
    drawn = chance.random(sender.size)
    upper = np.clip(np.searchsorted(KNOTS, drawn, side="right"), 1, len(KNOTS) - 1)
    left, right = np.asarray(KNOTS)[upper - 1], np.asarray(KNOTS)[upper]
    index = np.arange(sender.size)
    part = (drawn - left) / (right - left)
    value = np.exp(knots[upper - 1, index] * (1 - part) + knots[upper, index] * part)
    return np.maximum(1, np.rint(value)).astype(np.int64)


def steps_of(rates: Sequence[float], lasts_s: Sequence[float]) -> list[Step]:
    """Poisson traffic at these rates, one after the other."""
    return [Step(span, rate) for rate, span in zip(rates, lasts_s, strict=True)]
