"""How many spot nodes may be down at once: the smallest number that is exceeded as rarely as the SLO allows."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp
from operator import mul

from inferencefleet.domain.pool import GROUP_SHARES, InterruptionRecord, Pool
from inferencefleet.planning.interruptions import HOUR_S, Belief, believe

REACTION_S = 30.0
"""From a notice to the replacement's start: the watch, one tick of planning, the scheduler."""
PRIOR_DEATHS = 2.0
"""The declared notice weighs as much as two deaths after it."""
_MOST_STEPS = 16
"""Large pools are counted in steps of several nodes, so that the answer stays cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What of a pool may be missing at any one moment because it was taken back."""

    nodes: int
    """Hold spare for so many; more are down at once no more often than was asked for."""
    probability_per_hour: float
    """That a loss of `nodes` (of one, if that is 0) comes within an hour."""
    expected_down: float
    """Mean number of nodes that are down."""
    exceeded: float
    """Share of time in which more than `nodes` are down."""
    sentence: str


def down_s(record: InterruptionRecord, pool: Pool, *, replace_s: float, drain_s: float = 0.0) -> float:
    """Mean seconds that a lost node is missing: its replacement starts at the notice, so only the rest counts.

    `drain_s` of the notice are needed for running requests.
    """
    noticed = PRIOR_DEATHS + record.noticed
    notice_s = (PRIOR_DEATHS * pool.spot_notice_s + record.notice_sum_s) / noticed
    warned_s = max(0.0, replace_s - max(0.0, notice_s - drain_s - REACTION_S))
    return (noticed * warned_s + record.silent * max(0.0, replace_s)) / (noticed + record.silent)


def plausible_loss(
    record: InterruptionRecord,
    pool: Pool,
    *,
    nodes_used: int,
    replace_s: float,
    attainment: float,
    at_s: float,
    drain_s: float = 0.0,
) -> Loss:
    """Nodes of `nodes_used` that may be down at once, exceeded in at most 1 - `attainment` of the time.

    Events of every size come at rates that are only known as Gamma distributions (what was declared plus what was
    seen), so the number down is a sum of negative binomials, each times the size of its events.
    """
    window_h = down_s(record, pool, replace_s=replace_s, drain_s=drain_s) / HOUR_S
    step = max(1, ceil(nodes_used / _MOST_STEPS))
    kinds = _kinds(believe(record, pool, at_s), nodes_used, step, window_h)
    expected = sum(size * shape * odds / (1 - odds) for size, shape, odds in kinds) * step
    if nodes_used <= 0 or window_h <= 0 or not kinds:
        return _told(record, pool, nodes_used, 0, per_hour=0.0, expected=expected, exceeded=0.0)
    nodes, reached, exceeded = _smallest(kinds, ceil(nodes_used / step), max(0.0, 1 - attainment))
    # An episode lasts about the window: so often must one begin for that share of time.
    often = (exceeded if nodes == 0 else reached) / window_h
    return _told(
        record, pool, nodes_used, min(nodes_used, nodes * step),
        per_hour=1 - exp(-often), expected=min(expected, float(nodes_used)), exceeded=exceeded,
    )  # fmt: skip


Kind = tuple[int, float, float]
"""Events of one size: steps of nodes, shape of their rate, odds A = exposure / (hours + exposure)."""


def _kinds(belief: Belief, nodes: int, step: int, window_h: float) -> list[Kind]:
    exposed = nodes * window_h
    found = [(1.0, belief.lone, exposed / (belief.lone_hours + exposed))]
    odds = window_h / (belief.group_hours + window_h)
    found += [(share * nodes, shape, odds) for share, shape in zip(GROUP_SHARES, belief.groups, strict=True)]
    kinds: list[Kind] = []
    for size, shape, chance in found:
        # Part of a step is sometimes none and sometimes one: the mean stays right.
        below, part = divmod(size / step, 1.0)
        kinds += [
            (steps, shape * weight, chance)
            for steps, weight in ((int(below), 1 - part), (int(below) + 1, part))
            if steps > 0 and shape * weight > 0 and chance > 0
        ]
    return kinds


def _smallest(kinds: list[Kind], most: int, allowed: float) -> tuple[int, float, float]:
    """(k, P(at least k down), P(more than k down)): the smallest k whose excess is allowed, `most` at the latest.

    Chances follow from those before: n g(n) = sum over i of h(i) g(n - i), where h collects the kinds whose size
    divides i (the derivative of the logarithm of their generating function).
    """
    none, pulls = 1.0, [0.0] * (most + 1)
    for size, shape, odds in kinds:
        none *= (1 - odds) ** shape
        pull = shape * size
        for multiple in range(size, most + 1, size):
            pull *= odds
            pulls[multiple] += pull
    chances, left = [none], 1.0
    for down in range(most):
        beyond = left - chances[down]
        if beyond <= allowed:
            return down, left, max(0.0, beyond)
        left, following = beyond, down + 1
        # chances[-1] goes with pulls[1], chances[-2] with pulls[2], ...
        chances.append(sum(map(mul, pulls[1 : following + 1], reversed(chances))) / following)
    return most, max(0.0, left), 0.0


def _told(
    record: InterruptionRecord, pool: Pool, used: int, nodes: int, *, per_hour: float, expected: float, exceeded: float
) -> Loss:
    seen = f"{record.events:.1f} interruptions in {record.node_hours:.0f} node hours"
    often = f"1 in {1 / per_hour:.0f} hours" if 0 < per_hour < 0.5 else "more than once in 2 hours"
    coming = f", such a loss {often}" if per_hour > 0 and nodes else f", any loss {often}" if per_hour > 0 else ""
    return Loss(
        nodes=nodes,
        probability_per_hour=per_hour,
        expected_down=expected,
        exceeded=exceeded,
        sentence=(
            f"of {used} nodes of {pool.name} {nodes} may be down at once{coming}; more than that "
            f"{100 * exceeded:.2g} % of the time ({seen}, and the declared rate)"
        ),
    )
