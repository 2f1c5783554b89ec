"""Small kernels: chance, histograms, the step time, the closed form of many steps, and a heap."""

from __future__ import annotations

from math import exp, sqrt

from inferencefleet.simulator.fast import layout as at
from inferencefleet.simulator.fast.compiling import compiled
from inferencefleet.simulator.fast.layout import World
from inferencefleet.simulator.fast.table import WINDOWS

FIRST_MODULUS, SECOND_MODULUS, APART_MODULUS = 2_147_483_563, 2_147_483_399, 2_147_483_647
NORMAL_BITS = 12
"""Chance is one of 2^12 quantiles of the normal distribution: enough for noise of a few percent."""
_FIRST_MULTIPLIER, _SECOND_MULTIPLIER, _APART_MULTIPLIER = 40_014, 40_692, 48_271
_SHIFT = 31 - NORMAL_BITS
_REQUEST_BITS = 32


@compiled
def draw(w: World, s: int) -> float:
    """A normal variate from the replica's own stream (L'Ecuyer's combined generator: products fit 64 bits signed)."""
    first = w.si[s, at.CHANCE_A] * _FIRST_MULTIPLIER % FIRST_MODULUS
    second = w.si[s, at.CHANCE_B] * _SECOND_MULTIPLIER % SECOND_MODULUS
    w.si[s, at.CHANCE_A] = first
    w.si[s, at.CHANCE_B] = second
    mixed = first - second
    if mixed < 0:
        mixed += FIRST_MODULUS - 1
    return float(w.normal[mixed >> _SHIFT])


@compiled
def draw_apart(w: World, s: int) -> float:
    """A normal variate that leaves the main stream as it is: looking at a histogram must not change what happens."""
    found = w.si[s, at.CHANCE_C] * _APART_MULTIPLIER % APART_MODULUS
    w.si[s, at.CHANCE_C] = found
    return float(w.normal[found >> _SHIFT])


@compiled
def noise(w: World, s: int, sigma: float) -> float:
    """A factor of mean 1."""
    if sigma <= 0.0:
        return 1.0
    return exp(sigma * draw(w, s) - 0.5 * sigma * sigma)


@compiled
def observe(w: World, s: int, histogram: int, value: float, times: int) -> None:
    """The first bound that is not less, by halving."""
    low, high = w.edges[histogram], w.edges[histogram + 1] - 1
    while low < high:
        middle = (low + high) >> 1
        if w.bounds[middle] < value:
            low = middle + 1
        else:
            high = middle
    w.counts[s, low] += times


@compiled
def mixed_step_s(w: World, kind: int, batch: int, context: float, prompt: int, attended: float) -> float:
    """A step with prompt tokens: `context` tokens cached by the decoding, `attended` by each prompt token."""
    tokens = batch + prompt
    total = w.tables[kind, w.fleet[at.TOKENS_AT] + tokens] + w.tables[kind, w.fleet[at.SEQUENCES_AT] + batch]
    if tokens > w.tables[kind, at.GRAPH_TOKENS]:
        fourth = total * total * total * total
        total = sqrt(sqrt(sqrt(fourth * fourth + w.tables[kind, at.EAGER8])))
    total += w.tables[kind, at.READ] * context + w.tables[kind, at.ATTEND] * prompt * attended
    for number in range(WINDOWS):
        window = w.tables[kind, at.WINDOW + number]
        if window > 0.0:
            total += w.tables[kind, at.WINDOW_READ + number] * min(context, batch * window)
            total += w.tables[kind, at.WINDOW_ATTEND + number] * prompt * min(attended, window)
    return float(total)


@compiled
def steps_within(step_s: float, growth_s: float, elapsed_s: float, most: int) -> int:
    """How many of `most` steps are over after this time, when each takes `growth_s` longer than the one before."""
    if elapsed_s < step_s:
        return 0
    linear = step_s - 0.5 * growth_s
    found = int(2.0 * elapsed_s / (linear + sqrt(linear * linear + 2.0 * growth_s * elapsed_s)))
    found = min(found, most)
    while found > 0 and span_s(step_s, growth_s, found) > elapsed_s:
        found -= 1
    while found < most and span_s(step_s, growth_s, found + 1) <= elapsed_s:
        found += 1
    return found


@compiled
def span_s(step_s: float, growth_s: float, steps: int) -> float:
    """Seconds of so many steps."""
    return steps * step_s + 0.5 * growth_s * steps * (steps - 1)


@compiled
def push(w: World, s: int, step: int, request: int) -> None:
    """Onto the heap of finishes."""
    key = (step << _REQUEST_BITS) + request
    place = w.si[s, at.HEAPED]
    w.si[s, at.HEAPED] = place + 1
    rise(w, s, place, key)


@compiled
def rise(w: World, s: int, place: int, key: int) -> None:
    while place > 0:
        parent = (place - 1) >> 1
        if w.lists[s, parent] <= key:
            break
        w.lists[s, place] = w.lists[s, parent]
        place = parent
    w.lists[s, place] = key


@compiled
def remove(w: World, s: int, place: int) -> None:
    """The last key takes the place and sinks, or rises."""
    count = w.si[s, at.HEAPED] - 1
    w.si[s, at.HEAPED] = count
    if place == count:
        return
    key = w.lists[s, count]
    hole = place
    child = 2 * hole + 1
    while child < count:
        if child + 1 < count and w.lists[s, child + 1] < w.lists[s, child]:
            child += 1
        if w.lists[s, child] >= key:
            break
        w.lists[s, hole] = w.lists[s, child]
        hole = child
        child = 2 * hole + 1
    rise(w, s, hole, key)


@compiled
def first_step(w: World, s: int) -> int:
    """Of the heap."""
    return int(w.lists[s, 0] >> _REQUEST_BITS)


@compiled
def first_request(w: World, s: int) -> int:
    return int(w.lists[s, 0] & ((1 << _REQUEST_BITS) - 1))


@compiled
def place_of(w: World, s: int, step: int, request: int) -> int:
    """Where in the heap a request is that must leave early."""
    key = (step << _REQUEST_BITS) + request
    for place in range(w.si[s, at.HEAPED]):
        if w.lists[s, place] == key:
            return place
    return at.NOBODY
