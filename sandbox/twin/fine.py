"""A histogram fine enough for percentiles: buckets two percent wide from 1 ms to an hour."""

from __future__ import annotations

from math import inf, log

_FIRST_S = 0.001
_RATIO = 1.02
_COUNT = 765
_LOG_RATIO = log(_RATIO)
_LAST_S = 3600.0


class FineHistogram:
    """Counts by bucket, and exactly how many were within the target."""

    __slots__ = ("counts", "good", "target_s", "total")

    def __init__(self, target_s: float = inf) -> None:
        self.counts = [0] * (_COUNT + 1)
        self.total = 0
        self.good = 0
        self.target_s = target_s

    def observe(self, value_s: float, times: int = 1) -> None:
        if value_s <= _FIRST_S:
            index = 0
        elif value_s >= _LAST_S:
            index = _COUNT  # never served counts as infinitely late
        else:
            index = 1 + int(log(value_s / _FIRST_S) / _LOG_RATIO)
        self.counts[index] += times
        self.total += times
        if value_s <= self.target_s:
            self.good += times

    def merge(self, other: FineHistogram) -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.good += other.good

    def percentile(self, percent: float) -> float | None:
        """Upper edge of the bucket that holds it: at most two percent too high."""
        if self.total == 0:
            return None
        rank, running = self.total * percent / 100, 0
        for index, count in enumerate(self.counts):
            running += count
            if running >= rank and count:
                return _FIRST_S * _RATIO**index
        return _FIRST_S * _RATIO**_COUNT

    @property
    def share(self) -> float | None:
        return self.good / self.total if self.total else None


class SlotSeries:
    """Fine histograms by slot of time, so that any minute and any recent window can be asked for."""

    def __init__(self, target_s: float, slot_s: float = 5.0) -> None:
        self._slots: dict[int, FineHistogram] = {}
        self._target_s = target_s
        self._slot_s = slot_s

    def observe(self, at_s: float, value_s: float, times: int = 1) -> None:
        key = int(at_s // self._slot_s)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = FineHistogram(self._target_s)
        slot.observe(value_s, times)

    def between(self, from_s: float, to_s: float) -> FineHistogram:
        merged = FineHistogram(self._target_s)
        for key in range(int(from_s // self._slot_s), int(-(-to_s // self._slot_s))):
            slot = self._slots.get(key)
            if slot is not None:
                merged.merge(slot)
        return merged
