"""Recorded requests, replayed at another rate: time is rescaled, lengths and burstiness stay as they were."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from itertools import count, pairwise
from math import sqrt
from pathlib import Path

from sandbox.scenario import Traffic
from sandbox.twin.clock import Clock
from sandbox.twin.replica import Job
from sandbox.twin.router import Router

DATA = Path(__file__).parent.parent / "data"
_IDS = count(1)


def next_id() -> int:
    """Request ids are unique over traffic and HTTP clients."""
    return next(_IDS)


class RateCurve:
    """Requests per second over time: straight lines between points."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._points = list(points)

    def at(self, t_s: float) -> float:
        before = self._points[0]
        for point in self._points:
            if point[0] > t_s:
                if point is before:
                    return point[1]
                share = (t_s - before[0]) / (point[0] - before[0])
                return before[1] + share * (point[1] - before[1])
            before = point
        return before[1]

    def area(self, from_s: float, to_s: float) -> float:
        """Requests offered between two times: straight between points, so trapezoids are exact."""
        cuts = [from_s, *(at for at, _ in self._points if from_s < at < to_s), to_s]
        return sum((self.at(a) + self.at(b)) / 2 * (b - a) for a, b in pairwise(cuts))

    def advance(self, t_s: float, requests: float) -> float | None:
        """The time at which `requests` more have been offered; None when that never happens."""
        while True:
            end_s = next((at for at, _ in self._points if at > t_s), None)
            rate = self.at(t_s)
            if end_s is None:
                return t_s + requests / rate if rate > 0 else None
            slope = (self.at(end_s) - rate) / (end_s - t_s)
            area = (rate + slope * (end_s - t_s) / 2) * (end_s - t_s)
            if area < requests:
                requests -= area
                t_s = end_s
                continue
            if abs(slope) < 1e-12:
                return t_s + requests / rate
            # rate x + slope x^2 / 2 = requests
            return t_s + (sqrt(max(0.0, rate * rate + 2 * slope * requests)) - rate) / slope


_LOCAL_ROWS = 4000
"""Gaps are measured against the mean of so many recorded requests around them, twelve minutes of the recording: how
traffic moves over minutes is the scenario's to say, every burst shorter than that stays as it was recorded."""


class Trace:
    """Gaps before each recorded request in units of the local mean gap, with their lengths."""

    def __init__(self, name: str) -> None:
        with gzip.open(DATA / name, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        times = [int(row["arrival_ms"]) for row in rows]
        self.lengths = [(int(row["prompt_tokens"]), int(row["output_tokens"])) for row in rows]
        last, half = len(times) - 1, _LOCAL_ROWS // 2
        self.gaps = [1.0]
        for index, (before, after) in enumerate(pairwise(times)):
            low, high = max(0, index - half), min(last, index + half)
            self.gaps.append((after - before) * (high - low) / (times[high] - times[low]))

    def __len__(self) -> int:
        return len(self.lengths)


class Player:
    """Sends one traffic stream into the router. Times inside are seconds since traffic began."""

    def __init__(self, traffic: Traffic, clock: Clock, router: Router, seed: int) -> None:
        self.traffic = traffic
        self.curve = RateCurve(traffic.rate)
        self._scripted = self.curve
        self._clock = clock
        self._router = router
        self._trace = Trace(traffic.trace)
        # Another seed reads another part of the recording.
        self._row = (seed * 7919) % len(self._trace)
        self._origin_s = 0.0
        self._from_s = 0.0
        """Since when `_owed` counts."""
        self._owed = 0.0
        """Requests that the curve must still offer until the next recorded one arrives."""
        self._epoch = 0
        self.sent = 0
        self.stopped = True

    def offered_rps(self, now_s: float) -> float:
        return 0.0 if self.stopped else self.curve.at(now_s - self._origin_s)

    def start(self, now_s: float) -> None:
        self._origin_s, self._from_s, self.stopped = now_s, 0.0, False
        self._owed = self._trace.gaps[self._row]
        self._schedule()

    def stop(self) -> None:
        self.stopped = True
        self._epoch += 1

    def override(self, rps: float | None, now_s: float) -> None:
        """Another rate from now on; None gives the scenario's curve back."""
        t_s = max(now_s - self._origin_s, self._from_s)
        self._owed = max(0.0, self._owed - self.curve.area(self._from_s, t_s))
        self._from_s = t_s
        self.curve = self._scripted if rps is None else RateCurve([(0.0, rps)])
        self._epoch += 1
        if not self.stopped:
            self._schedule()

    def _schedule(self) -> None:
        due_s = self.curve.advance(self._from_s, self._owed)
        if due_s is not None:
            epoch = self._epoch
            self._clock.at(self._origin_s + due_s, lambda at_s: self._send(at_s, epoch))

    def _send(self, at_s: float, epoch: int) -> None:
        if epoch != self._epoch:
            return
        prompt, output = self._trace.lengths[self._row]
        cached = int(prompt * self.traffic.prefix_hit_ratio)
        self._row = (self._row + 1) % len(self._trace)
        self._owed = self._trace.gaps[self._row]
        self._from_s = at_s - self._origin_s
        self.sent += 1
        self._router.arrive(Job(next_id(), self.traffic.model, at_s, prompt, output, cached), at_s)
        self._schedule()
