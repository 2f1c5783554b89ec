"""Unequal replicas behind a load-aware gateway: the cheapest mixture that covers the need, by branch and bound.

Segments come cheapest per request first, so filling them in order and cutting the last one bounds every completion.
The search takes as much of each as it can, then less, and stops where the bound says that less cannot pay. Of equally
fast replicas the cheaper ones are full before a dearer one is used, so that what is searched is numbers by GPU speed.

A hedge asks that what is left after a loss covers less than the need. What the need exceeds that by is slack: each spot
pool may either lose no more than the slack, or the mixture holds more than it needs. How much more is tried at the
few amounts at which a spot pool is freed of its cap, and bounded in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from inferencefleet.planning.placement.case import HEDGE_SHARE, LEAST_REMAINDER, MIXED_SHARE, Case, Mode
from inferencefleet.planning.placement.measure import after_loss

MOST_STEPS = 200
"""Then the best so far is told, with the bound of the first step."""
CLOSE = 1e-3
"""Share of the dollars below which a better mixture is not looked for; it is taken off the bound."""


@dataclass(slots=True)
class Mixed:
    counts: list[int]
    """Empty when nothing beats what was known."""
    total: float
    """Dollars at the prices given, with what is missing; infinite when empty."""
    bound: float


@dataclass(frozen=True, slots=True)
class Question:
    """One fleet's mixture at some prices."""

    case: Case
    mode: Mode
    segments: Sequence[tuple[float, int, int]]
    """At the prices that count, in any order."""
    caps: Sequence[int]
    price: float
    """Dollars per hour of one request/s that is missing."""
    floor_price: float
    """Of one replica below the floor."""


def mix(question: Question, known: float) -> Mixed:
    """The cheapest mixture that costs less than `known`."""
    case, mode = question.case, question.mode
    need = case.claim.need.requests_per_s
    search = Search(question, need, question.caps, known)
    bound = search.run()
    if not case.hedged or not search.best:
        return Mixed(search.best, search.least if search.best else math.inf, bound)
    survive = mode.survive_units * mode.unit
    unsafe = max(0.0, survive - after_loss(case, search.best))
    if unsafe <= 1e-9:
        return Mixed(search.best, search.least, bound)
    best, least = search.best, search.least + question.price * HEDGE_SHARE * unsafe
    slack = need - survive
    losses = {option.loss * option.speed * MIXED_SHARE for option in case.options if option.spot}
    extras = sorted({0.0} | {loss - slack for loss in losses if loss > slack})
    in_between = math.inf
    for extra, following in zip(extras, [*extras[1:], math.inf], strict=True):
        tried = Search(question, need + extra, _capped(question, slack + extra), known)
        tried_bound = tried.run()
        if tried.best:
            unsafe = max(0.0, survive - after_loss(case, tried.best))
            total = tried.dollars(need) + question.price * HEDGE_SHARE * unsafe
            if total < least:
                best, least = tried.best, total
        if following < math.inf:
            between = Search(question, need + extra, _capped(question, slack + following), known)
            tried_bound = between.run()
        in_between = min(in_between, tried_bound)
    if _spares_pay(question):
        bound = max(bound, in_between)
    if least >= known:
        return Mixed([], math.inf, min(bound, least))
    return Mixed(best, least, min(bound, least))


def _capped(question: Question, slack: float) -> list[int]:
    """Spot pools that may lose more than the slack hold no more than the slack."""
    caps = list(question.caps)
    for i, option in enumerate(question.case.options):
        each = option.speed * MIXED_SHARE
        if option.spot and option.loss * each > slack + 1e-9:
            caps[i] = max(option.keep, min(caps[i], int(max(0.0, slack) / each + 1e-9)))
    return caps


def _spares_pay(question: Question) -> bool:
    """Is every replica cheaper than what it would leave unsafe? Only then is the hedge part of the bound."""
    options = question.case.options
    dearest = max((each / (options[i].speed * MIXED_SHARE) for each, i, _ in question.segments), default=0.0)
    return question.price * HEDGE_SHARE > dearest


