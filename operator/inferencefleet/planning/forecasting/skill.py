"""What forecasts that have come due teach: which way to trust, how wide to be, how bursty arrivals are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from inferencefleet.domain.history import DueForecast, Guess, Skill
from inferencefleet.planning.forecasting.quantile import normal_quantile
from inferencefleet.planning.forecasting.ways import WAYS

PRIOR_DISPERSION = 2.5
"""Variance / mean of arrivals counted per minute around their level: 3.4 in the Azure 2023 conversation trace, 1.7 in
Mooncake's; a Poisson process has 1."""
PRIOR_WINDOWS = 8.0
"""The prior weighs as much as so many windows of own traffic."""
PRIOR_DRIFT = 3e-5
"""Variance of the level's relative change, per second of horizon: 7 % in 150 s, 13 % in ten minutes. Between what a
week of ServeGen's m-large (2e-5) and the Azure 2023 conversation trace (6e-5) teach."""
LARGEST_SURPRISE = 4.0
"""One window moves the dispersion by at most so many times itself, and one error the deviation: a step is not noise."""
FORGET_S = 7200.0
"""Time constant of forgetting: traffic of the morning says little about how to forecast in the evening."""
PRIOR_FORECASTS = 10.0
"""Losses are drawn to their mean as by so many forecasts: a single surprise must not decide."""
SHARPNESS = 16.0
"""A way with a tenth more loss than the best has a fifth of its say, one with a third more a hundredth."""
STRETCH_STEP = 0.05
"""Adaptive conformal prediction (Gibbs and Candes 2021): a forecast that was broken widens the next by so much."""
STRETCH_RANGE = (math.log(0.5), math.log(4.0))
FORECASTS_DUE = 40
"""Forecasts that are remembered within one horizon."""


def noise_per_s(skill: Skill, rate_per_s: float, window_s: float) -> float:
    """Standard deviation of a rate that is counted over one window; requests per second."""
    return math.sqrt(dispersion(skill) * max(0.0, rate_per_s) / max(window_s, 1.0))


def dispersion(skill: Skill) -> float:
    """Variance over mean of counted arrivals: learnt, from a prior on."""
    windows = PRIOR_WINDOWS + skill.dispersion_windows
    return (PRIOR_WINDOWS * PRIOR_DISPERSION + skill.dispersion_sum) / windows


def watched(skill: Skill, at_s: float, rate_per_s: float, window_s: float) -> Skill:
    """Dispersion from the difference of two windows that do not overlap: a slow trend hardly shows in it."""
    passed_s = at_s - skill.window_at_s
    if 0 <= passed_s < window_s:
        return skill
    both = rate_per_s + skill.window_per_s
    if passed_s < 0 or passed_s > 3 * window_s or both <= 0:
        return replace(skill, window_at_s=at_s, window_per_s=rate_per_s)
    found = window_s * (rate_per_s - skill.window_per_s) ** 2 / both
    kept = math.exp(-passed_s / FORGET_S)
    return replace(
        skill,
        window_at_s=at_s,
        window_per_s=rate_per_s,
        dispersion_sum=kept * skill.dispersion_sum + min(found, LARGEST_SURPRISE * dispersion(skill)),
        dispersion_windows=kept * skill.dispersion_windows + 1.0,
    )


