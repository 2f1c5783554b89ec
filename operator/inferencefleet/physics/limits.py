"""The rate at which each limit of a replica binds, for many replicas of one model at once.

Arrays have the shape (replicas, points) unless said. Every search makes a fixed number of steps, so a replica gets
the same answer alone and in a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
_CLOSER = np.arange(6) / 5
"""Where between two points an ITL percentile is looked at: it jumps where prompts reach its share of steps."""
_LOOKS = np.array([0.1, 0.35, 0.62, 0.84, 0.95, 0.988, 1.0])
"""Shares of the highest rate at which TTFT is looked at first."""
_AROUND = np.array([-0.25, -0.05, 0.05, 0.25])
"""Where it is looked at next, around where the target seems to be met: shares of the way between two of them."""
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

    def slo_rates(
        self, slos: Sequence[Slo], curves: Sequence[Curve | None], floors: Mapping[str, Floats]
    ) -> list[Floats]:
        """The largest rate at which each SLO alone holds, shape (replicas,) each.

        Where the floor of an SLO is above its target, its rate means nothing.
        """
        looks: Arrivals | None = None
        found = []
        for slo, curve in zip(slos, curves, strict=True):
            if curve is not None:
                found.append(self._rate_of(curve.most(slo.target_s)))
            else:
                looks = looks or self.queue.sample(_LOOKS * self.highest()[:, None])
                found.append(self._arrival_rate(slo, floors[f"{slo.metric}_p{slo.percentile}"], looks))
        return found

    def curve(self, slo: Slo) -> Curve | None:
        """Around where an ITL percentile meets its target; None for other SLOs."""
        if slo.metric is not SloMetric.ITL:
            return None
        grid, level = self.grid, slo.percentile / 100
        left, right, *_ = bracket(grid.seqs, grid.intervals.above(slo.target_s), 1.0 - level)
        seqs = left + (right - left) * _CLOSER
        low = (grid.seqs < right).sum(axis=1) - 1
        values = grid.between(low, seqs).quantiles(np.array([level]))[..., 0]
        return Curve(name=f"itl_p{slo.percentile}", seqs=seqs, itl_s=np.maximum.accumulate(values, axis=1))

    def _arrival_rate(self, slo: Slo, floor: Floats, looks: Arrivals) -> Floats:
        """Bracket the crossing, look around it, and go along the logarithm of the latency, which is nearly straight
        over that of what a full replica has left."""
        room = self.room.rate
        values = np.concatenate((floor, self._latency(looks, slo)), axis=1)
        places = -np.log1p(-np.concatenate((np.zeros_like(floor), looks.rate), axis=1) / room)
        left, right, at_left, at_right, never = bracket(places, values, slo.target_s)
        guess = _between(left, right, at_left, at_right, slo.target_s)
        near = np.minimum(np.maximum(guess + (right - left) * _AROUND, left), right)
        values = self._latency(self.queue.sample(-room * np.expm1(-near)), slo)
        places = np.concatenate((left, near, right), axis=1)
        values = np.concatenate((at_left, values, at_right), axis=1)
        found = _between(*bracket(places, values, slo.target_s)[:4], slo.target_s)
        return np.where(never, self.highest(), (-room * np.expm1(-found))[:, 0])

    def _latency(self, sample: Arrivals, slo: Slo) -> Floats:
        level = np.array([slo.percentile / 100])
        times = sample.ttft if slo.metric is SloMetric.TTFT else sample.e2e
        return times(level, self.ttft_scale)[..., 0]

    def alone(self, percentiles: Sequence[int]) -> dict[str, Floats]:
        """TTFT and end-to-end latency of requests that meet an empty replica by name, shape (replicas, 1) each."""
        return self._named(self.queue.alone(), percentiles)

    def at(
        self, rates: Floats, percentiles: Sequence[int], curves: Sequence[Curve | None]
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Latencies at rates of shape (replicas, 1) by name, and `running`: each of the same shape; and ITL percentiles
        of an empty replica.

        Where there is a curve of a percentile it says so: rates were found with it.
        """
        low, seqs = self.queue.seqs_at(rates)
        itl = self.grid.between(low, seqs).behind(self.grid.intervals).quantiles(np.array(percentiles) / 100)
        found = self._named(self.queue.sample(rates), percentiles)
        found |= {f"itl_p{percentile}": itl[:, 1:, index] for index, percentile in enumerate(percentiles)}
        for curve in curves:
            if curve is not None:
                found[curve.name] = curve.at(seqs, found[curve.name])
        found["running"] = seqs
        return found, {f"itl_p{percentile}": itl[:, :1, index] for index, percentile in enumerate(percentiles)}

    def exactly_at(self, rates: Floats, percentiles: Sequence[int]) -> dict[str, Floats]:
        """The same at rates of shape (replicas, r), with steps computed at each instead of between those of a grid."""
        sample = self.queue.sample(rates)
        steps = steps_at(self.step, self.mix, np.maximum(sample.seqs, ALONE), self.room.seqs)
        itl = steps.intervals.quantiles(np.array(percentiles) / 100)
        found = self._named(sample, percentiles)
        found |= {f"itl_p{percentile}": itl[..., index] for index, percentile in enumerate(percentiles)}
        return found | {"running": sample.seqs, "utilisation": rates / self.room.rate}

    def _named(self, sample: Arrivals, percentiles: Sequence[int]) -> dict[str, Floats]:
        ttft, e2e = sample.both(np.array(percentiles) / 100, self.ttft_scale)
        found = {"ttft_mean": sample.ttft_mean_s(self.ttft_scale), "itl_mean": sample.itl_mean_s}
        for index, percentile in enumerate(percentiles):
            found[f"ttft_p{percentile}"] = ttft[..., index]
            found[f"e2e_p{percentile}"] = e2e[..., index]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """An ITL percentile over numbers of other sequences, both (replicas, points) and ascending."""

    name: str
    seqs: Floats
    itl_s: Floats

    def most(self, target_s: float) -> list[float]:
        """The most others at which it holds; the last point where it does throughout."""
        return [float(np.interp(target_s, itl, seqs)) for itl, seqs in zip(self.itl_s, self.seqs, strict=True)]

    def at(self, seqs: Floats, otherwise: Floats) -> Floats:
        """At `seqs` (replicas, 1); `otherwise` is what it is where the curve does not reach."""
        rows = zip(seqs[:, 0], self.seqs, self.itl_s, strict=True)
        found = np.array([np.interp(wanted, points, itl) for wanted, points, itl in rows])[:, None]
        return np.where((self.seqs[:, :1] <= seqs) & (seqs <= self.seqs[:, -1:]), found, otherwise)


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