@dataclass(slots=True)
class Search:
    """Branch and bound for one need under caps."""

    question: Question
    need: float
    caps: Sequence[int]
    least: float
    """What must be beaten, then what the best costs with what it lacks."""
    best: list[int] = field(default_factory=list)
    """Empty when nothing is better."""
    _rows: list[tuple[float, float, int, int, bool, int]] = field(default_factory=list)
    """(dollars of a replica, its requests/s, room, option, on spot, bit of its speed)."""
    _paying: list[list[_Paying]] = field(default_factory=list)
    """By row, from there on: those that cost less than what they serve is worth."""
    _steps: int = 0

    def run(self) -> float:
        """Fills `best` and `least`; returns the bound."""
        options = self.question.case.options
        counts, taken = [0] * len(options), [0] * len(options)
        bits: dict[float, int] = {}
        spot_left, dollars, served = self.question.mode.spot_most, 0.0, 0.0
        for each, i, up_to in sorted(self.question.segments, key=lambda s: (s[0] / options[s[1]].speed, s[1], s[2])):
            option = options[i]
            room = min(up_to, self.caps[i]) - taken[i]
            if room <= 0:
                continue
            taken[i] += room
            stays = min(room, option.keep - counts[i])
            if stays > 0:
                counts[i] += stays
                dollars += stays * each
                served += stays * option.speed * MIXED_SHARE
                spot_left -= stays if option.spot else 0
                room -= stays
            if room > 0 and each < self.question.price * option.speed * MIXED_SHARE + self.question.floor_price:
                bit = bits.setdefault(option.speed, 1 << len(bits))
                self._rows.append((each, option.speed * MIXED_SHARE, room, i, option.spot, bit))
        missing = self.need - served
        price = self.question.price
        paying = [(each, serves, room, bit) for each, serves, room, _, _, bit in self._rows if each < price * serves]
        bound = dollars + _cut(paying, missing, 0, price)
        if bound >= self.least:
            return bound
        self._paying = [
            [(each, serves, room, bit) for each, serves, room, _, _, bit in self._rows[index:] if each < price * serves]
            for index in range(len(self._rows) + 1)
        ]
        self._descend(0, missing, dollars, spot_left, sum(counts), counts, 0)
        return max(bound, self.least * (1.0 - CLOSE)) if self._steps <= MOST_STEPS else bound

    def dollars(self, need: float) -> float:
        """What the best costs when no more than `need` counts as missing."""
        served = MIXED_SHARE * sum(
            option.speed * n for option, n in zip(self.question.case.options, self.best, strict=True)
        )
        return self.least - self.question.price * (max(0.0, self.need - served) - max(0.0, need - served))

    def _descend(
        self, index: int, missing: float, dollars: float, spot_left: int, total: int, counts: list[int], closed: int
    ) -> None:
        rows, question = self._rows, self.question
        while index < len(rows) and closed & rows[index][5]:
            index += 1
        self._steps += 1
        case, price = question.case, question.price
        below = max(0, case.floor - total)
        if (missing <= 1e-9 and below == 0) or index == len(rows):
            short = max(missing, LEAST_REMAINDER * question.mode.unit) if missing > 1e-9 else 0.0
            end = dollars + price * short + question.floor_price * below
            if end < self.least - 1e-9:
                self.best, self.least = list(counts), end
            return
        if self._steps > MOST_STEPS:
            return
        each, serves, room, i, spot, bit = rows[index]
        most = min(room, max(math.ceil(min(missing / serves, 1e9) - 1e-9), below), case.ceiling - total)
        full = min(room, spot_left) if spot else room
        most = min(most, full)
        whole = int(missing / serves) if missing > 0 else 0
        paying, enough = self._paying[index + 1], self.least * (1.0 - CLOSE)
        for take in range(max(0, most), -1, -1):
            rest, paid = missing - take * serves, dollars + take * each
            after = closed if take == full else closed | bit
            # With nothing missing there is nothing to cut: most of the answers, without the call.
            if (paid if rest <= 0 else paid + _cut(paying, rest, after, price)) >= enough:
                if take <= whole and below == 0:
                    return
                continue
            counts[i] += take
            self._descend(index + 1, rest, paid, spot_left - (take if spot else 0), total + take, counts, after)
            counts[i] -= take
            enough = self.least * (1.0 - CLOSE)


_Paying = tuple[float, float, int, int]
"""(dollars of a replica, its requests/s, room, bit of its speed) of a row that is cheaper than what it serves."""


def _cut(rows: Sequence[_Paying], missing: float, closed: int, price: float) -> float:
    """Dollars of covering what is missing if replicas could be cut."""
    dollars = 0.0
    for each, serves, room, bit in rows:
        if missing <= 1e-12:
            return dollars
        if closed & bit:
            continue
        part = missing / serves
        if part <= room:
            return dollars + part * each
        dollars += room * each
        missing -= room * serves
    return dollars + price * missing if missing > 0 else dollars
