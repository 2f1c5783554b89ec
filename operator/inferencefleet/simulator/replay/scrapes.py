"""What Prometheus has stored of one fleet: samples of each pod, one scrape interval apart, each pod at its own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from inferencefleet.simulator.servers import Buckets, Counters, Floats, Gauges, Integers

GROUPS = 3
"""Pods are scraped at so many different moments of an interval: each at its own would only cost more."""
MEANS_S = 300.0
"""Longest window that is read pod by pod."""
SCALARS = (
    "finished", "prompt_tokens", "output_tokens", "prefix_queries", "prefix_hits", "preemptions", "computed_tokens",
    "prefill_seconds", "prefills", "prompt_sum", "output_sum", "ttft_sum", "itl_sum", "tpot_sum", "e2e_sum",
)  # fmt: skip
HISTOGRAMS = ("prompt_hist", "output_hist", "ttft_hist", "itl_hist", "tpot_hist", "e2e_hist")
GAUGES = ("running", "waiting", "kv_cache_usage", "kv_cache_tokens")


class Columns:
    """Where each counter is in a row of samples. Buckets are counts by bucket here, and cumulative when read."""

    def __init__(self, buckets: Buckets) -> None:
        families = (
            buckets.prompt_tokens, buckets.output_tokens, buckets.ttft_s, buckets.itl_s, buckets.itl_s, buckets.e2e_s,
        )  # fmt: skip
        self.at = {name: index for index, name in enumerate(SCALARS)}
        self.bounds = {name: (*bounds, float("inf")) for name, bounds in zip(HISTOGRAMS, families, strict=True)}
        self.slices: dict[str, slice] = {}
        end = len(SCALARS)
        for name, bounds in self.bounds.items():
            self.slices[name] = slice(end, end + len(bounds))
            end += len(bounds)
        self.width = end

    def rows(self, counters: Counters, slots: Integers) -> Floats:
        """Samples of these replicas, shape (slots, width)."""
        found = np.empty((slots.size, self.width))
        for name, index in self.at.items():
            found[:, index] = getattr(counters, name)[slots]
        for name, part in self.slices.items():
            found[:, part] = getattr(counters, name)[slots]
        return found

    def cumulative(self, rows: Floats) -> Floats:
        """The same with buckets as Prometheus stores them. Changes and returns its argument."""
        for part in self.slices.values():
            np.cumsum(rows[:, part], axis=1, out=rows[:, part])
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Extrapolated increases over one window of the pods that have two samples in it."""

    rows: NDArray[np.intp]
    """Which pods."""
    increases: Floats
    """(pods, width), buckets cumulative."""


