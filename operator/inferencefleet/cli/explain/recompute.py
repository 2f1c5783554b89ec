"""Is the status right? Everything that it derives, derived again from spec, observations and calibration. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from inferencefleet import catalog
from inferencefleet.api.convert_calibration import calibration_from_status
from inferencefleet.domain.capacity import ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.plan import Candidate, Reason
from inferencefleet.domain.pool import Pool
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.planning.calibrate import Learnt, running_shape
from inferencefleet.planning.forecasting.quantile import bound, pooled_quantile
from inferencefleet.planning.size import agreed, doubts, planned_share

Block = Mapping[str, Any]
ROUNDING = 0.005
"""Relative: status is rounded to three digits after the point."""
EXACT = 0.02
"""Relative: the same formula on rounded inputs."""
ROUGH = 0.40
"""Relative: observed lengths are in the status as means only, and the plan used their histograms. The declared spread
at the observed means was 31 % off on the recorded conversations of the quickstart."""
_SHORT = (Reason.NOT_ENOUGH_GPUS, Reason.MAX_REPLICAS)


class Verdict(StrEnum):
    """How a value of the status compares with its recomputation."""

    AGREES = "agrees"
    NEAR = "near"
    """Within what rounded or summarised inputs allow."""
    DIFFERS = "differs"
    UNKNOWN = "cannot be recomputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One value of the status."""

    field: str
    said: float | str | None
    recomputed: float | str | None
    verdict: Verdict
    note: str
    """The sum that was done, or why it could not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """One pool's replica, by physics."""

    pool: str
    shape: ReplicaShape
    capacity: ReplicaCapacity
    scales: Scales
    planned_requests_per_s: float


def recompute(
    fleet: Fleet, status: Block, pools: Mapping[str, Pool]
) -> tuple[tuple[Recomputed, ...], tuple[Check, ...]]:
    """Replicas by pool as physics sees them now, and the comparison of every derived value of the status."""
    plan = _block(status, "plan")
    observed = plan.get("lengthsSource", "declared") != "declared"
    lengths = _lengths(fleet, plan) if observed else fleet.expected.lengths
    learnt = Learnt(calibration_from_status(status))
    found: list[Recomputed] = []
    checks: list[Check] = [*_forecast(fleet, plan)]
    known: list[tuple[Block, ReplicaShape]] = []
    for sizing in _blocks(status, "sizing"):
        gpu = _gpu(sizing, pools)
        if isinstance(gpu, str):
            field = f"sizing[{sizing.get('pool')}].requestsPerSecond"
            checks.append(_unknown(field, sizing.get("requestsPerSecond"), gpu))
            continue
        known.append((sizing, running_shape(fleet, gpu, int(sizing.get("tensorParallelSize") or 1))))
    for sizing, again in _replicas_again(fleet, known, lengths, learnt):
        found.append(again)
        checks += _capacity(sizing, again, observed=observed, headroom=_utilisation(fleet, sizing))
    checks += _replicas(fleet, status, plan)
    checks += _totals(status)
    return tuple(found), tuple(checks)


def _utilisation(fleet: Fleet, sizing: Block) -> float:
    """As the status says; one from before it said so was planned as for a single replica."""
    return float(sizing.get("utilisation") or fleet.utilisation_of(1))


def _lengths(fleet: Fleet, plan: Block) -> LengthMix:
    """The declared distribution, stretched to the means planned for: the status does not hold the histograms."""
    mix = fleet.expected.lengths
    prompt, output, hit = (plan.get(key) for key in ("promptTokensMean", "outputTokensMean", "prefixHitRatio"))
    return replace(
        mix,
        prompt_tokens=mix.prompt_tokens * (prompt / mix.mean_prompt_tokens if prompt else 1.0),
        output_tokens=mix.output_tokens * (output / mix.mean_output_tokens if output else 1.0),
        prefix_hit_ratio=mix.prefix_hit_ratio if hit is None else hit,
    )