def settled(skill: Skill, at_s: float, rate_per_s: float, window_s: float) -> Skill:
    """Every forecast that is due is compared with what arrived; one that is long overdue is dropped."""
    if not skill.due or skill.due[0].due_s > at_s:
        return skill
    waiting = tuple(each for each in skill.due if each.due_s > at_s)
    losses, weights, drifts = (list(part or (0.0,) * len(WAYS)) for part in (skill.losses, skill.weights, skill.drifts))
    stretch = skill.log_stretch
    next_made_s = (*(each.made_s for each in skill.due[1:]), at_s)
    for each, next_s in zip(skill.due[: len(skill.due) - len(waiting)], next_made_s, strict=False):
        if at_s - each.due_s > window_s:
            continue
        horizon_s = max(1.0, each.due_s - each.made_s)
        # Forecasts made one after the other over the same horizon share most of their luck.
        counts = min(1.0, max(0.0, next_s - each.made_s) / max(horizon_s, window_s))
        kept = math.exp(-counts * max(horizon_s, window_s) / FORGET_S)
        z = normal_quantile(each.level)
        for way, guess in enumerate(each.guesses):
            if guess is None:
                continue
            error = rate_per_s - guess.location_per_s
            over = error - z * guess.deviation_per_s
            size = max(rate_per_s, guess.location_per_s, each.now_per_s, 1.0 / window_s)
            losses[way] = kept * losses[way] + counts * (each.level * over if over > 0 else (each.level - 1) * over)
            weights[way] = kept * weights[way] + counts
            squared = min(error**2, LARGEST_SURPRISE * guess.deviation_per_s**2)
            drifts[way] = kept * drifts[way] + counts * (squared - each.noise_per_s**2) / (horizon_s * size**2)
        missed = 1.0 if rate_per_s > each.upper_per_s else 0.0
        stretch += STRETCH_STEP * counts * (missed - (1.0 - each.level))
    return replace(
        skill,
        losses=tuple(losses),
        weights=tuple(weights),
        drifts=tuple(drifts),
        log_stretch=min(STRETCH_RANGE[1], max(STRETCH_RANGE[0], stretch)),
        due=waiting,
    )


def expecting(skill: Skill, made: DueForecast) -> Skill:
    """With one more forecast to come due, unless the last one was made a moment ago."""
    apart_s = (made.due_s - made.made_s) / FORECASTS_DUE
    if skill.due and made.made_s - skill.due[-1].made_s < apart_s:
        return skill
    if skill.due and made.due_s < skill.due[-1].due_s:
        # The horizon became shorter: what looks further than it is of no use any more.
        return replace(skill, due=(*(each for each in skill.due if each.due_s <= made.due_s), made))
    return replace(skill, due=(*skill.due, made))


def guesses(
    skill: Skill, said: Sequence[float | None], *, noise: float, now_per_s: float, horizon_s: float
) -> tuple[Guess | None, ...]:
    """What each way says with the deviation of its recent errors: noise, and drift that grows with the horizon."""
    found: list[Guess | None] = []
    for way, location in enumerate(said):
        if location is None:
            found.append(None)
            continue
        weight = skill.weights[way] if skill.weights else 0.0
        learnt = skill.drifts[way] if skill.drifts else 0.0
        drift = max(0.0, (learnt + PRIOR_FORECASTS * PRIOR_DRIFT) / (weight + PRIOR_FORECASTS))
        size = max(now_per_s, location)
        deviation = math.sqrt(noise**2 + drift * horizon_s * size**2)
        found.append(Guess(location_per_s=max(0.0, location), deviation_per_s=deviation))
    return tuple(found)


def shares(skill: Skill, found: Sequence[Guess | None]) -> tuple[float, ...]:
    """Each way's say, 0..1, by its recent losses; 0 for one that says nothing."""
    losses = skill.losses or (0.0,) * len(WAYS)
    weights = skill.weights or (0.0,) * len(WAYS)
    open_ways = [way for way, guess in enumerate(found) if guess is not None]
    seen = sum(weights[way] for way in open_ways)
    mean = sum(losses[way] for way in open_ways) / seen if seen > 0 else 0.0
    if mean <= 0:
        scores = dict.fromkeys(open_ways, 1.0)
    else:
        drawn = {
            way: (losses[way] + PRIOR_FORECASTS * mean) / (weights[way] + PRIOR_FORECASTS) / mean for way in open_ways
        }
        best = min(drawn.values())
        scores = {way: (best / drawn[way]) ** SHARPNESS for way in open_ways}
    total = sum(scores.values())
    return tuple(scores.get(way, 0.0) / total for way in range(len(found)))
