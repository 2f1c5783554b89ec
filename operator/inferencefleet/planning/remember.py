"""The traffic of the past: one rate a tick for half an hour, and five-minute means for two weeks."""

from __future__ import annotations

from dataclasses import replace

from inferencefleet.domain.history import BLOCK_S, BLOCKS_KEPT, Blocks, History, Points
from inferencefleet.domain.plan import Demand
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.planning.forecasting.skill import watched
from inferencefleet.planning.forecasting.ways import smoothed

LEAST_APART_S = 5.0
"""A loop that is woken more often than this remembers no more: the last point moves on until it is so far."""
LONGEST_TICK_S = 120.0
"""A rate stands for the time since the tick before, but not for a silence."""


def remember_arrivals(memory: FleetMemory, demand: Demand, *, at_s: float, kept_s: float) -> FleetMemory:
    """With what arrives now; a rate that is not observed is not remembered."""
    if not demand.observed:
        return memory
    rate = demand.arrivals_per_s
    last_s = memory.arrivals[-1][0] if memory.arrivals else at_s
    if at_s < last_s:
        memory = replace(memory, arrivals=tuple(point for point in memory.arrivals if point[0] < at_s))
        last_s = at_s
    blocks = memory.blocks.observed(at_s, rate, min(LONGEST_TICK_S, at_s - last_s)) if at_s > last_s else memory.blocks
    return replace(memory, arrivals=_with(memory.arrivals, at_s, rate, at_s - kept_s), blocks=blocks)


def _with(points: Points, at_s: float, rate: float, oldest_s: float) -> Points:
    begin = 0
    while begin < len(points) and points[begin][0] <= oldest_s:
        begin += 1
    end = len(points)
    repeated = end > 0 and at_s <= points[-1][0]
    if repeated or (end - begin >= 2 and points[-1][0] - points[-2][0] < LEAST_APART_S):
        end -= 1
    return (*points[begin:end], (at_s, rate))


def reminded(memory: FleetMemory, history: History) -> FleetMemory:
    """The memory of a process that has just begun, with what a metrics store knows from before. Own points win."""
    begins_s = memory.arrivals[0][0] if memory.arrivals else float("inf")
    earlier = tuple(point for point in sorted(history.recent) if point[0] < begins_s)
    skill = memory.skill
    if not memory.arrivals:
        for at_s, rate in earlier:
            skill = smoothed(watched(skill, at_s, rate, history.window_s), at_s, rate)
    return replace(
        memory,
        arrivals=(*earlier, *memory.arrivals),
        blocks=memory.blocks if memory.blocks.means else _blocks(history.blocks, memory.blocks),
        skill=skill,
    )


def _blocks(points: Points, own: Blocks) -> Blocks:
    """Five-minute means on the grid, None where the store has none; the open block stays our own."""
    rates = {round(at_s / BLOCK_S): rate for at_s, rate in points}
    if not rates:
        return own
    newest = max(rates)
    first = max(min(rates), newest - BLOCKS_KEPT + 1)
    return replace(own, first=first, means=tuple(rates.get(block) for block in range(first, newest + 1)))