def _replicas_again(
    fleet: Fleet, known: Sequence[tuple[Block, ReplicaShape]], lengths: LengthMix, learnt: Learnt
) -> list[tuple[Block, Recomputed]]:
    """Every replica by physics, where pools of one kind agree on its speed and on how well it is known."""
    names = [str(sizing.get("pool")) for sizing, _ in known]
    shapes = [shape for _, shape in known]
    own = [learnt.scales(shape, pool) for shape, pool in zip(shapes, names, strict=True)]
    scales = agreed([(shape.gpu, shape.tensor_parallel) for shape in shapes], own)
    capacities = [replica_capacity(shape, lengths, fleet.slos, one) for shape, one in zip(shapes, scales, strict=True)]
    kinds = list(zip(shapes, scales, strict=True))
    sigmas_log = doubts(
        kinds,
        [
            learnt.sigma_log(shape, pool, one, capacity.concurrency)
            for (shape, one), pool, capacity in zip(kinds, names, capacities, strict=True)
        ],
    )
    found = []
    for (sizing, shape), pool, one, capacity in zip(known, names, scales, capacities, strict=True):
        sigma_log = sigmas_log[shape, one]
        planned = capacity.requests_per_s * planned_share(_utilisation(fleet, sizing), sigma_log)
        again = Recomputed(
            pool=pool,
            shape=shape,
            capacity=capacity,
            scales=replace(one, sigma_log=sigma_log),
            planned_requests_per_s=planned,
        )
        found.append((sizing, again))
    return found


def _gpu(sizing: Block, pools: Mapping[str, Pool]) -> GpuSpec | str:
    pool = pools.get(str(sizing.get("pool")))
    if pool is not None:
        return pool.gpu
    try:
        return catalog.gpu(str(sizing.get("gpu")))
    except ValueError:
        return f"GPU {sizing.get('gpu')} is not in the catalogue; give its GPUPool with the fleet"


def _forecast(fleet: Fleet, plan: Block) -> list[Check]:
    said = plan.get("upperRequestsPerSecond")
    if said is None:
        return []
    level = float(plan.get("levelRequestsPerSecond", fleet.expected.requests_per_s))
    drain, floor = _number(plan, "backlogDrainRequestsPerSecond"), _number(plan, "floorRequestsPerSecond")
    candidates = [
        Candidate(
            name=str(way.get("name")),
            location_per_s=_number(way, "requestsPerSecond"),
            deviation_per_s=_number(way, "deviationRequestsPerSecond"),
            weight=_number(way, "weight"),
        )
        for way in _blocks(plan, "forecasters")
    ]
    if not candidates:
        note = f"{level:.2f} as declared or last observed, {floor:.2f} announced, no forecast"
        return [_compared("plan.upperRequestsPerSecond", said, max(level, floor), ROUNDING, note)]
    quantile = _number(plan, "quantile") or fleet.attainment
    expected = pooled_quantile(candidates, quantile, _number(plan, "stretch") or 1.0)
    note = (
        f"the largest of {expected:.2f} expected by {len(candidates)} forecasters, {level:.2f} now and {floor:.2f} "
        f"announced, {drain:+.2f} to drain the backlog"
    )
    upper = bound(expected, level, floor, drain)
    return [_compared("plan.upperRequestsPerSecond", said, upper, EXACT, note)]


def _capacity(sizing: Block, again: Recomputed, *, observed: bool, headroom: float) -> list[Check]:
    base = f"sizing[{again.pool}]"
    scales = again.scales
    note = f"physics of {again.shape}"
    if (scales.memory, scales.compute, scales.overhead, scales.ttft) != (1.0, 1.0, 1.0, 1.0):
        note += f", calibrated: memory x{scales.memory:.2f}, compute x{scales.compute:.2f}"
        note += f", overhead x{scales.overhead:.2f}, TTFT x{scales.ttft:.2f}"
    if observed:
        note += "; lengths are known as means only"
    rate, planned = sizing.get("requestsPerSecond"), sizing.get("plannedRequestsPerSecond")
    checks = [
        _compared(f"{base}.requestsPerSecond", rate, again.capacity.requests_per_s, ROUGH if observed else EXACT, note)
    ]
    if rate is not None and planned is not None:
        share = planned_share(headroom, scales.sigma_log)
        how = f"requestsPerSecond x {share:.3f} (headroom {headroom:g}, sigma {scales.sigma_log:.2f})"
        checks.append(_compared(f"{base}.plannedRequestsPerSecond", planned, rate * share, EXACT, how))
    binding = sizing.get("bindingLimit")
    if binding is not None:
        same = binding == str(again.capacity.binding)
        softer = Verdict.NEAR if observed else Verdict.DIFFERS
        checks.append(
            Check(
                field=f"{base}.bindingLimit",
                said=binding,
                recomputed=str(again.capacity.binding),
                verdict=Verdict.AGREES if same else softer,
                note=again.capacity.sentence,
            )
        )
    return checks


