"""The rate at which each limit of a replica binds, for many replicas of one model at once.

Arrays have the shape (replicas, points) unless said. Every search makes a fixed number of steps, so a replica gets
the same answer alone and in a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.arrivals import FULLEST, Arrivals, Queue, Room, queue
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.memory import memory_budget
from inferencefleet.physics.residence import resident_bytes
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.steps import Steps, prompts_fill, steps_at
from inferencefleet.physics.traffic import Traffic

Floats = NDArray[np.float64]

POINTS = 12
FIRST = 0.3
RATIO = 2.0
"""Second point, and from one to the next; what is left goes between the last of them and the most sequences."""
ALONE = 1e-6
"""Other sequences of a request that meets an empty replica."""
_CLOSER = np.array([0.2, 0.4, 0.6, 0.8])
"""Where between two points a second look goes for an ITL percentile, which jumps where prompts reach its share."""
_BESIDE = np.array([-2, -1, 0, 1])
_LOOKS = np.array([0.3, 0.55, 0.72, 0.85, 0.94, 1.0])
"""Shares of the highest rate at which TTFT is looked at first."""
TURNS = 2
"""Further looks between two of them, where the logarithm of the latency says that the target is met."""
WATERMARK = 0.01
"""Share of KV blocks that vLLM keeps free for growth when it admits a request."""
_Z95 = 1.645


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replicas:
    """Replicas of one model with one set of limits under one mix, ready to be asked."""

    step: StepModel
    mix: Traffic
    room: Room
    grid: Steps
    queue: Queue
    ttft_scale: float
    slots: float
    kv_seqs: Floats
    """Mean residents that the KV cache holds, shape (replicas, 1)."""
    kv_spread2: Floats
    """Squared coefficient of variation of their sizes."""

    def highest(self) -> Floats:
        """Requests/s beyond which no rate is looked for, shape (replicas,)."""
        return np.asarray(np.minimum(self.grid.rate[:, -1], FULLEST * self.room.rate[:, 0]))

    def kv_rate(self) -> Floats:
        """Rate at which the KV cache is full 5 % of the time, shape (replicas,)."""
        return self._full_95(self.kv_seqs, self.kv_spread2)

    def slots_rate(self) -> Floats:
        """The same of sequence slots."""
        return self._full_95(np.full_like(self.kv_seqs, self.slots), np.zeros_like(self.kv_seqs))

    def _full_95(self, most: Floats, size_spread2: Floats) -> Floats:
        """Residents have the variance n / (1 - q), and their sizes the squared coefficient of variation given."""
        grid = self.grid
        used = grid.seqs + _Z95 * np.sqrt(grid.seqs * (1.0 / (1.0 - grid.swing) + size_spread2))
        rows = zip(most[:, 0], used, grid.seqs, strict=True)
        return self._rate_of([np.interp(room, row, n) for room, row, n in rows])

    def _rate_of(self, seqs: Sequence[float]) -> Floats:
        """The rates that keep so many resident, one number for each replica: residence is about linear in between."""
        grid = self.grid
        stays = grid.seqs / grid.rate
        found = [n / np.interp(n, row, stay) for n, row, stay in zip(seqs, grid.seqs, stays, strict=True)]
        return np.asarray(np.minimum(np.array(found), self.highest()))

    def slo_rates(self, slos: Sequence[Slo], curve: Curve, floors: Mapping[str, Floats]) -> list[Floats]:
        """The largest rate at which each SLO alone holds, shape (replicas,) each.

        Where the floor of an SLO is above its target, its rate means nothing.
        """
        looks: Arrivals | None = None
        found = []
        for slo in slos:
            if slo.metric is SloMetric.ITL:
                values = np.maximum.accumulate(curve.itl_s[..., curve.percentiles.index(slo.percentile)], axis=1)
                rows = zip(values, curve.seqs, strict=True)
                found.append(self._rate_of([np.interp(slo.target_s, itl, seqs) for itl, seqs in rows]))
            else:
                looks = looks or self.queue.sample(_LOOKS * self.highest()[:, None])
                found.append(self._arrival_rate(slo, floors[f"{slo.metric}_p{slo.percentile}"], looks))
        return found

    def _arrival_rate(self, slo: Slo, floor: Floats, looks: Arrivals) -> Floats:
        """Bracket the crossing, then regula falsi on the logarithm of the latency."""
        values = np.concatenate((floor, self._latency(looks, slo)), axis=1)
        rates = np.concatenate((np.zeros_like(floor), looks.rate), axis=1)
        left, right, at_left, at_right, never = bracket(rates, values, slo.target_s)
        for _ in range(TURNS):
            closer = _between(left, right, at_left, at_right, slo.target_s)
            value = self._latency(self.queue.sample(closer), slo)
            holds = value <= slo.target_s
            left, at_left = np.where(holds, closer, left), np.where(holds, value, at_left)
            right, at_right = np.where(holds, right, closer), np.where(holds, at_right, value)
        found = _between(left, right, at_left, at_right, slo.target_s)[:, 0]
        return np.where(never, self.highest(), found)

    def _latency(self, sample: Arrivals, slo: Slo) -> Floats:
        level = np.array([slo.percentile / 100])
        times = sample.ttft if slo.metric is SloMetric.TTFT else sample.e2e
        return times(level, self.ttft_scale)[..., 0]

    def curve(self, percentiles: Sequence[int], slos: Sequence[Slo]) -> Curve:
        """Inter-token latency at an empty replica and around where percentiles cross their targets."""
        last = self.grid.seqs.shape[1] - 1
        targets = [slo for slo in slos if slo.metric is SloMetric.ITL]
        places = [np.zeros((len(self.grid.seqs), 1), dtype=np.intp)]
        for slo in targets:
            missed = self.grid.above(slo.target_s) > 1.0 - slo.percentile / 100
            guess = np.where(missed.any(axis=1), np.maximum(missed.argmax(axis=1), 1), last)[:, None]
            # A percentile moves smoothly between possible step times, which the chance does not: look beside it.
            places.append(np.minimum(np.maximum(guess + _BESIDE, 0), last))
        found = coarse = self._curve(np.concatenate(places, axis=1), percentiles)
        for number, slo in enumerate(targets):
            beside = slice(1 + number * _BESIDE.size, 1 + (number + 1) * _BESIDE.size)
            values = coarse.itl_s[:, beside, coarse.percentiles.index(slo.percentile)]
            left, right, *_ = bracket(coarse.seqs[:, beside], values, slo.target_s)
            near = steps_at(self.step, self.mix, left + (right - left) * _CLOSER, self.room.seqs)
            found = found.joined(replace(found, seqs=near.seqs, itl_s=near.quantiles(found.levels)))
        return found

    def _curve(self, places: NDArray[np.intp], percentiles: Sequence[int]) -> Curve:
        """At points of the grid, shape (replicas, some)."""
        seqs = self.grid.seqs[np.arange(len(places))[:, None], places]
        levels = np.array(percentiles) / 100
        return Curve(percentiles=tuple(percentiles), seqs=seqs, itl_s=self.grid.quantiles(levels, places))

    def alone(self, curve: Curve) -> dict[str, Floats]:
        """Latencies of requests that meet an empty replica by name, shape (replicas, 1) each."""
        return self._named(self.queue.alone(), curve.itl_s[:, :1], curve.percentiles)

    def at(self, rates: Floats, curve: Curve) -> dict[str, Floats]:
        """Latencies at rates of shape (replicas, r) by name, and `running`: each of the same shape."""
        sample = self.queue.sample(rates)
        below = self.queue.below(rates)
        curve = curve.joined(self._curve(np.concatenate((below, below + 1), axis=1), curve.percentiles))
        return self._named(sample, curve.at(sample.seqs), curve.percentiles) | {"running": sample.seqs}

    def exactly_at(self, rates: Floats, percentiles: Sequence[int]) -> dict[str, Floats]:
        """The same with ITL percentiles computed at each rate instead of taken from a curve."""
        sample = self.queue.sample(rates)
        steps = steps_at(self.step, self.mix, np.maximum(sample.seqs, ALONE), self.room.seqs)
        found = self._named(sample, steps.quantiles(np.array(percentiles) / 100), percentiles)
        return found | {"running": sample.seqs, "utilisation": rates / self.room.rate}

    def _named(self, sample: Arrivals, itl: Floats, percentiles: Sequence[int]) -> dict[str, Floats]:
        levels = np.array(percentiles) / 100
        ttft, e2e = sample.ttft(levels, self.ttft_scale), sample.e2e(levels, self.ttft_scale)
        found = {"ttft_mean": sample.ttft_mean_s(self.ttft_scale), "itl_mean": sample.itl_mean_s}
        for index, percentile in enumerate(percentiles):
            found[f"ttft_p{percentile}"] = ttft[..., index]
            found[f"itl_p{percentile}"] = itl[..., index]
            found[f"e2e_p{percentile}"] = e2e[..., index]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """ITL percentiles over numbers of other sequences: seqs (replicas, points), itl_s (replicas, points, levels)."""

    percentiles: tuple[int, ...]
    seqs: Floats
    itl_s: Floats

    @property
    def levels(self) -> Floats:
        return np.array(self.percentiles) / 100

    def joined(self, other: Curve) -> Curve:
        """With the points of both, in order."""
        seqs, itl_s = np.concatenate((self.seqs, other.seqs), 1), np.concatenate((self.itl_s, other.itl_s), 1)
        order = seqs.argsort(axis=1, kind="stable")
        rows = np.arange(len(seqs))[:, None]
        return Curve(percentiles=self.percentiles, seqs=seqs[rows, order], itl_s=itl_s[rows, order])

    def at(self, seqs: Floats) -> Floats:
        """Between the points, shape (replicas, r, levels)."""
        found = np.empty((*seqs.shape, len(self.percentiles)))
        for row, wanted in enumerate(seqs):
            for level in range(len(self.percentiles)):
                values = np.maximum.accumulate(self.itl_s[row, :, level])
                found[row, :, level] = np.interp(wanted, self.seqs[row], values)
        return found


def replicas(
    shapes: Sequence[ReplicaShape],
    steps: Sequence[StepModel],
    mix: Traffic,
    ttft_scale: float = 1.0,
    most: float | None = None,
) -> Replicas:
    """`shapes` share model, limits and speculation, and fit; `steps` are their step models.

    `most` is how many residents are known to find room in one replica; without it memory says so.
    """
    step = steps[0] if len(steps) == 1 else StepModel.stacked(steps)
    held = _room(shapes, mix) if most is None else np.array([[most, 0.0]])
    kv_seqs, kv_spread2 = held[:, :1], held[:, 1:]
    slots = float(shapes[0].limits.max_num_seqs)
    held_seqs = np.maximum(1.0, np.minimum(slots, kv_seqs))
    top = np.maximum(ALONE * 10, np.minimum(held_seqs - 1.0, prompts_fill(mix)))
    seqs = np.array([_ladder(highest) for highest in top[:, 0].tolist()])
    grid = steps_at(step, mix, seqs, held_seqs)
    full = grid.own_rate.max(axis=1, keepdims=True)
    grid = grid.limited(full)
    room = Room(seqs=held_seqs, size_spread2=kv_spread2 * (kv_seqs < slots), rate=full)
    return Replicas(
        step=step,
        mix=mix,
        room=room,
        grid=grid,
        queue=queue(step, mix, grid, room),
        ttft_scale=ttft_scale,
        slots=slots,
        kv_seqs=kv_seqs,
        kv_spread2=kv_spread2,
    )


def _room(shapes: Sequence[ReplicaShape], mix: Traffic) -> Floats:
    """Mean residents that the KV cache of each holds, and the squared coefficient of variation of their sizes.

    A request is admitted when its whole prompt fits beside the watermark; until then about half of the prompt at the
    head of the queue, which is the longer the likelier, stays unused.
    """
    sizes: dict[tuple[NumberFormat, int], tuple[float, float, float]] = {}
    found = []
    for shape in shapes:
        # What a token takes depends on nothing else of replicas of one model.
        key = (shape.kv_cache, shape.tensor_parallel)
        if key not in sizes:
            prompt = sequence_bytes(shape, mix.lengths.prompt_tokens)
            sizes[key] = (*resident_bytes(shape, mix.lengths), float(prompt @ prompt / prompt.sum()) / 2.0)
        mean, rms, unused = sizes[key]
        room = (1.0 - WATERMARK) * memory_budget(shape).kv_cache_bytes - unused
        found.append((max(1.0, room / mean), max(0.0, (rms / mean) ** 2 - 1.0)))
    return np.array(found)


def _ladder(top: float) -> Floats:
    """Points from ALONE to `top`: below it the same whatever memory and slots are, so that equal answers stay equal."""
    start = min(FIRST, top / 4)
    steps = start * RATIO ** np.arange(POINTS - 2)
    lower = np.concatenate((np.array([ALONE]), steps[steps < 0.8 * top]))
    left = POINTS - lower.size
    return np.concatenate((lower, lower[-1] * (top / lower[-1]) ** (np.arange(1, left + 1) / left)))


def _between(left: Floats, right: Floats, at_left: Floats, at_right: Floats, target: float) -> Floats:
    """Where the logarithm of a latency that rises from `at_left` to `at_right` meets the target's."""
    below, above = np.log(at_left / target), np.log(at_right / target)
    part = np.minimum(np.maximum(-below / np.maximum(above - below, 1e-12), 0.0), 1.0)
    return np.asarray(left + part * (right - left))


def bracket(places: Floats, values: Floats, target: float) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_]]:
    """The neighbours between which `values` rise above the target, shape (replicas, 1) each, their values, and whether
    none does, shape (replicas,)."""
    values = np.maximum.accumulate(values, axis=1)
    missed = values > target
    never = ~missed[:, -1]
    high = np.where(never, places.shape[1] - 1, np.maximum(missed.argmax(axis=1), 1))[:, None]
    rows = np.arange(len(high))[:, None]
    return places[rows, high - 1], places[rows, high], values[rows, high - 1], values[rows, high], never
