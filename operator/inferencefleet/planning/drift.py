"""Which token lengths are planned for: the declared ones until enough is seen, then a slow mean that yields to drift.

Two histograms of the same traffic are never equal. PSI = sum((p - q) ln(p / q)) over buckets, times
n m / (n + m), is a chi-square with one degree less than there are buckets when both are samples of one mix (Yurdakul
2018), so one threshold, material + chance, tells a change that matters from one that only counts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

import numpy as np

from inferencefleet.domain.history import LengthMemory
from inferencefleet.domain.lengths import LengthMix, Tokens
from inferencefleet.domain.observation import FleetMetrics, Histogram, MetricsGap
from inferencefleet.physics.lengths import mix_from_histograms

DECLARED_REQUESTS = 50.0
"""The declared mix weighs as much as so many observed requests: fewer say too little about a p95 length."""
SLOW_S = 1200.0
"""Time constant of the slow mix."""
LEAST_KEPT = 300.0
"""Of a rarely used fleet, so many requests are remembered however long ago they were."""
MOST_SEEN = 1e5
MOST_COUNTED = 1e15
"""Requests, or their tokens, in one window: more is no reading."""
MATERIAL_DRIFT, MATERIAL_SHIFT = 0.02, 0.15
"""Drift of the last minute against the slow mix: PSI (two log-normals 0.14 deviations apart), and shift of the mean."""
MATERIAL_CHANGE, MATERIAL_MEAN, MATERIAL_HIT = 0.0025, 0.05, 0.05
"""Change of the slow mix against the one in use: a twentieth of a deviation, of the mean, of the prefix hit ratio."""
HIT_S = 300.0
"""Time constant of the prefix hit ratio; a fall by more than twice `MATERIAL_HIT` is believed at once."""
REFINED = 4.0
"""The mix in use is made anew when so many times more requests are known than when it was made."""
LEAST_IN_BUCKET = 10.0
"""Requests of both samples together; smaller buckets are joined with the next."""
SURE_Z = 3.1
"""One false alarm in a thousand."""


def learn_lengths(
    declared: LengthMix, metrics: FleetMetrics | MetricsGap, memory: LengthMemory, *, at_s: float
) -> LengthMemory:
    """The memory with one more window, and with the mix to plan for; unchanged when there is nothing to see."""
    if isinstance(metrics, MetricsGap) or not _usable(metrics.prompt_tokens) or not _usable(metrics.output_tokens):
        return memory
    assert metrics.prompt_tokens is not None
    assert metrics.output_tokens is not None
    passed_s = max(0.0, at_s - memory.at_s)
    new_share = min(1.0, passed_s / max(metrics.window_s, 1.0))
    kept = math.exp(-passed_s / SLOW_S)
    fresh = new_share * min(metrics.prompt_tokens.total, metrics.output_tokens.total)
    memory = replace(
        memory,
        prompt=_followed(memory.prompt, metrics.prompt_tokens, kept, new_share),
        output=_followed(memory.output, metrics.output_tokens, kept, new_share),
        prefix_hit_ratio=_hit(memory.prefix_hit_ratio, metrics.prefix_hit_ratio, passed_s),
        seen=min(MOST_SEEN, memory.seen + fresh),
        at_s=at_s,
    )
    if memory.mix is not None and _still_right(memory, declared):
        return memory
    return _made(memory, declared)


def _usable(histogram: Histogram | None) -> bool:
    """Finite sums of counts that can be: a counter that began again leaves negative ones behind."""
    if histogram is None or not (0 < histogram.total <= MOST_COUNTED and 0 < histogram.sum <= MOST_COUNTED):
        return False
    return bool(histogram.counts) and min(histogram.counts) >= 0 and 0 < sum(histogram.counts) <= MOST_COUNTED


def _followed(slow: Histogram | None, fast: Histogram, kept: float, new_share: float) -> Histogram:
    """Longer requests count at once, shorter ones as the slow mean finds out: too few replicas cost more than too many.

    After a rollout buckets may have other bounds; then the past is of no use.
    """
    if slow is None or slow.bounds != fast.bounds:
        return fast
    if (fast.mean or 0.0) > (slow.mean or 0.0) and differs(fast, slow, psi=MATERIAL_DRIFT, shift=MATERIAL_SHIFT):
        return fast
    kept = max(kept, min(1.0, LEAST_KEPT / slow.total))
    return Histogram(
        bounds=slow.bounds,
        counts=tuple(kept * old + new_share * new for old, new in zip(slow.counts, fast.counts, strict=True)),
        total=kept * slow.total + new_share * fast.total,
        sum=kept * slow.sum + new_share * fast.sum,
    )


def _hit(slow: float | None, fast: float | None, passed_s: float) -> float | None:
    """Unknown is not zero. Less cached means more work, and is believed at once."""
    if fast is None or not math.isfinite(fast):
        return slow
    fast = min(1.0, max(0.0, fast))
    if slow is None or fast < slow - 2 * MATERIAL_HIT:
        return fast
    return slow + (1 - math.exp(-passed_s / HIT_S)) * (fast - slow)


def _still_right(memory: LengthMemory, declared: LengthMix) -> bool:
    assert memory.mix is not None
    hit = declared.prefix_hit_ratio if memory.prefix_hit_ratio is None else memory.prefix_hit_ratio
    if abs(hit - memory.mix.prefix_hit_ratio) > MATERIAL_HIT:
        return False
    for now, used in ((memory.prompt, memory.mix_prompt), (memory.output, memory.mix_output)):
        if now is None or used is None or now.bounds != used.bounds or now.total > REFINED * used.total:
            return False
        if differs(now, used, psi=MATERIAL_CHANGE, shift=MATERIAL_MEAN):
            return False
    return True


def _made(memory: LengthMemory, declared: LengthMix) -> LengthMemory:
    assert memory.prompt is not None
    assert memory.output is not None
    trust = memory.seen / (memory.seen + DECLARED_REQUESTS)
    prompt = _blended(memory.prompt, declared.prompt_tokens, trust)
    output = _blended(memory.output, declared.output_tokens, trust)
    mix = mix_from_histograms(
        prompt.bounds,
        list(accumulate(prompt.counts)),
        output.bounds,
        list(accumulate(output.counts)),
        prompt_mean=prompt.mean,
        output_mean=output.mean,
        prefix_hit_ratio=declared.prefix_hit_ratio if memory.prefix_hit_ratio is None else memory.prefix_hit_ratio,
    )
    source = "observed" if trust > 0.9 else "blended"
    return replace(memory, mix=replace(mix, source=source), mix_prompt=memory.prompt, mix_output=memory.output)


def _blended(seen: Histogram, declared: Tokens, trust: float) -> Histogram:
    """Shares of both, by how many requests were seen."""
    total = sum(seen.counts)
    expected = _shares(declared.tobytes(), seen.bounds)
    counts = tuple(
        trust * count / total + (1 - trust) * share for count, share in zip(seen.counts, expected, strict=True)
    )
    mean = trust * (seen.mean or 0.0) + (1 - trust) * float(declared.mean())
    return Histogram(bounds=seen.bounds, counts=counts, total=1.0, sum=mean)


@lru_cache(maxsize=4096)
def _shares(tokens: bytes, bounds: tuple[float, ...]) -> tuple[float, ...]:
    lengths = np.frombuffer(tokens)
    places = np.minimum(np.searchsorted(np.array(bounds), lengths), len(bounds) - 1)
    return tuple((np.bincount(places, minlength=len(bounds)) / lengths.size).tolist())


def differs(one: Histogram, other: Histogram, *, psi: float, shift: float) -> bool:
    """Whether two histograms with the same bounds differ by more than chance and the given materiality.

    The mean is looked at too: lengths that move inside a wide bucket do not show in counts.
    """
    chance = 1.0 / max(one.total, 1.0) + 1.0 / max(other.total, 1.0)
    if one.mean and other.mean and abs(math.log(one.mean / other.mean)) > shift + SURE_Z * math.sqrt(chance):
        return True
    found, groups = stability_index(one, other)
    return found > psi + _sure_chi_square(groups - 1) * chance


def stability_index(one: Histogram, other: Histogram) -> tuple[float, int]:
    """(population stability index, number of buckets after small ones were joined)."""
    n, m = sum(one.counts), sum(other.counts)
    if n <= 0 or m <= 0:
        return 0.0, 1
    found, groups, a, b = 0.0, 0, 0.0, 0.0
    last_a, last_b, last_term = 0.0, 0.0, 0.0
    for x, y in zip(one.counts, other.counts, strict=True):
        a, b = a + x, b + y
        if a + b >= LEAST_IN_BUCKET:
            last_term = _term(a / n, b / m, n, m)
            found, groups, last_a, last_b = found + last_term, groups + 1, a, b
            a = b = 0.0
    if groups and a + b > 0:  # what is left at the end joins the last group
        found += _term((last_a + a) / n, (last_b + b) / m, n, m) - last_term
    return found, max(1, groups)


def _term(p: float, q: float, n: float, m: float) -> float:
    """An empty bucket counts as half a request: nothing is impossible after a finite sample."""
    p, q = max(p, 0.5 / n), max(q, 0.5 / m)
    return (p - q) * math.log(p / q)


@lru_cache
def _sure_chi_square(degrees: int) -> float:
    """Upper quantile of a chi-square at `SURE_Z` (Wilson and Hilferty 1931)."""
    if degrees < 1:
        return 0.0
    spread = 2.0 / (9.0 * degrees)
    return degrees * (1.0 - spread + SURE_Z * math.sqrt(spread)) ** 3