def _replicas(fleet: Fleet, status: Block, plan: Block) -> list[Check]:
    """Replicas before guards: need over what the slowest GPU in use is counted on, at least the minimum."""
    steps = {str(step.get("code")): step for step in _blocks(plan, "steps")}
    sized, upper = steps.get(Reason.SIZED), plan.get("upperRequestsPerSecond")
    if sized is None or sized.get("after") is None or upper is None:
        return []
    used = {pool.get("name") for pool in _blocks(status, "pools") if (pool.get("placed") or pool.get("desired"))}
    worth = [
        float(sizing["plannedRequestsPerSecond"])
        for sizing in _blocks(status, "sizing")
        if sizing.get("pool") in used and sizing.get("plannedRequestsPerSecond")
    ]
    if not worth:
        return [_unknown("plan.steps[Sized].after", sized["after"], "no pool in use has a sizing")]
    least = fleet.scaling.min_replicas
    needed = max(least, math.ceil(upper / min(worth) - ROUNDING))
    note = f"{upper:.2f} / {min(worth):.2f} for a replica, rounded up, at least {least}"
    said = sized["after"]
    if said < needed and any(code in steps for code in _SHORT):
        short = next(code for code in _SHORT if code in steps)
        held = Verdict.AGREES
        note += f"; held back: {steps[short].get('message')}"
        return [Check(field="plan.steps[Sized].after", said=said, recomputed=needed, verdict=held, note=note)]
    return [_compared("plan.steps[Sized].after", said, needed, 0.0, note, near=1.5 / max(needed, 1))]


def _totals(status: Block) -> list[Check]:
    pools = _blocks(status, "pools")
    checks = []
    if status.get("replicas") is not None and pools:
        total = sum(int(pool.get("desired") or 0) for pool in pools)
        checks.append(_compared("replicas", status["replicas"], total, 0.0, "sum of pools[].desired"))
    target = _block(status, "recommendation").get("target")
    if target is not None and pools:
        placed = sum(int(pool.get("placed") or 0) for pool in pools)
        checks.append(_compared("recommendation.target", target, placed, 0.0, "sum of pools[].placed"))
    price = {sizing.get("pool"): _number(sizing, "pricePerHour") for sizing in _blocks(status, "sizing")}
    hourly = _block(status, "cost").get("hourly")
    if hourly is not None and pools and all(pool.get("name") in price for pool in pools):
        dollars = sum(int(pool.get("desired") or 0) * price[pool.get("name")] for pool in pools)
        checks.append(_compared("cost.hourly", hourly, dollars, ROUNDING, "sum of pools[].desired x pricePerHour"))
    return checks


def _compared(
    field: str, said: float | None, recomputed: float, tolerance: float, note: str, *, near: float = 0.0
) -> Check:
    """`agrees` within rounding (or the tolerance where inputs are exact), `near` within what is allowed beyond it."""
    if said is None:
        return _unknown(field, None, "the status does not say")
    off = abs(said - recomputed) / max(abs(recomputed), 1e-9) if said != recomputed else 0.0
    tight = min(tolerance, EXACT)
    verdict = Verdict.AGREES if off <= tight else Verdict.NEAR if off <= max(tolerance, near) else Verdict.DIFFERS
    return Check(field=field, said=said, recomputed=float(f"{recomputed:.6g}"), verdict=verdict, note=note)


def _unknown(field: str, said: float | None, why: str) -> Check:
    return Check(field=field, said=said, recomputed=None, verdict=Verdict.UNKNOWN, note=why)


def _block(of: Block, key: str) -> Block:
    found = of.get(key)
    return found if isinstance(found, Mapping) else {}


def _blocks(of: Block, key: str) -> Sequence[Block]:
    found = of.get(key)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def _number(of: Block, key: str) -> float:
    value = of.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0
