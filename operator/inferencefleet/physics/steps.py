"""Engine steps of replicas that requests reach as a Poisson stream: how long they are, and how many there are.

A replica is described by how many other sequences a request meets, n. Three things make steps differ:

others       their number has the mean n and the variance n / (1 - q), where q says how strongly one more resident slows
             the others (the negative binomial law of processor sharing with residence a + b n, q = rate b)
prompts      chunks that arrived during the last step share this one, up to the token budget; a long step is followed
             by a longer one, so steps with and without chunks before them differ
left behind  a request that waited for its own prompt starts to decode when others wait behind it

The rate that keeps n others resident follows from Little's law. Arrays have the shape (replicas, points) unless said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from inferencefleet.physics.step import StepModel
from inferencefleet.physics.traffic import Traffic

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

OTHERS = 6
"""Numbers of other sequences that stand for their distribution."""
NODES = 4
"""Points of the grid that intervals are interpolated from."""
_NODES = np.arange(NODES)
_DIAGONAL = np.eye(NODES)
MOST_SWING = 0.95
_ONE_MORE = np.array([0.0, 1.0, 0.0])
_FULL = np.array([0.0, 0.0, 1.0])
MOST_SKEW = 1.5
ROUNDS = 2
"""Of the search for the chance of a chunk; the tokens carried are right within 1 % then."""
MOST_CHUNKS = 60.0
"""Mean chunks in one step; more does not change what the token budget lets through."""
MOST_OVERFLOW = 4.0
MOST_PREFILL = 0.95
"""Share of time that the queue formula for prompts takes as its largest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Steady states of replicas at given numbers of other sequences."""

    seqs: Floats
    rate: Floats
    """Requests/s that keep so many others resident; not yet limited by what the replica can do."""
    own_rate: Floats
    """Requests/s when n + 1 requests are always resident; at most those whose prompts there is time for."""
    swing: Floats
    """q: variance of the others is n / (1 - q)."""
    decode_s: Floats
    """A step without prompt tokens."""
    full_s: Floats
    """What a full token budget adds to it, attention left out."""
    busy: Floats
    """Share of steps that carry prompt tokens."""
    itl_mean_s: Floats
    intervals: Intervals

    def limited(self, most: Floats) -> Steps:
        """The same with rates that rise, and stay below `most` (replicas, 1)."""
        return replace(self, rate=np.minimum(np.maximum.accumulate(self.rate, axis=1), most))

    def between(self, low: Indices, seqs: Floats) -> Intervals:
        """Intervals at `seqs` (replicas, some), which lie around the grid points `low` (replicas,) and the next.

        Possible times and their chances change smoothly with the number of others where percentiles do not, so they
        are interpolated: by the cubic through four grid points.
        """
        first = np.minimum(np.maximum(low - 1, 0), self.seqs.shape[1] - NODES)
        rows = np.arange(len(low))[:, None]
        places = first[:, None] + _NODES
        nodes = self.seqs[rows, places]
        apart = nodes[:, :, None] - nodes[:, None, :] + _DIAGONAL
        away = np.where(_DIAGONAL > 0, 1.0, (seqs[..., None] - nodes[:, None])[..., None, :])
        shares = (away / apart[:, None]).prod(axis=-1)
        times, weights = self.intervals.times_s[rows, places], self.intervals.weights[rows, places]
        mixed = shares @ times.reshape(*places.shape, -1)
        return Intervals(
            times_s=mixed.reshape(*seqs.shape, *times.shape[2:]),
            weights=np.maximum(shares @ weights, 0.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervals:
    """Possible times between two tokens of a sequence, and their chances."""

    times_s: Floats
    """Shape (replicas, points, others, cells); all others are equally likely."""
    weights: Floats
    """Chance of each cell as a token sees it, shape (replicas, points, cells)."""

    def behind(self, other: Intervals) -> Intervals:
        """These after the first point of `other`."""
        return Intervals(
            times_s=np.concatenate((other.times_s[:, :1], self.times_s), axis=1),
            weights=np.concatenate((other.weights[:, :1], self.weights), axis=1),
        )

    def above(self, target_s: float) -> Floats:
        """Chance that an interval exceeds the target, shape (replicas, points): the inverse of `quantiles`."""
        points, cells = self.times_s.shape[:2], self.weights.shape[-1]
        times, rows = self.times_s.reshape(*points, -1), np.indices(points, sparse=True)
        under = times <= target_s
        reached = np.vecdot(under.reshape(self.times_s.shape).sum(axis=2, dtype=np.float64), self.weights)
        low, high = np.where(under, times, -np.inf).argmax(axis=-1), np.where(under, np.inf, times).argmin(axis=-1)
        first, second = times[*rows, low], times[*rows, high]
        chance = np.minimum(self.weights[*rows, low % cells], self.weights[*rows, high % cells])
        # Next to the end of all times there is nothing to go to.
        chance *= (first <= target_s) & (second > target_s)
        reached += chance * ((target_s - first) / np.maximum(second - first, 1e-300) - 0.5)
        return np.asarray(1.0 - reached / (OTHERS * self.weights.sum(axis=-1)))

    def quantiles(self, levels: Floats) -> Floats:
        """Inter-token latency at levels in (0, 1), shape (replicas, points, levels)."""
        shape = self.times_s.shape
        times = self.times_s.reshape(-1, shape[2] * shape[3])
        rows = np.arange(len(times))[:, None]
        order = times.argsort(axis=-1)
        times = times[rows, order]
        weights = self.weights.reshape(len(times), -1)[rows, order % shape[3]]
        reached = weights.cumsum(axis=-1)
        wanted = levels * reached[:, -1:]
        at = (reached[:, None, :] < wanted[..., None]).sum(axis=-1)
        at = np.minimum(at, times.shape[-1] - 1)
        low, high = np.maximum(at - 1, 0), np.minimum(at + 1, times.shape[-1] - 1)
        here, end = weights[rows, at], reached[rows, at]
        # From one possible time to the next over the smaller half of their weights.
        before = np.minimum(weights[rows, low], here) / 2
        after = np.minimum(weights[rows, high], here) / 2
        rise = np.minimum(np.maximum(1.0 - (wanted - (end - here)) / np.maximum(before, 1e-300), 0.0), 1.0) / 2
        fall = np.minimum(np.maximum(1.0 - (end - wanted) / np.maximum(after, 1e-300), 0.0), 1.0) / 2
        time = times[rows, at]
        found = time + rise * (times[rows, low] - time) + fall * (times[rows, high] - time)
        return np.asarray(found.reshape(*shape[:2], levels.size))


def prompts_fill(mix: Traffic) -> float:
    """The number of resident sequences whose prompts alone fill every step: more cannot decode at once."""
    steps = mix.decode_steps + mix.chunks
    # n chunks / steps chunks a step, each of chunk_tokens, against the budget that n sequences leave.
    each = mix.chunks * mix.chunk_tokens / steps
    return max(1.0, (mix.most_tokens * 0.999) / (each + mix.verified))


def steps_at(step: StepModel, mix: Traffic, seqs: Floats, most: Floats) -> Steps:
    """Steps where requests meet `seqs` others, at most `most` (replicas, 1) of them; seqs > 0.

    `step` is one replica, or several of one model stacked along a leading axis.
    """
    replicas, points = seqs.shape
    per_request = mix.decode_steps + mix.chunks
    arrivals = seqs * (mix.chunks / per_request)
    alone = (1.0 + seqs)[..., None]
    room = np.maximum(1.0, mix.most_tokens - mix.verified * alone)
    cells = np.minimum(mix.cells, room)
    needed = np.minimum(arrivals * mix.chunk_tokens, 0.999 * room[..., 0])

    # A decode step, one with one more sequence, and what a full token budget adds, in one go.
    batches = alone + _ONE_MORE
    shared = step.shared_array(batches, cells[..., -1:] * _FULL)
    reading = step.decode_attention_array(batches, batches * mix.context_tokens)
    base, more = shared[..., 0] + reading[..., 0], shared[..., 1] + reading[..., 1]
    full = shared[..., 2] - shared[..., 0]
    attention = step.prompt_attention_array(mix.cached, mix.new)
    work = (full / cells[..., -1])[..., None] * mix.new + attention
    prompt_s = np.vecdot(work, mix.share)
    chunk_s = prompt_s / mix.chunks

    slope = per_request * (more - base) + prompt_s
    swing = np.minimum(seqs * slope / (per_request * base + (seqs + 1.0) * prompt_s), MOST_SWING)
    others = _others(seqs, swing, most)
    batch = (1.0 + others).reshape(replicas, points * OTHERS, 1)
    # Whoever meets more others than the mean meets smaller chunks: no step has more tokens than the budget.
    tokens = np.minimum(np.repeat(cells, OTHERS, axis=1), np.maximum(1.0, mix.most_tokens - mix.verified * batch))
    times = step.seconds_array(batch, batch * mix.context_tokens, tokens, mix.attended)
    times = times.reshape(replicas, points, OTHERS, -1)
    mean_times = times.sum(axis=2) / OTHERS

    mean = base + arrivals * chunk_s
    overflow = np.ones_like(seqs)
    for _ in range(ROUNDS):
        wanted = np.minimum(arrivals * overflow, MOST_CHUNKS)
        after_idle = np.minimum(wanted * base / mean, 0.999999 * wanted)
        busy, after_busy = _chunk_steps(wanted, after_idle)
        density = _tokens_carried(mix, after_idle, after_busy, busy)
        carried = np.vecdot(density, cells)
        overflow = np.minimum(overflow * needed / carried, MOST_OVERFLOW)
        mean = np.vecdot(density, mean_times)

    own = work + (base / cells[..., -1])[..., None] * mix.new
    stay = per_request * mean
    prefill_s = np.vecdot(own, mix.share)
    delay = _left_behind(seqs / stay, seqs, stay, prefill_s, np.vecdot(own * own, mix.share))

    idle_s = mean_times[..., 0]
    # Hardly ever any where requests are rare or prompts hit the prefix cache.
    loaded = np.maximum(1.0 - density[..., 0], 1e-15)
    busy_s = idle_s + (mean - idle_s) / loaded
    seen = (mean * (1.0 + delay / stay) - idle_s) / np.maximum(busy_s - idle_s, 1e-12)
    seen = np.minimum(np.maximum(seen, loaded), 1.0)
    weights = density * (seen / loaded)[..., None]
    weights[..., 0] = 1.0 - seen
    itl = np.vecdot(weights, mean_times)
    return Steps(
        seqs=seqs,
        rate=seqs / (stay + delay),
        own_rate=np.minimum((seqs + 1.0) / stay, 1.0 / prefill_s),
        swing=swing,
        decode_s=base,
        full_s=full,
        busy=loaded,
        itl_mean_s=itl,
        intervals=Intervals(times_s=times, weights=weights),
    )


def _left_behind(rate: Floats, seqs: Floats, stay: Floats, work: Floats, square: Floats) -> Floats:
    """Seconds that a request's tokens are delayed by prompts that arrived while it waited for its own.

    It leaves prefill rate x wait seconds of them behind; the wait is that of a queue M/G/1 (Pollaczek and Khinchine).
    """
    delay = np.zeros_like(seqs)
    for _ in range(2):
        prefill = np.minimum(rate * work, MOST_PREFILL)
        delay = prefill * rate * square / (2.0 * (1.0 - prefill))
        rate = seqs / (stay + delay)
    return delay


def _others(seqs: Floats, swing: Floats, most: Floats) -> Floats:
    """Numbers of other sequences, equally likely, shape (replicas, points, OTHERS)."""
    normal, bend = _normal_nodes()
    apart = 1.0 / (1.0 - swing)
    skew = np.minimum(MOST_SKEW, (1.0 + swing) * np.sqrt(apart / seqs))
    nodes = normal + skew[..., None] * bend
    spread = np.minimum(np.sqrt(seqs * apart), np.maximum(most - 1.0 - seqs, 0.0) / nodes[..., -1])
    found = np.maximum(seqs[..., None] + spread[..., None] * nodes, 0.0)
    found *= (seqs * OTHERS / found.sum(axis=-1))[..., None]
    return found


def _chunk_steps(wanted: Floats, after_idle: Floats) -> tuple[Floats, Floats]:
    """Share of steps that carry chunks, and mean chunks in a step that follows one of them.

    A step carries none with the chance e^-m, m = `after_idle` or the unknown y, so the share of those that do is
    b = p / (p + e^-y) with p = 1 - e^-after_idle, and the mean must be (1 - b) after_idle + b y = w, `wanted`. With
    t = y - w that is t e^t = (w - after_idle) e^-w / p: Lambert's function, by its logarithmic approximation (1 % off)
    and two steps of Newton's method.
    """
    idle = -np.expm1(-after_idle)
    right = (wanted - after_idle) * np.exp(-wanted) / idle
    log = np.log1p(right)
    found = log * (1.0 - np.log1p(log) / (2.0 + log))
    for _ in range(2):
        found = (found * found + right * np.exp(-found)) / (1.0 + found)
    found = wanted + found
    return idle / (idle + np.exp(-found)), found


def _tokens_carried(mix: Traffic, after_idle: Floats, after_busy: Floats, busy: Floats) -> Floats:
    """Chance of each cell of prompt tokens in a step, shape (replicas, points, cells); the last holds all above."""
    real, imaginary = mix.sizes
    chunks = np.array((after_idle, after_busy))[..., None]
    size = np.exp(chunks * real) * np.array((1.0 - busy, busy))[..., None]
    angle = chunks * imaginary
    waves = np.concatenate((size * np.cos(angle), size * np.sin(angle)), axis=-1)
    last = mix.tokens_of.shape[1]
    found = np.empty((*busy.shape, last + 1))
    below = np.matmul(waves[0] + waves[1], mix.tokens_of, out=found[..., :last])
    np.maximum(below, 0.0, out=below)
    found[..., last] = np.maximum(1.0 - below.sum(axis=-1), 0.0)
    found /= found.sum(axis=-1, keepdims=True)
    return found


@lru_cache(maxsize=1)
def _normal_nodes() -> tuple[Floats, Floats]:
    """Quantile midpoints of the normal law, ascending, scaled to variance 1, and what skewness adds to each."""
    inverse = NormalDist().inv_cdf
    nodes = np.array([inverse((index + 0.5) / OTHERS) for index in range(OTHERS)])
    nodes /= np.sqrt((nodes * nodes).mean())
    return nodes, (nodes * nodes - 1.0) / 6.0
