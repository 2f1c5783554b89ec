"""The best placement of one fleet when GPUs of scarce pools have a price: what the joint problem asks again and again.

With a price on what is scarce, every fleet decides for itself, and the prices are right when the decisions fit. A
fleet may also serve less than it needs: its next replica is worth what it serves at the price of a shortage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inferencefleet.planning.placement.alone import within_budget
from inferencefleet.planning.placement.case import HEDGE_SHARE, Case, Mode
from inferencefleet.planning.placement.measure import cost, priced, shortage, spent
from inferencefleet.planning.placement.mixture import Question, mix


@dataclass(slots=True)
class Offered:
    """One possible placement of a fleet."""

    counts: list[int]
    dollars: float
    missing: float
    """Dollars per hour of what it lacks."""
    lower: float
    """No placement of this fleet has a smaller sum at these prices."""


_Segments = list[tuple[float, int, int]]


def at_prices(case: Case, caps: Sequence[int], extra: Sequence[float], weight: float = 1.0) -> Offered:
    """`extra`: dollars per hour by option of the scarce GPUs that a replica takes; `weight` multiplies shortages."""
    shortage_price = case.price * weight
    best: list[int] = [0] * len(case.options)
    need = case.claim.need
    fastest = max((option.speed for option in case.options), default=0.0)
    nothing = shortage_price * (need.requests_per_s + fastest * case.floor)
    least, lower, lacks = (nothing, nothing, nothing) if not case.kept else (math.inf, math.inf, 0.0)
    for mode in case.modes:
        segments = sorted([(each + extra[i], i, up_to) for each, i, up_to in mode.segments])
        terms = _Terms(case, mode, segments, caps, shortage_price, fastest * shortage_price)
        if mode.whole:
            counts, total, missing = terms.best(least)
            bound = total
        else:
            counts, total, missing, bound = terms.mixture(least, extra)
        lower = min(lower, bound)
        if total < least:
            best, least, lacks = counts, total, missing
    lower = min(lower, least)
    budget = case.claim.budget_per_hour
    if budget is not None and spent(case, best) > budget + 1e-9:
        best = within_budget(case, case.modes[0], caps, budget)
        lacks = priced(case, shortage(case, best)) * weight
        return Offered(counts=best, dollars=cost(case, best), missing=lacks, lower=lower)
    paid = sum(each * n for each, n in zip(extra, best, strict=True))
    return Offered(counts=best, dollars=least - lacks - paid, missing=lacks, lower=lower)


@dataclass(slots=True)
class _Terms:
    case: Case
    mode: Mode
    segments: _Segments
    caps: Sequence[int]
    price: float
    """Dollars per hour of one request/s that is missing..."""
    floor_price: float
    """...and of one replica below the floor."""

    def lacking(self, replicas: float) -> float:
        mode, need = self.mode, self.case.claim.need.requests_per_s
        short = max(0.0, need - mode.unit * replicas, mode.remainder * (mode.need_units - replicas))
        return self.price * short + self.floor_price * max(0, self.case.floor - replicas)

    def best(self, known: float) -> tuple[list[int], float, float]:
        """(counts, dollars with what is missing, what is missing); no better than `known` may be told roughly."""
        mode, case = self.mode, self.case
        wanted = self._worthwhile()
        counts, dollars = self.fill(wanted, hedged=False)
        total = sum(counts)
        missing = self.lacking(total)
        if dollars + missing >= known or not case.hedged or self._unsafe(counts) <= 0:
            return counts, dollars + missing, missing
        unsafe = self.price * HEDGE_SHARE * mode.unit * self._unsafe(counts)
        best, least, lacks = counts, dollars + missing + unsafe, missing + unsafe
        most = min(case.ceiling, max(mode.target, total) + max(o.loss for o in case.options if o.spot))
        safe = max(0, math.ceil(mode.survive_units - 1e-9))
        for replicas in (*range(total, most + 1), *range(total - 1, safe - 1, -1)):
            relaxed, relaxed_dollars = self.fill(replicas, hedged=False)
            if relaxed_dollars + self.lacking(replicas) >= min(least, known):
                if replicas >= total:
                    continue
                break
            if sum(relaxed) < replicas:
                continue
            tried, tried_dollars = self.fill(replicas, hedged=True)
            tried_missing = self.lacking(sum(tried))
            if sum(tried) == replicas and tried_dollars + tried_missing < least and self._unsafe(tried) <= 0:
                best, least, lacks = tried, tried_dollars + tried_missing, tried_missing
        return best, least, lacks

    def _worthwhile(self) -> int:
        """Replicas up to the first that costs more than it is worth."""
        mode, case = self.mode, self.case
        counts, spot_left, total = self._kept()
        for each, i, up_to in self.segments:
            room = min(up_to, self.caps[i]) - counts[i]
            if case.options[i].spot:
                room = min(room, spot_left)
            while room > 0:
                until = case.ceiling
                gain = 0.0
                if total < mode.need_units - 1:
                    gain, until = self.price * mode.unit, min(until, int(mode.need_units) - 1)
                elif total < mode.need_units:
                    gain, until = self.price * mode.remainder, min(until, int(mode.need_units))
                if total < case.floor:
                    gain, until = gain + self.floor_price, min(until, case.floor)
                take = min(room, until - total)
                if each >= gain or take <= 0:
                    return total
                total += take
                counts[i] += take
                room -= take
                if case.options[i].spot:
                    spot_left -= take
        return total

    def _kept(self) -> tuple[list[int], int, int]:
        counts, spot_left, total = [0] * len(self.case.options), self.mode.spot_most, 0
        if self.case.kept:
            for i in self.mode.members:
                option = self.case.options[i]
                counts[i] = min(option.keep, self.caps[i])
                total += counts[i]
                spot_left -= counts[i] if option.spot else 0
        return counts, spot_left, total

    def fill(self, replicas: int, *, hedged: bool) -> tuple[list[int], float]:
        """The cheapest so many, and their dollars."""
        options, caps = self.case.options, self.caps
        counts, spot_left, total = self._kept()
        left = replicas - total
        dollars = self._kept_dollars(counts) if total else 0.0
        slack = replicas - math.ceil(self.mode.survive_units - 1e-9)
        for each, i, up_to in self.segments:
            if left <= 0:
                break
            take = min(left, (up_to if up_to < caps[i] else caps[i]) - counts[i])
            if options[i].spot:
                take = min(take, spot_left)
                if hedged and options[i].loss > slack:
                    take = min(take, slack - counts[i])
                if take > 0:
                    spot_left -= take
            if take > 0:
                counts[i] += take
                dollars += take * each
                left -= take
        return counts, dollars

    def _kept_dollars(self, counts: Sequence[int]) -> float:
        done = [0] * len(counts)
        dollars = 0.0
        for each, i, up_to in self.segments:
            part = max(0, min(counts[i], up_to) - done[i])
            done[i] += part
            dollars += part * each
        return dollars

    def _unsafe(self, counts: Sequence[int]) -> float:
        """Units that the worst plausible loss would leave missing."""
        total, options = sum(counts), self.case.options
        left = [total - min(counts[i], options[i].loss) for i in self.mode.members if options[i].spot and counts[i] > 0]
        return self.mode.survive_units - min(left, default=math.inf)

    def mixture(self, known: float, extra: Sequence[float]) -> tuple[list[int], float, float, float]:
        """(counts, dollars with what is missing, what is missing, bound); infinite when no better than `known`."""
        case = self.case
        mixed = mix(Question(case, self.mode, self.segments, self.caps, self.price, self.floor_price), known)
        paid = sum(each * n for each, n in zip(extra, mixed.counts, strict=False)) if mixed.counts else 0.0
        lacks = max(0.0, mixed.total - paid - cost(case, mixed.counts)) if mixed.counts else 0.0
        return mixed.counts, mixed.total, lacks, mixed.bound
