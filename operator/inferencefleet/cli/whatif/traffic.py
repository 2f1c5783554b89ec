"""Changes of traffic, as pure functions of a snapshot: what is observed and remembered changes with what is declared.

Otherwise the planner would believe its eyes: metrics and memory carry the rate and the lengths of before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import sqrt
from types import MappingProxyType
from typing import Any

from inferencefleet.cli.whatif.changes import Change
from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.history import Blocks, DueForecast, Guess, LengthMemory, Points, Skill
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import FleetMetrics, Histogram, PoolMetrics
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot


def without_lessons(snapshot: Snapshot) -> Snapshot:
    """What engines taught stays, and nothing new is learnt: another load at the old latencies would teach nonsense."""

    def blind(state: FleetState) -> FleetState:
        if not isinstance(state.metrics, FleetMetrics):
            return state
        pools = {name: replace(pool, window=None) for name, pool in state.metrics.pools.items()}
        return replace(state, metrics=replace(state.metrics, pools=MappingProxyType(pools)))

    return replace(snapshot, fleets=tuple(blind(state) for state in snapshot.fleets))


def at_rates(factors: Mapping[FleetKey, float]) -> Change:
    """Traffic times a factor, as if it had always been so: now, in memory, and as declared. Announcements stay."""

    def state(found: FleetState, factor: float) -> FleetState:
        expected = replace(found.fleet.expected, requests_per_s=found.fleet.expected.requests_per_s * factor)
        return replace(
            found,
            fleet=replace(found.fleet, expected=expected),
            metrics=_busier(found.metrics, factor) if isinstance(found.metrics, FleetMetrics) else found.metrics,
        )

    def memory(found: FleetMemory, factor: float) -> FleetMemory:
        return replace(
            found,
            arrivals=_points(found.arrivals, factor),
            blocks=_blocks(found.blocks, factor),
            skill=_skill(found.skill, factor),
        )

    def changed(snapshot: Snapshot) -> Snapshot:
        return replace(
            snapshot,
            fleets=tuple(
                state(each, factors[each.fleet.key]) if each.fleet.key in factors else each for each in snapshot.fleets
            ),
            memory=MappingProxyType(
                {key: memory(each, factors[key]) if key in factors else each for key, each in snapshot.memory.items()}
            ),
        )

    return changed


def with_longer_prompts(keys: Collection[FleetKey], factor: float) -> Change:
    """Every prompt times a factor, at most as long as the model takes; the buckets of what was seen move along."""

    def memory(key: FleetKey, found: FleetMemory, fleets: Mapping[FleetKey, Fleet]) -> FleetMemory:
        if key not in keys or key not in fleets:
            return found
        return replace(found, lengths=_longer_memory(found.lengths, fleets[key], factor))

    def state(found: FleetState) -> FleetState:
        if found.fleet.key not in keys:
            return found
        fleet, metrics = found.fleet, found.metrics
        expected = replace(fleet.expected, lengths=_longer(fleet.expected.lengths, fleet, factor))
        if isinstance(metrics, FleetMetrics):
            metrics = replace(
                metrics,
                prompt_tokens=_wider(metrics.prompt_tokens, factor),
                prompt_tokens_per_s=_times(metrics.prompt_tokens_per_s, factor),
            )
        return replace(found, fleet=replace(fleet, expected=expected), metrics=metrics)

    def changed(snapshot: Snapshot) -> Snapshot:
        fleets = {each.fleet.key: each.fleet for each in snapshot.fleets}
        return replace(
            snapshot,
            fleets=tuple(state(each) for each in snapshot.fleets),
            memory=MappingProxyType({key: memory(key, each, fleets) for key, each in snapshot.memory.items()}),
        )

    return changed


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _busier(metrics: FleetMetrics, factor: float) -> FleetMetrics:
    """The same latencies and lengths of more (or fewer) requests; each engine is as full as it was, of that many."""
    rates = (
        "completions_per_s", "in_system_growth_per_s", "prompt_tokens_per_s", "output_tokens_per_s",
        "preemptions_per_s",
    )  # fmt: skip
    counts = (
        "prompt_tokens", "output_tokens", "ttft_s", "itl_s", "e2e_s", "ttft_long_s", "itl_long_s", "e2e_long_s",
    )  # fmt: skip
    changed: dict[str, Any] = {name: _times(getattr(metrics, name), factor) for name in rates}
    changed |= {name: _more(getattr(metrics, name), factor) for name in counts}
    pools = {name: _busier_pool(pool, factor) for name, pool in metrics.pools.items()}
    return replace(
        metrics,
        pools=MappingProxyType(pools),
        **changed,
    )


def _busier_pool(pool: PoolMetrics, factor: float) -> PoolMetrics:
    return replace(pool, running=pool.running * factor, waiting=pool.waiting * factor)


def _more(histogram: Histogram | None, factor: float) -> Histogram | None:
    if histogram is None:
        return None
    return replace(
        histogram,
        counts=tuple(count * factor for count in histogram.counts),
        total=histogram.total * factor,
        sum=histogram.sum * factor,
    )


def _wider(histogram: Histogram | None, factor: float) -> Histogram | None:
    if histogram is None:
        return None
    return replace(histogram, bounds=tuple(bound * factor for bound in histogram.bounds), sum=histogram.sum * factor)


def _longer(mix: LengthMix, fleet: Fleet, factor: float) -> LengthMix:
    room = fleet.engine.limits.max_model_len_tokens - mix.output_tokens
    longest = mix.prompt_tokens.clip(min=room.clip(min=1))  # what was longer before stays as it was
    return replace(mix, prompt_tokens=(mix.prompt_tokens * factor).clip(max=longest))


def _longer_memory(memory: LengthMemory, fleet: Fleet, factor: float) -> LengthMemory:
    return replace(
        memory,
        prompt=_wider(memory.prompt, factor),
        mix_prompt=_wider(memory.mix_prompt, factor),
        mix=None if memory.mix is None else _longer(memory.mix, fleet, factor),
    )


def _points(points: Points, factor: float) -> Points:
    return tuple((at_s, rate * factor) for at_s, rate in points)


def _blocks(blocks: Blocks, factor: float) -> Blocks:
    return replace(
        blocks, means=tuple(_times(mean, factor) for mean in blocks.means), open_sum=blocks.open_sum * factor
    )


def _skill(skill: Skill, factor: float) -> Skill:
    """Errors grow with the rate, relative ones stay. Chance grows with the root: the dispersion is that of before."""
    return replace(
        skill,
        losses=tuple(loss * factor for loss in skill.losses),
        due=tuple(_due(each, factor) for each in skill.due),
        window_per_s=skill.window_per_s * factor,
        smooth_per_s=skill.smooth_per_s * factor,
        smooth_slope_per_s2=skill.smooth_slope_per_s2 * factor,
    )


def _due(due: DueForecast, factor: float) -> DueForecast:
    def guess(found: Guess | None) -> Guess | None:
        if found is None:
            return None
        return Guess(location_per_s=found.location_per_s * factor, deviation_per_s=found.deviation_per_s * factor)

    return replace(
        due,
        noise_per_s=due.noise_per_s * sqrt(factor),
        now_per_s=due.now_per_s * factor,
        guesses=tuple(guess(each) for each in due.guesses),
        upper_per_s=due.upper_per_s * factor,
    )