class Scrapes:
    """A ring of samples for each pod. Rows of pods that are long gone are used again."""

    def __init__(self, buckets: Buckets, scrape_s: float, window_s: float) -> None:
        self.columns = Columns(buckets)
        self.scrape_s = scrape_s
        self._kept = max(window_s, MEANS_S) + scrape_s
        self._rounds = ceil(self._kept / scrape_s) + 1
        self.pool_names: list[str] = []
        self.pool_of: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        """By row: index into `pool_names`."""
        self._free: list[int] = []
        self._row_of: dict[int, int] = {}
        rounds, width = self._rounds, self.columns.width
        self.times = np.zeros((rounds, 0))
        self.counters = np.zeros((rounds, 0, width))
        self.gauges = np.zeros((rounds, 0, len(GAUGES)))
        self.last_s = np.zeros(0)
        self.last = np.zeros((0, width))
        self.last_gauges = np.zeros((0, len(GAUGES)))
        self.gone_s = np.zeros(0)
        self._resize(16)
        self.in_system: list[tuple[float, float | None]] = []
        """(time, running + waiting of all pods that are seen), after every scrape; None while none is seen."""
        self.long_now = np.zeros(self.columns.width)
        """Increase of every counter since each pod's first sample, summed over all pods there ever were."""

    def _resize(self, rows: int) -> None:
        before = self.pool_of.size
        rounds, width = self._rounds, self.columns.width
        self.times = _grown(self.times, (rounds, rows), -np.inf)
        self.counters = _grown(self.counters, (rounds, rows, width), 0.0)
        self.gauges = _grown(self.gauges, (rounds, rows, len(GAUGES)), 0.0)
        self.last_s = _grown(self.last_s, (rows,), -np.inf)
        self.last = _grown(self.last, (rows, width), 0.0)
        self.last_gauges = _grown(self.last_gauges, (rows, len(GAUGES)), 0.0)
        self.gone_s = _grown(self.gone_s, (rows,), np.inf)
        self.pool_of = np.concatenate([self.pool_of, np.zeros(rows - before, dtype=np.intp)])
        self._free += range(rows - 1, before - 1, -1)

    # -- pods come and go ------------------------------------------------------------------------------------------

    def add(self, slot: int, pool: str) -> None:
        """A pod that answers from now on."""
        if not self._free:
            self._resize(2 * self.pool_of.size)
        if pool not in self.pool_names:
            self.pool_names.append(pool)
        row = self._free.pop()
        self.pool_of[row] = self.pool_names.index(pool)
        self.times[:, row] = -np.inf
        self.last_s[row] = -np.inf
        self.last[row] = 0.0
        self.gone_s[row] = np.inf
        self._row_of[slot] = row

    def leave(self, slot: int, now_s: float) -> None:
        """Its series are marked stale when it would have been scraped next."""
        row = self._row_of.pop(slot)
        phase_s = self.phase_s(slot)
        self.gone_s[row] = phase_s + ceil(max(0.0, now_s - phase_s) / self.scrape_s) * self.scrape_s

    def phase_s(self, slot: int) -> float:
        return (slot % GROUPS + 0.5) * self.scrape_s / GROUPS

    # -- scraping --------------------------------------------------------------------------------------------------

    def due(self, group: int) -> Integers:
        """Slots of the pods that are scraped with this group."""
        return np.array([slot for slot in self._row_of if slot % GROUPS == group], dtype=np.int64)

    def sample(self, slots: Integers, counters: Counters, gauges: Gauges, now_s: float) -> None:
        """What these pods answered."""
        if slots.size:
            rows = np.array([self._row_of[int(slot)] for slot in slots], dtype=np.intp)
            seen = self.columns.rows(counters, slots)
            shown = np.stack([getattr(gauges, name)[slots] for name in GAUGES], axis=1).astype(np.float64)
            known = self.last_s[rows] > -np.inf
            self.long_now += (seen[known] - self.last[rows[known]]).sum(axis=0)
            place = int(now_s // self.scrape_s) % self._rounds
            self.times[place, rows] = now_s
            self.counters[place, rows] = seen
            self.gauges[place, rows] = shown
            self.last_s[rows], self.last[rows], self.last_gauges[rows] = now_s, seen, shown
        self.note_in_system(now_s)

    def note_in_system(self, now_s: float) -> None:
        seen = self.visible(now_s)
        total = float(self.last_gauges[seen, :2].sum()) if seen.size else None
        self.in_system.append((now_s, total))
        while len(self.in_system) > 1 and self.in_system[1][0] <= now_s - self._kept:
            self.in_system.pop(0)

    def forget(self, now_s: float) -> None:
        """Rows of pods that no window can reach any more."""
        for row in np.flatnonzero(self.gone_s < now_s - self._kept):
            self.gone_s[row] = np.inf
            self.last_s[row] = -np.inf
            self.times[:, row] = -np.inf
            self._free.append(int(row))

    def row(self, slot: int) -> int:
        """Of a pod that answers."""
        return self._row_of[slot]

    # -- reading ---------------------------------------------------------------------------------------------------

    def visible(self, now_s: float) -> NDArray[np.intp]:
        """Pods whose newest sample an instant query shows."""
        return np.flatnonzero((self.last_s > -np.inf) & (now_s < self.gone_s))

    def increases(self, now_s: float, window_s: float) -> Rates:
        """`increase(counter[window])` as Prometheus 3 extrapolates it, for every pod and counter."""
        rows, counted, first_at, last_at = self._ends(now_s, window_s)
        first = self.columns.cumulative(self.counters[first_at, rows])
        rise = self.columns.cumulative(self.counters[last_at, rows])
        rise -= first
        first_s, last_s = self.times[first_at, rows], self.times[last_at, rows]
        sampled_s = last_s - first_s
        between_s = sampled_s / (counted - 1)
        start_s, end_s = first_s - (now_s - window_s), now_s - last_s
        start_s = np.where(start_s >= 1.1 * between_s, between_s / 2, start_s)
        end_s = np.where(end_s >= 1.1 * between_s, between_s / 2, end_s)
        # A counter was not below zero: the extrapolation to the left ends where a straight line would reach it.
        # Where it did not rise there is nothing to carry on.
        zero_s = first * (sampled_s[:, None] / np.maximum(rise, 1e-12))
        reach_s = np.minimum(start_s[:, None], zero_s) + (sampled_s + end_s)[:, None]
        return Rates(rows, rise * reach_s / sampled_s[:, None])

    def means(self, now_s: float, sums: Sequence[str], count: str) -> tuple[NDArray[np.intp], Floats]:
        """Rise of each sum by rise of the count over `MEANS_S`, by pod: (rows, (pods, sums)); 0 = nothing counted."""
        rows, _, first_at, last_at = self._ends(now_s, MEANS_S)
        picked = np.array([self.columns.at[name] for name in (count, *sums)])
        rise = (
            self.counters[last_at[:, None], rows[:, None], picked]
            - self.counters[first_at[:, None], rows[:, None], picked]
        )
        return rows, rise[:, 1:] / np.maximum(rise[:, :1], 1.0)

    def _ends(
        self, now_s: float, window_s: float
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """(rows with two samples in the window, how many they have, place of the first, place of the last)."""
        inside = (self.times > now_s - window_s) & (self.times <= now_s)
        counted = inside.sum(axis=0)
        rows = np.flatnonzero(counted >= 2)
        times, inside = self.times[:, rows], inside[:, rows]
        first_at = np.where(inside, times, np.inf).argmin(axis=0)
        last_at = np.where(inside, times, -np.inf).argmax(axis=0)
        return rows, counted[rows], first_at, last_at

    def gauge_means(self, name: str, now_s: float, from_s: float, to_s: float) -> tuple[NDArray[np.intp], Floats]:
        """`avg_over_time` of a gauge between two ages, for the pods with a sample in between: (rows, means)."""
        inside = (self.times > now_s - from_s) & (self.times <= now_s - to_s)
        counted = inside.sum(axis=0)
        rows = np.flatnonzero(counted)
        sums: Floats = (self.gauges[:, :, GAUGES.index(name)] * inside).sum(axis=0)
        return rows, sums[rows] / counted[rows]

    def growth(self, now_s: float, window_s: float) -> float | None:
        """`deriv` of running + waiting: the least-squares slope over points a twelfth of the window apart."""
        step_s = max(1.0, window_s // 12)
        at_s = np.arange(np.floor((now_s - window_s) / step_s) + 1, np.floor(now_s / step_s) + 1) * step_s
        seen_s = np.array([time_s for time_s, _ in self.in_system])
        found = np.searchsorted(seen_s, at_s, side="right") - 1
        points = [
            (float(time_s), value)
            for time_s, index in zip(at_s, found, strict=True)
            if index >= 0 and (value := self.in_system[index][1]) is not None
        ]
        if len(points) < 2:
            return None
        x, y = np.array(points).T
        x = x - x.mean()
        return float((x * y).sum() / (x * x).sum())


def _grown(old: Floats, shape: tuple[int, ...], fill: float) -> Floats:
    new = np.full(shape, fill)
    new[tuple(slice(0, size) for size in old.shape)] = old
    return new
