"""Step 2: the upper bound of demand at the time when a replica that is asked for now would serve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from inferencefleet.domain.history import DueForecast
from inferencefleet.domain.plan import Candidate, Demand, Forecast
from inferencefleet.domain.snapshot import FleetMemory, ScheduledFloor
from inferencefleet.planning.forecasting.quantile import bound, pooled_quantile
from inferencefleet.planning.forecasting.skill import expecting, guesses, noise_per_s, settled, shares, watched
from inferencefleet.planning.forecasting.ways import WAYS, locations, smoothed

CARRIED_ON_S = 600.0
"""After so long without a look the past says nothing about a trend any more."""
NOTABLE_SHARE = 0.1
"""A way to forecast with less say than this is not named in the sentence."""


def forecast(
    demand: Demand,
    memory: FleetMemory,
    *,
    at_s: float,
    horizon_s: float,
    window_s: float,
    quantile: float,
    drain_s: float,
    schedule: Iterable[ScheduledFloor] = (),
) -> tuple[Forecast, FleetMemory]:
    """The bound, and the memory with what was learnt from forecasts that came due.

    `window_s` is the rate window of the metrics, `quantile` the share of windows in which demand should stay below the
    bound (`planning_quantile`), `drain_s` the time in which a backlog is worked off. The bound is never under what
    arrives now, nor under what is announced: nothing shrinks on a forecast alone.
    """
    floor = floor_within(schedule, at_s, horizon_s)
    if not demand.observed:
        return _unseen(demand, memory, at_s, horizon_s, window_s, quantile, floor), memory

    # 1. What do forecasts of the past teach?
    level = demand.arrivals_per_s
    skill = settled(memory.skill, at_s, level, window_s)
    skill = smoothed(watched(skill, at_s, level, window_s), at_s, level)

    # 2. What does each way say, how wrong was it lately, and what is its say?
    said, trend = locations(
        level, memory.arrivals, memory.blocks, skill, at_s=at_s, horizon_s=horizon_s, window_s=window_s
    )
    noise = noise_per_s(skill, level, window_s)
    calm = noise_per_s(skill, max(level, skill.smooth_per_s), window_s)
    found = guesses(skill, said, noise=calm, now_per_s=level, horizon_s=horizon_s)
    candidates = tuple(
        Candidate(name=name, location_per_s=guess.location_per_s, deviation_per_s=guess.deviation_per_s, weight=weight)
        for name, guess, weight in zip(WAYS, found, shares(skill, found), strict=True)
        if guess is not None
    )

    # 3. All together, at the quantile.
    stretch = math.exp(skill.log_stretch)
    expected = pooled_quantile(candidates, quantile, stretch)
    drain = demand.backlog_requests / drain_s
    upper = bound(expected, level, floor, drain)
    ahead = Forecast(
        horizon_s=horizon_s,
        level_per_s=level,
        trend_per_s2=trend,
        noise_per_s=noise,
        backlog_drain_per_s=drain,
        upper_per_s=upper,
        quantile=quantile,
        quantile_per_s=expected,
        floor_per_s=floor,
        stretch=stretch,
        candidates=candidates,
        sentence=_sentence(upper, level, expected, floor, drain, quantile, horizon_s, candidates),
    )
    due = DueForecast(
        made_s=at_s,
        due_s=at_s + horizon_s,
        level=quantile,
        noise_per_s=calm,
        now_per_s=level,
        guesses=found,
        upper_per_s=expected,
    )
    return ahead, replace(memory, skill=expecting(skill, due))


def floor_within(schedule: Iterable[ScheduledFloor], at_s: float, horizon_s: float) -> float:
    """The largest announced demand between now and the horizon, requests per second; 0 when nothing is."""
    return max(
        (each.requests_per_s for each in schedule if each.start_s <= at_s + horizon_s and each.end_s > at_s),
        default=0.0,
    )


def _unseen(
    demand: Demand,
    memory: FleetMemory,
    at_s: float,
    horizon_s: float,
    window_s: float,
    quantile: float,
    floor: float,
) -> Forecast:
    """While nothing is observed traffic goes on as it was seen to go: the last look is carried on, for a while."""
    seen_s, level = memory.arrivals[-1] if memory.arrivals else (at_s, 0.0)
    blind_s = at_s - seen_s
    if not memory.arrivals or not 0.0 < blind_s <= CARRIED_ON_S:
        return _without(demand, horizon_s, floor, quantile)
    skill = memory.skill
    said, trend = locations(
        level, memory.arrivals, memory.blocks, skill, at_s=seen_s, horizon_s=horizon_s + blind_s, window_s=window_s
    )
    noise = noise_per_s(skill, max(level, skill.smooth_per_s), window_s)
    found = guesses(skill, said, noise=noise, now_per_s=level, horizon_s=horizon_s + blind_s)
    candidates = tuple(
        Candidate(name=name, location_per_s=guess.location_per_s, deviation_per_s=guess.deviation_per_s, weight=weight)
        for name, guess, weight in zip(WAYS, found, shares(skill, found), strict=True)
        if guess is not None
    )
    stretch = math.exp(skill.log_stretch)
    expected = pooled_quantile(candidates, quantile, stretch)
    upper = bound(expected, level, floor, 0.0)
    return Forecast(
        horizon_s=horizon_s,
        level_per_s=level,
        trend_per_s2=trend,
        noise_per_s=noise,
        backlog_drain_per_s=0.0,
        upper_per_s=upper,
        quantile=quantile,
        quantile_per_s=expected,
        floor_per_s=floor,
        stretch=stretch,
        candidates=candidates,
        sentence=(
            f"{upper:.2f} req/s in {horizon_s:.0f} s at the {100 * quantile:.4g} % quantile: {level:.2f} when last "
            f"seen {blind_s:.0f} s ago, carried on from there"
        ),
    )


def _without(demand: Demand, horizon_s: float, floor: float, quantile: float) -> Forecast:
    rate = demand.arrivals_per_s
    upper = max(rate, floor)
    announced = f", and {floor:.2f} req/s are announced" if floor > rate else ""
    return Forecast(
        horizon_s=horizon_s,
        level_per_s=rate,
        trend_per_s2=0.0,
        noise_per_s=0.0,
        backlog_drain_per_s=0.0,
        upper_per_s=upper,
        quantile=quantile,
        quantile_per_s=rate,
        floor_per_s=floor,
        sentence=f"planned for {upper:.2f} req/s, without a forecast{announced}",
    )


def _sentence(
    upper: float,
    level: float,
    expected: float,
    floor: float,
    drain: float,
    quantile: float,
    horizon_s: float,
    candidates: tuple[Candidate, ...],
) -> str:
    mean = sum(each.weight * each.location_per_s for each in candidates)
    parts = [f"{level:.2f} now"]
    if floor > 0 and floor >= max(expected, level):
        parts.append(f"{floor:.2f} announced by spec.traffic.schedule")
    elif expected > level:
        named = sorted((each for each in candidates if each.weight >= NOTABLE_SHARE), key=lambda each: -each.weight)
        who = ", ".join(f"{each.name} {100 * each.weight:.0f} %" for each in named)
        parts.append(f"{mean - level:+.2f} expected by {who}")
        parts.append(f"{expected - mean:+.2f} for noise and doubt")
    parts.append(f"{drain:+.2f} to drain the backlog")
    return f"{upper:.2f} req/s in {horizon_s:.0f} s at the {100 * quantile:.4g} % quantile: {', '.join(parts)}"
