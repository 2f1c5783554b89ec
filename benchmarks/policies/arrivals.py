"""Making, scaling and joining arrivals.

Scaling keeps what the record says about bursts. Down: *thinning*, every request (or whole conversation) stays with the
same probability, as if a share of the users had come. Up: *superposition*, copies of the record that are each shifted
by up to a minute, so that each copy keeps its bursts and the curve over minutes keeps its shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inferencefleet.simulator.servers import Arrivals, Floats, Integers

SHIFT_S = 60.0
"""Most that a copy is shifted by in a superposition."""
Lengths = Callable[[np.random.Generator, Floats], tuple[Integers, Integers]]
"""Prompt and output tokens of requests that arrive at these times."""


@dataclass(frozen=True, slots=True)
class Step:
    """Traffic at a constant rate."""

    lasts_s: float
    requests_per_s: float
    dispersion: float = 1.0
    """Variance of counts over their mean, over times that are long beside a gap: 1 = Poisson."""


def of(arrival_s: Floats, prompt: Integers, output: Integers) -> Arrivals:
    """Requests that share nothing."""
    size = arrival_s.size
    return Arrivals(
        arrival_s=arrival_s,
        prompt_tokens=prompt.astype(np.int64),
        output_tokens=output.astype(np.int64),
        prefix_tokens=np.zeros(size, dtype=np.int64),
        session=np.full(size, -1, dtype=np.int64),
    )


def taken(arrivals: Arrivals, which: Integers | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Arrivals:
    return Arrivals(
        arrival_s=arrivals.arrival_s[which],
        prompt_tokens=arrivals.prompt_tokens[which],
        output_tokens=arrivals.output_tokens[which],
        prefix_tokens=arrivals.prefix_tokens[which],
        session=arrivals.session[which],
    )


def joined(parts: Sequence[Arrivals]) -> Arrivals:
    """All of them in the order of arrival; sessions of different parts stay different."""
    sessions, first = [], 0
    for part in parts:
        sessions.append(np.where(part.session < 0, -1, part.session + first))
        first += int(part.session.max(initial=-1)) + 1
    together = Arrivals(
        arrival_s=np.concatenate([part.arrival_s for part in parts]),
        prompt_tokens=np.concatenate([part.prompt_tokens for part in parts]),
        output_tokens=np.concatenate([part.output_tokens for part in parts]),
        prefix_tokens=np.concatenate([part.prefix_tokens for part in parts]),
        session=np.concatenate(sessions),
    )
    return taken(together, np.argsort(together.arrival_s, kind="stable"))


def made(steps: Sequence[Step], lengths: Lengths, seed: int) -> Arrivals:
    """A Gamma renewal process that follows the rates: its gaps are drawn in operational time, where its rate is 1."""
    chance = np.random.default_rng(seed)
    times, began_s = [], 0.0
    for step in steps:
        expected = step.lasts_s * step.requests_per_s
        if expected > 0:
            times.append(began_s + _renewals(expected, step.dispersion, chance) / step.requests_per_s)
        began_s += step.lasts_s
    arrival_s = np.concatenate(times) if times else np.zeros(0)
    return of(arrival_s, *lengths(chance, arrival_s))


def _renewals(span: float, dispersion: float, chance: np.random.Generator) -> Floats:
    """Arrivals of a Gamma process of rate 1 on [0, span); it is as good as under way when the span begins."""
    if not dispersion > 0:
        raise ValueError(f"dispersion={dispersion}: must be above 0; 1 is a Poisson process")
    shape = 1.0 / dispersion
    lead = 5.0 * dispersion
    many = int((span + lead) + 6 * math.sqrt(dispersion * (span + lead)) + 20)
    times = np.cumsum(chance.gamma(shape, dispersion, size=many)) - lead
    while times[-1] < span:
        times = np.concatenate([times, times[-1] + np.cumsum(chance.gamma(shape, dispersion, size=many))])
    return times[(times >= 0) & (times < span)]


def scaled(arrivals: Arrivals, factor: float, lasts_s: float, seed: int) -> Arrivals:
    """`factor` times as many requests in the same `lasts_s` seconds; see above for how."""
    if not factor > 0:
        raise ValueError(f"factor={factor}: must be above 0")
    copies = math.ceil(factor - 1e-9)
    chance = np.random.default_rng(seed)
    shifts = [0.0, *chance.uniform(0.0, SHIFT_S, size=copies - 1)]
    together = joined([shifted(arrivals, shift, lasts_s) for shift in shifts])
    return thinned(together, factor / copies, seed + 1)


def shifted(arrivals: Arrivals, by_s: float, lasts_s: float) -> Arrivals:
    """Later by some seconds; what leaves at the end comes in at the beginning, without what it had in common."""
    late = arrivals.arrival_s + by_s
    wraps = late >= lasts_s
    moved = replace(
        arrivals,
        arrival_s=np.where(wraps, late - lasts_s, late),
        prefix_tokens=np.where(wraps & (arrivals.session >= 0), 0, arrivals.prefix_tokens),
        session=np.where(wraps, -1, arrivals.session),
    )
    return taken(moved, np.argsort(moved.arrival_s, kind="stable"))


def thinned(arrivals: Arrivals, share: float, seed: int) -> Arrivals:
    """Each conversation, and each request that belongs to none, stays with probability `share`."""
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: must be above 0 and at most 1; use `scaled` to get more requests")
    if share == 1:
        return arrivals
    chance = np.random.default_rng(seed)
    alone = chance.random(len(arrivals)) < share
    sessions = chance.random(int(arrivals.session.max(initial=-1)) + 1) < share
    if sessions.size == 0:
        return taken(arrivals, alone)
    return taken(arrivals, np.where(arrivals.session < 0, alone, sessions[np.maximum(arrivals.session, 0)]))


def window(arrivals: Arrivals, from_s: float, to_s: float) -> Arrivals:
    """What arrives in [from, to), with times since `from`."""
    part = taken(arrivals, (arrivals.arrival_s >= from_s) & (arrivals.arrival_s < to_s))
    return replace(part, arrival_s=part.arrival_s - from_s)


def with_prompts(arrivals: Arrivals, factor: Floats) -> Arrivals:
    """Prompts as many times as long, request by request."""
    return replace(arrivals, prompt_tokens=np.maximum(1, np.rint(arrivals.prompt_tokens * factor)).astype(np.int64))


def fitting(arrivals: Arrivals, max_model_len_tokens: int) -> Arrivals:
    """Prompts cut where prompt and output exceed what the model takes, as a gateway that knows the limit would."""
    output = np.minimum(arrivals.output_tokens, max_model_len_tokens // 2)
    prompt = np.minimum(arrivals.prompt_tokens, max_model_len_tokens - output)
    return replace(
        arrivals,
        prompt_tokens=prompt,
        output_tokens=output,
        prefix_tokens=np.minimum(arrivals.prefix_tokens, prompt),
    )
