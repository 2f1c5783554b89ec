"""Step 6: one reason and one sentence for the whole decision, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from inferencefleet.domain.calibration import ShapeCalibration
from inferencefleet.domain.feedback import Feedback
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.plan import Demand, Forecast, Reason, Sizing, Verdict
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.observed import shape_key
from inferencefleet.planning.calibrate import in_use, prior_scales

NOTABLE_CHANGE = 0.02
"""Share of a capacity from which on a change is worth a step of its own."""
PRECEDENCE: tuple[Reason, ...] = (
    Reason.METRICS_MISSING,
    Reason.PRIORITY,
    Reason.NOT_ENOUGH_GPUS,
    Reason.BUDGET,
    Reason.REPLACING_DOOMED,
    Reason.MAX_REPLICAS,
    Reason.POOL_EXHAUSTED,
    Reason.WAITING_FOR_GPUS,
    Reason.WAITING_FOR_REPLACEMENT,
    Reason.RATE_LIMITED,
    Reason.BACKLOG_DRAIN,
    Reason.COOLING_DOWN,
    Reason.STABILIZING,
    Reason.WITHIN_TOLERANCE,
    Reason.MIN_REPLICAS,
)
"""The first of these that was said is the reason of the decision; without any the demand itself is.

A pool that is full, a share of spot that is used up, a hedge or a move that does not pay are part of every plan: they
are steps of it, and no reason why it is what it is.
"""


def main_reason(
    verdicts: Sequence[Verdict], demand: Demand, forecast: Forecast, *, before: int, after: int
) -> tuple[Reason, str]:
    """The reason an SRE should see first, with its sentence."""
    clamp = _first_clamp(verdicts)
    if clamp is not None:
        # While a window or a rate policy lets go of some replicas, the news is that there are fewer.
        shrinks = clamp.code in {Reason.STABILIZING, Reason.RATE_LIMITED} and after < before
        return (Reason.SCALED_DOWN if shrinks else clamp.code), clamp.sentence
    if not demand.observed:
        return Reason.DECLARED_TRAFFIC, demand.sentence
    if forecast.backlog_drain_per_s > 0.05 * forecast.upper_per_s:
        return Reason.BACKLOG_DRAIN, forecast.sentence
    if after > before:
        rising = forecast.trend_per_s2 * forecast.horizon_s > 0.05 * forecast.level_per_s
        return (Reason.RAMP_AHEAD if rising else Reason.SCALED_UP), forecast.sentence
    return (Reason.SCALED_DOWN if after < before else Reason.DEMAND_MET), forecast.sentence


def _first_clamp(verdicts: Sequence[Verdict]) -> Verdict | None:
    for code in PRECEDENCE:
        for verdict in verdicts:
            if verdict.code is code:
                return verdict
    return None


def calibrated_steps(
    fleet: Fleet,
    sizings: Sequence[Sizing],
    replicas: Mapping[str, int],
    calibration: Sequence[ShapeCalibration],
    lengths: LengthMix,
) -> tuple[Verdict, ...]:
    """What calibration changed about the capacity of a replica, for pools in use where it matters."""
    found = []
    for sizing in sizings:
        entry = in_use(calibration, sizing.pool, shape_key(sizing.shape)) if calibration else None
        prior = prior_scales(sizing.shape)
        if not replicas.get(sizing.pool) or replace(sizing.scales, sigma_log=prior.sigma_log) == prior:
            continue
        before = replica_capacity(sizing.shape, lengths, fleet.slos, prior).requests_per_s
        after = sizing.capacity.requests_per_s
        if abs(after - before) <= NOTABLE_CHANGE * before:
            continue
        learnt = f"{entry.used} windows" if _is_own(entry, sizing) else "what other engines of this GPU taught"
        found.append(
            Verdict(
                code=Reason.CALIBRATED,
                sentence=(
                    f"{sizing.pool}: {before:.2f} -> {after:.2f} req/s a replica by {learnt}: times of memory "
                    f"x{sizing.scales.memory:.2f}, compute x{sizing.scales.compute:.2f}, overhead "
                    f"x{sizing.scales.overhead:.2f}, TTFT x{sizing.scales.ttft:.2f} of the prior"
                    f"{_uncertainty(sizing.scales.sigma_log, prior.sigma_log)}"
                ),
                before=round(before, 3),
                after=round(after, 3),
            )
        )
    return tuple(found)


def feedback_steps(feedback: Feedback) -> tuple[Verdict, ...]:
    """What measured misses made of the utilisation, once it matters."""
    factor = feedback.factor
    if abs(factor - 1.0) < NOTABLE_CHANGE:
        return ()
    why = "fewer requests missed their SLO than may" if factor > 1 else "more requests missed their SLO than may"
    return (
        Verdict(
            code=Reason.MEASURED_ATTAINMENT,
            sentence=f"{why}: the plan counts on {100 * factor:.0f} % of the utilisation that models alone suggest",
            before=1.0,
            after=round(factor, 3),
        ),
    )


def _uncertainty(now: float, before: float) -> str:
    return f", uncertainty {now:.2f} instead of {before:.2f}" if round(now, 2) != round(before, 2) else ""


def _is_own(entry: ShapeCalibration | None, sizing: Sizing) -> TypeGuard[ShapeCalibration]:
    """Whether the pool's own engines taught what the sizing was computed with."""
    applied = entry.applied if entry is not None else None
    return applied is not None and applied == replace(sizing.scales, sigma_log=applied.sigma_log)


def hourly_costs(sizings: Sequence[Sizing], replicas: Mapping[str, int]) -> tuple[float, float]:
    """(all replicas, those that are not paid already) in the pools' currency per hour."""
    by_pool = {sizing.pool: sizing for sizing in sizings}
    total = sum(by_pool[pool].price_per_hour * count for pool, count in replicas.items())
    marginal = sum(by_pool[pool].marginal_price_per_hour * count for pool, count in replicas.items())
    return total, marginal
