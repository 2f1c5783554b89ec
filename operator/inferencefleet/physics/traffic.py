"""What a length mix means for an engine with a token budget, the same for every replica that serves it.

Prompts are cut into chunks of at most the token budget. The tokens that arrive within one step are a sum of a Poisson
number of chunks; its distribution comes from the Fourier transform of the chunk sizes on a grid of token counts, so
percentiles need no sampling and are smooth in every input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.prefill import chunk_count, host_s, new_tokens
from inferencefleet.physics.residence import resident_context_tokens
from inferencefleet.physics.speculation import tokens_per_step, verified_tokens

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

PROMPTS = 96
"""Groups of prompts of similar length that stand for the mix where outputs do not matter; means are kept."""
ARRIVALS = 1024
SEED = 674
"""Of 1,500 orders of the sample the one of those nearest to queues of two million arrivals (fixed, exponential and two
lognormal laws of work at utilisations of 0.3 to 0.9; p50 to p99) whose largest error is least: 8 % off on average."""
CELLS = (32, 64, 128)
FINE = 4.5
"""A mean chunk spans about so many cells."""
DAMPING = 1e-8
"""The transform covers one budget, damped to this at its end: what more tokens wrap around is as small."""
TYPICAL_SEQS = 64
"""Decoding sequences whose tokens are taken off the budget when prompts are cut; at most one in four slots."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """One mix under one set of engine limits. Shapes: c cells + 1, p groups of prompts, a arrivals."""

    lengths: LengthMix
    """Clipped to the maximum model length."""
    tokens_per_step: float
    verified: float
    """Tokens of each decoding sequence in a step; above 1 with speculative decoding."""
    most_tokens: float
    """max_num_batched_tokens."""
    decode_steps: float
    """Mean steps after the first token."""
    chunks: float
    """Mean steps that a prompt is spread over."""
    chunk_tokens: float
    budget: float
    """Prompt tokens of a full chunk."""
    cells: Floats
    """Tokens of each cell, 0 to `budget`, shape (c,)."""
    attended: Floats
    """Mean context that a prompt token attends to in a step of so many prompt tokens, shape (c,)."""
    sizes: Floats
    """Fourier transform of the damped chunk sizes, minus 1: real and imaginary parts, shape (2, frequencies)."""
    tokens_of: Floats
    """Transforms back, real parts before imaginary ones, to cells without damping: (2 frequencies, c)."""
    context_tokens: float
    share: Floats
    """Share of requests in each group of prompts, shape (p,)."""
    cached: Floats
    new: Floats
    last: Floats
    """Tokens of the last chunk, shape (p,)."""
    cuts: Floats
    """Chunks, shape (p,)."""
    group: Indices
    """Which group of prompts each sampled arrival has, shape (a,)."""
    steps_after_first: Floats
    """Of each sampled arrival, shape (a,)."""
    host_s: Floats
    spread2: float
    """Squared coefficient of variation of the steps that requests stay for."""


def traffic(shape: ReplicaShape, lengths: LengthMix) -> Traffic:
    """`lengths` are clipped; of `shape` only limits and speculation count."""
    limits = shape.limits
    verified = float(verified_tokens(shape.speculation))
    most = float(limits.max_num_batched_tokens)
    budget = max(1.0, most - verified * min(TYPICAL_SEQS, limits.max_num_seqs / 4))
    gain = tokens_per_step(shape.speculation)

    order = np.argsort(lengths.prompt_tokens, kind="stable")
    count = order.size
    starts, held, ranks, drawn = _grouped(count)
    prompt = np.add.reduceat(lengths.prompt_tokens[order], starts) / held
    new = new_tokens(prompt, lengths.prefix_hit_ratio)
    cached = np.maximum(prompt - new, 0.0)
    share = held / count

    exact = new_tokens(lengths.prompt_tokens, lengths.prefix_hit_ratio)
    cuts = chunk_count(exact, budget)
    last = exact - (cuts - 1) * budget
    full = float(cuts.sum()) - count
    chunk_tokens = float(exact.sum()) / (count + full)
    number = next((cells for cells in CELLS if cells * chunk_tokens >= FINE * budget), CELLS[-1])
    place = last * (number / budget)
    cell = np.minimum(place.astype(np.intp), number - 1)
    part = place - cell
    # Full chunks, in the last cell, are left out: any sum with one of them fills the budget.
    damped, waves, tokens_of = _transform(number)
    filled = np.bincount(cell, 1 - part, number + 1) + np.bincount(cell + 1, part, number + 1)
    density = filled[:number] * (damped / (count + full))

    out_steps = np.maximum(lengths.output_tokens - 1.0, 0.0) / gain
    stays = out_steps + cuts
    stay = float(stays.sum()) / count
    rank = np.empty(count, dtype=np.intp)
    rank[order] = ranks
    return Traffic(
        lengths=lengths,
        tokens_per_step=gain,
        verified=verified,
        most_tokens=most,
        decode_steps=float(out_steps.sum()) / count,
        chunks=(count + full) / count,
        chunk_tokens=chunk_tokens,
        budget=budget,
        cells=np.arange(number + 1, dtype=np.float64) * (budget / number),
        attended=_attended(number, budget, lengths.prompt_tokens - exact, exact, cuts, last),
        sizes=(density @ waves).reshape(2, -1) - np.array([[1.0], [0.0]]),
        tokens_of=tokens_of,
        context_tokens=resident_context_tokens(lengths)[0],
        share=share,
        cached=cached,
        new=new,
        last=np.maximum(new - (chunk_count(new, budget) - 1) * budget, 0.0),
        cuts=chunk_count(new, budget),
        group=rank[drawn],
        steps_after_first=out_steps[drawn],
        host_s=host_s(lengths.prompt_tokens)[drawn],
        spread2=max(0.0, float(stays @ stays) / count / stay**2 - 1.0),
    )


@lru_cache(maxsize=8)
def _grouped(count: int) -> tuple[Indices, Indices, Indices, Indices]:
    """Where each group of so many prompts starts, how many it has, the group of each, and who arrives."""
    groups = min(PROMPTS, count)
    starts = (np.arange(groups) * count) // groups
    held = np.diff(np.append(starts, count))
    return starts, held, np.repeat(np.arange(groups), held), (arrival_sample().order * count).astype(np.intp)


@lru_cache(maxsize=len(CELLS))
def _transform(number: int) -> tuple[Floats, Floats, Floats]:
    """Damping of cells; the Fourier transform of real values there and back, the way back without the damping.

    As matrices: so few cells are multiplied faster than transformed by halves.
    """
    cells, frequencies = np.arange(number), np.arange(number // 2 + 1)
    angle = 2.0 * np.pi / number * np.outer(frequencies, cells)
    waves = np.concatenate((np.cos(angle), -np.sin(angle)))
    # Every frequency but the first and the last stands for two.
    twice = np.where((frequencies == 0) | (frequencies == number // 2), 1.0, 2.0) / number
    damped = DAMPING ** (cells / number)
    return damped, np.ascontiguousarray(waves.T), waves * np.tile(twice, 2)[:, None] / damped


def _attended(number: int, budget: float, cached: Floats, new: Floats, cuts: Floats, last: Floats) -> Floats:
    """Context of a token in last chunks, and of one in the chunks of long prompts, which fill a step alone."""
    full = (cuts - 1) * budget
    short = float((last * (cached + full + last / 2)).sum() / last.sum())
    found = np.full(number + 1, short)
    tokens = float(full.sum())
    if tokens > 0:
        found[number] = float((full * (cached + full / 2)).sum() / tokens)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrivalSample:
    """Levels in (0, 1) of what chance decides about each arrival, and the gaps before the next one; shape (a,).

    Values are stratified (so means and percentiles are exact) and only their order is shuffled, by a fixed seed.
    """

    gaps: Floats
    """Exponential, of mean 1."""
    order: Floats
    """Which request arrives."""
    phase: Floats
    """When in the running step."""
    room: Floats
    """How much of the budget is left behind the own last chunk."""
    admission: Floats
    """Exponential, of mean 1: how far up the queue for a slot or for KV cache."""


@lru_cache(maxsize=1)
def arrival_sample() -> ArrivalSample:
    """The one sample of all questions: equal questions get equal answers."""
    shuffle = np.random.default_rng(SEED)
    levels = (np.arange(ARRIVALS) + 0.5) / ARRIVALS
    gaps = shuffle.permutation(-np.log1p(-levels))
    return ArrivalSample(
        gaps=gaps / gaps.mean(),
        order=shuffle.permutation(levels),
        phase=shuffle.permutation(levels),
        room=shuffle.permutation(levels),
        admission=-np.log1p(-shuffle.permutation(levels)),
    )
