"""Unequal replicas behind a load-aware gateway: the cheapest mixture that covers the need, by branch and bound.

Segments come cheapest per request first, so filling them in order and cutting the last one bounds every completion.
The search takes as much of each as it can, then less, and stops where the bound says that less cannot pay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from inferencefleet.planning.placement.case import MIXED_SHARE, Case, Mode

MOST_STEPS = 200
"""Then the best so far is told, with the bound of the first step."""
CLOSE = 3e-4
"""Share of the dollars below which a better mixture is not looked for; it is taken off the bound."""


@dataclass(slots=True)
class Mixture:
    case: Case
    mode: Mode
    segments: Sequence[tuple[float, int, int]]
    """At the prices that count, in any order."""
    caps: Sequence[int]
    price: float
    """Dollars per hour of one request/s that is missing."""
    floor_price: float
    """Of one replica below the floor."""
    best: list[int] = field(default_factory=list)
    least: float = math.inf
    """What must be beaten, then what the best costs with what it lacks; without any that does, `best` is empty."""
    _rows: list[tuple[float, float, int, int, bool]] = field(default_factory=list)
    """(dollars of a replica, its requests/s, room, option, on spot)."""
    _steps: int = 0

    def search(self) -> float:
        """Fills `best` and `least`; returns the bound."""
        options, case = self.case.options, self.case
        counts = [0] * len(options)
        spot_left, dollars, served = self.mode.spot_most, 0.0, 0.0
        rows: list[tuple[float, float, int, int, bool]] = []
        for each, i, up_to in sorted(self.segments, key=lambda s: (s[0] / options[s[1]].speed, s[1], s[2])):
            option = options[i]
            done = sum(row[2] for row in rows if row[3] == i) + counts[i]
            room = min(up_to, self.caps[i]) - done
            stays = min(max(0, room), option.keep - counts[i])
            if stays > 0:
                counts[i] += stays
                dollars += stays * each
                served += stays * option.speed * MIXED_SHARE
                spot_left -= stays if option.spot else 0
                room -= stays
            if room > 0 and each < self.price * option.speed * MIXED_SHARE + self.floor_price:
                rows.append((each, option.speed * MIXED_SHARE, room, i, option.spot))
        self._rows = rows
        missing = case.claim.need.requests_per_s - served
        bound = dollars + self._cut(0, missing)
        if bound >= self.least:
            return bound
        self._descend(0, missing, dollars, spot_left, sum(counts), counts)
        return max(bound, self.least * (1.0 - CLOSE)) if self._steps <= MOST_STEPS else bound

    def _cut(self, index: int, missing: float) -> float:
        """Dollars of covering the rest if replicas could be cut."""
        dollars = 0.0
        for each, serves, room, _, _ in self._rows[index:]:
            if missing <= 1e-12:
                return dollars
            if each >= self.price * serves:
                continue
            part = missing / serves
            if part <= room:
                return dollars + part * each
            dollars += room * each
            missing -= room * serves
        return dollars + self.price * missing if missing > 0 else dollars

    def _descend(
        self, index: int, missing: float, dollars: float, spot_left: int, total: int, counts: list[int]
    ) -> None:
        self._steps += 1
        below = max(0, self.case.floor - total)
        if (missing <= 1e-9 and below == 0) or index == len(self._rows):
            end = dollars + self.price * max(0.0, missing) + self.floor_price * below
            if end < self.least - 1e-9:
                self.best, self.least = list(counts), end
            return
        if self._steps > MOST_STEPS:
            return
        each, serves, room, i, spot = self._rows[index]
        most = min(room, max(math.ceil(min(missing / serves, 1e9) - 1e-9), below), self.case.ceiling - total)
        if spot:
            most = min(most, spot_left)
        whole = int(missing / serves) if missing > 0 else 0
        for take in range(max(0, most), -1, -1):
            rest = missing - take * serves
            if dollars + take * each + self._cut(index + 1, rest) >= self.least * (1.0 - CLOSE):
                if take <= whole and below == 0:
                    return
                continue
            counts[i] += take
            self._descend(
                index + 1, rest, dollars + take * each, spot_left - (take if spot else 0), total + take, counts
            )
            counts[i] -= take
