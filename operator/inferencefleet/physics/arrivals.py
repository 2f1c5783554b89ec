"""Requests that reach replicas as a Poisson stream (sizing physics 1.5): waits, time to first token, whole requests.

Two queues lie before the first token. Admission: sequence slots and KV cache are full for a while (the many-server
queue of Halfin and Whitt, with residents that slow each other down). Prompts: the engine prefills first come, first
served; a Lindley recursion over one fixed sample gives the whole distribution, so percentiles keep those of the length
mix. A prompt is done when its step ends, and prompts that arrived meanwhile fill that step up to the token budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import erf, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from inferencefleet.physics.step import StepModel
from inferencefleet.physics.steps import Steps
from inferencefleet.physics.traffic import Traffic, arrival_sample

Floats = NDArray[np.float64]

_LEVELS = 6
FULLEST = 0.999
"""Utilisation above which waits are those at it: beyond it they only grow with time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Room:
    """How many requests replicas hold, shape (replicas, 1)."""

    seqs: Floats
    size_spread2: Floats
    """Squared coefficient of variation of what a resident holds of the scarcer resource; 0 for slots."""
    rate: Floats
    """Requests/s that a full replica completes: what arrives faster cannot be served."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Queue:
    """Everything about arrivals that does not change with the rate; built by `queue`."""

    mix: Traffic
    grid: Steps
    room: Room
    attention_s: Floats
    """Of each group of prompts, shape (replicas or 1, 1, p)."""
    levels: Floats
    """Of each point: seqs, decode_s, full_s, busy, swing, itl_mean_s, and what a prompt of each group adds to the steps
    that carry it when it is alone: shape (replicas, points, 6 + p)."""
    residence: Floats
    """From each point to the next: seqs, their difference, residence and its slope, (4, replicas, points - 1)."""

    def seqs_at(self, rate: Floats) -> tuple[NDArray[np.intp], Floats]:
        """The grid point below rates of shape (replicas, 1) and the mean number of resident requests there."""
        low, share = self._place(rate)
        return low[:, 0], _mixed(self.grid.seqs[..., None], low, share)[..., 0]

    def _place(self, rate: Floats) -> tuple[NDArray[np.intp], Floats]:
        """The grid point below each rate and the way to the next, with residence linear in between."""
        grid = self.grid
        below = (grid.rate[:, None, :] <= rate[..., None]).sum(axis=-1) - 1
        low = np.minimum(np.maximum(below, 0), grid.seqs.shape[1] - 2)
        rows = np.arange(grid.seqs.shape[0])[:, None]
        first, width, stay, slope = self.residence[:, rows, low]
        seqs = rate * (stay - slope * first) / np.maximum(1.0 - rate * slope, 1e-9)
        return low, np.minimum(np.maximum((seqs - first) / width, 0.0), 1.0)

    def sample(self, rate: Floats) -> Arrivals:
        """Sampled requests at rates of shape (replicas, r)."""
        mix, drawn = self.mix, arrival_sample()
        rate = np.maximum(np.minimum(rate, FULLEST * self.room.rate), 1e-12)
        low, share = self._place(rate)
        mixed = _mixed(self.levels, low, share)
        seqs, decode, full, busy, swing, itl = (mixed[..., number] for number in range(_LEVELS))
        single = mixed[..., _LEVELS:]
        budget = np.maximum(1.0, np.minimum(mix.budget, mix.most_tokens - mix.verified * (1.0 + seqs)))

        # A prompt alone hides behind the reading of weights; one that shares its step with others does not.
        work = ((busy * full + decode) / budget)[..., None] * mix.new
        work += busy[..., None] * self.attention_s + (1.0 - busy)[..., None] * single
        prefill = np.minimum(rate * np.vecdot(work, mix.share), 1.0)
        work = np.take(work, mix.group, axis=-1)
        waits = _waits(work, drawn.gaps / rate[..., None])
        # Until the prompts that share the own step are done; in place, for there are many arrivals.
        left = np.add(waits, work, out=work)
        np.subtract((full + decode)[..., None], left, out=left)
        np.maximum(left, (full + decode)[..., None] * drawn.room, out=left)
        waits += (decode * -np.expm1(-seqs))[..., None] * drawn.phase
        np.minimum(left, prefill[..., None] * waits, out=left)
        ttft = np.take(single + decode[..., None] * mix.cuts, mix.group, axis=-1)
        ttft += waits
        ttft += left
        ttft += mix.host_s
        admission = self._admission(rate, seqs, swing, drawn.admission)
        if admission is not None:
            ttft += admission
        return Arrivals(
            mix=mix,
            rate=rate,
            seqs=seqs,
            itl_mean_s=itl,
            ttft_s=ttft,
            utilisation=rate / self.room.rate,
        )

    def alone(self) -> Arrivals:
        """Requests that meet an empty replica: the floor."""
        grid = self.grid
        own = (self.levels[:, :1, _LEVELS:] + grid.decode_s[:, :1, None] * self.mix.cuts)[..., self.mix.group]
        return Arrivals(
            mix=self.mix,
            rate=np.zeros_like(grid.seqs[:, :1]),
            seqs=np.zeros_like(grid.seqs[:, :1]),
            itl_mean_s=grid.itl_mean_s[:, :1],
            ttft_s=own + self.mix.host_s,
            utilisation=np.zeros_like(grid.seqs[:, :1]),
        )

    def _admission(self, rate: Floats, seqs: Floats, swing: Floats, levels: Floats) -> Floats | None:
        """Waits for a slot or for KV cache, exponential where a request waits at all; None where nobody does.

        Below the limit the number of residents is about normal, above it geometric with the ratio of rate and what a
        full replica completes; the two masses give the chance of waiting. Lengths that vary make departures come in
        bursts, which stretches the queue by (1 + cv^2) / 2 as in every queue of general service times.
        """
        stretch = (1.0 + self.mix.spread2) / 2.0
        left = self.room.rate - rate
        spread = np.sqrt(seqs / (1.0 - swing) + seqs * self.room.size_spread2)
        distance = (self.room.seqs - seqs) / spread
        above = stretch * self.room.rate / left
        below = spread * _normal_cdf(distance) * sqrt(2.0 * pi) * np.exp(np.minimum(distance * distance / 2.0, 600.0))
        waiting = (above / (above + below))[..., None]
        log = np.log(np.maximum(waiting, 1e-300))
        if log.max() + levels.max() <= 0.0:
            return None
        longer = log + levels
        np.maximum(longer, 0.0, out=longer)
        longer *= (stretch / left)[..., None]
        return longer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrivals:
    """Sampled requests; arrays of shape (replicas, r), times also with a last axis of sampled arrivals."""

    mix: Traffic
    rate: Floats
    seqs: Floats
    itl_mean_s: Floats
    ttft_s: Floats
    utilisation: Floats

    def ttft(self, levels: Floats, scale: float) -> Floats:
        """Percentiles, shape (replicas, r, levels)."""
        return np.asarray(quantiles(self.ttft_s, levels) * scale)

    def e2e(self, levels: Floats, scale: float) -> Floats:
        """The same of whole requests."""
        return quantiles(self.e2e_s(scale), levels)

    def both(self, levels: Floats, scale: float) -> Floats:
        """Percentiles of the first token and of the whole request, shape (2, replicas, r, levels)."""
        return quantiles(np.array((self.ttft_s * scale, self.e2e_s(scale))), levels)

    def ttft_mean_s(self, scale: float) -> Floats:
        """Shape (replicas, r)."""
        return np.asarray(self.ttft_s.sum(axis=-1) * (scale / self.ttft_s.shape[-1]))

    def e2e_s(self, scale: float) -> Floats:
        return np.asarray(self.ttft_s * scale + self.mix.steps_after_first * self.itl_mean_s[..., None])


def queue(step: StepModel, mix: Traffic, grid: Steps, room: Room) -> Queue:
    """The queue before replicas whose steps are known at the points of `grid`, of which the first is nearly idle."""
    alone = (1.0 + grid.seqs)[..., None]
    most = np.maximum(1.0, mix.most_tokens - mix.verified * alone)
    tokens = np.minimum(np.concatenate((np.array([0.0, mix.budget]), mix.last)), most)
    shared = step.shared_array(alone, tokens)
    base, full = shared[..., :1], shared[..., 1:2]
    single = shared[..., 2:] - base + (mix.cuts - 1.0) * (full - base)
    attention = step.prompt_attention_array(mix.cached, mix.new)
    stay = grid.seqs / grid.rate
    width = np.diff(grid.seqs, axis=1)
    residence = np.stack((grid.seqs[:, :-1], width, stay[:, :-1], np.diff(stay, axis=1) / width))
    levels = (grid.seqs, grid.decode_s, grid.full_s, grid.busy, grid.swing, grid.itl_mean_s)
    return Queue(
        mix=mix,
        grid=grid,
        room=room,
        attention_s=attention,
        levels=np.concatenate((np.stack(levels, axis=-1), single + attention), axis=-1),
        residence=residence,
    )


def quantiles(values: Floats, levels: Floats) -> Floats:
    """Linear between order statistics; shape (..., levels)."""
    ranks, low, part = _ranks(values.shape[-1], tuple(levels.tolist()))
    below = np.partition(values, ranks, axis=-1)
    found = below[..., low]
    found += part * (below[..., low + 1] - found)
    return found


@lru_cache(maxsize=64)
def _ranks(count: int, levels: tuple[float, ...]) -> tuple[list[int], NDArray[np.intp], Floats]:
    """The order statistics that levels lie between: all of them, the lower of each, and the way to the next."""
    places = np.array(levels) * (count - 1)
    low = np.minimum(places.astype(np.intp), count - 2)
    return sorted({*low.tolist(), *(low + 1).tolist()}), low, places - low


def _mixed(values: Floats, low: NDArray[np.intp], share: Floats) -> Floats:
    """`values` (replicas, points, v) between the points `low` and the next, (replicas, r, v)."""
    rows = np.arange(values.shape[0])[:, None]
    below = values[rows, low]
    return np.asarray(below + share[..., None] * (values[rows, low + 1] - below))


def _normal_cdf(values: Floats) -> Floats:
    found = [0.5 + 0.5 * erf(value / sqrt(2.0)) for value in values.ravel().tolist()]
    return np.array(found).reshape(values.shape)


def _waits(work: Floats, gaps: Floats) -> Floats:
    """W(k+1) = max(0, W(k) + work(k) - gap(k)), as a running minimum: the same recursion without a loop."""
    level = np.empty_like(work)
    level[..., 0] = 0.0
    steps = np.subtract(work, gaps, out=gaps)
    np.cumsum(steps[..., :-1], axis=-1, out=level[..., 1:])
    level -= np.minimum.accumulate(level, axis=-1)
    return level
