"""Kernels of the router and of the fleet's time."""

from __future__ import annotations

from inferencefleet.simulator.fast import layout as at
from inferencefleet.simulator.fast.compiling import compiled
from inferencefleet.simulator.fast.layout import World
from inferencefleet.simulator.fast.prefixes import held
from inferencefleet.simulator.fast.replica import advance, blocks_for, refresh, submit
from inferencefleet.simulator.servers import CROWDED_FACTOR, CROWDED_REQUESTS, uniform_choice

choose_uniformly = compiled(uniform_choice)


@compiled
def least_loaded(w: World, now_s: float) -> int:
    best = w.targets[0]
    for place in range(w.fleet[at.TARGETS]):
        s = w.targets[place]
        if w.next_s[s] <= now_s:
            advance(w, s, now_s)
        if w.load[s] < w.load[best]:
            best = s
    return int(best)


@compiled
def best_prefix(w: World, r: int, now_s: float) -> int:
    """The replica with the longest part of the prefix (then the least load), unless too much waits there."""
    least = least_loaded(w, now_s)
    if w.session[r] < 0 or w.prefix[r] == 0:
        return least
    best, longest, total = at.NOBODY, 0, 0
    for place in range(w.fleet[at.TARGETS]):
        total += w.load[w.targets[place]]
    entry = w.holders[w.session[r]]
    while entry != at.NOBODY:
        s = w.entries[entry, at.HELD_BY]
        entry = w.entries[entry, at.NEXT_HOLDER]
        if not is_target(w, s):
            continue
        refresh(w, s, now_s)
        tokens = held(w, s, r)
        if tokens > longest or (
            tokens == longest > 0 and (w.load[s] < w.load[best] or (w.load[s] == w.load[best] and s < best))
        ):
            best, longest = s, tokens
    if best != at.NOBODY and w.load[best] <= CROWDED_FACTOR * total / w.fleet[at.TARGETS] + CROWDED_REQUESTS:
        return best
    return least


@compiled
def is_target(w: World, s: int) -> bool:
    low, high = 0, w.fleet[at.TARGETS]
    while low < high:
        middle = (low + high) >> 1
        if w.targets[middle] < s:
            low = middle + 1
        else:
            high = middle
    return bool(low < w.fleet[at.TARGETS] and w.targets[low] == s)


@compiled
def route(w: World, r: int, now_s: float) -> None:
    """To a replica, or to the end of the queue at the gateway."""
    replicas = w.fleet[at.TARGETS]
    if replicas == 0:
        w.ri[r, at.NEXT] = at.NOBODY
        if w.fleet[at.GATE_COUNT] == 0:
            w.fleet[at.GATE_HEAD] = r
        else:
            w.ri[w.fleet[at.GATE_TAIL], at.NEXT] = r
        w.fleet[at.GATE_TAIL] = r
        w.fleet[at.GATE_COUNT] += 1
        return
    if w.fleet[at.ROUTING] == at.UNIFORM:
        s = w.targets[choose_uniformly(w.fleet[at.SEED], r, w.ri[r, at.RETRIES], replicas)]
        advance(w, s, now_s)
    elif w.fleet[at.ROUTING] == at.LOAD_AWARE:
        s = least_loaded(w, now_s)
    else:
        s = best_prefix(w, r, now_s)
    prompt, output = w.prompt[r], w.output[r]
    total = prompt + output
    if prompt < 1 or output < 1 or total > w.si[s, at.MAX_LENGTH] or blocks_for(total) > w.si[s, at.KV_BLOCKS]:
        w.ri[r, at.OUTCOME] = at.REFUSED
        return
    hit = 0
    if w.prefix[r] > 0:
        refresh(w, s, now_s)
        hit = min(held(w, s, r), prompt - 1)
    w.ri[r, at.HIT] = hit
    submit(w, s, r, now_s)


@compiled
def run(w: World, until_s: float) -> None:
    """Arrivals in order, each replica as far as it must be known; in the end all of them up to this time."""
    number, count = w.fleet[at.ARRIVED], w.arrival_s.size
    while number < count and w.arrival_s[number] <= until_s:
        route(w, number, w.arrival_s[number])
        number += 1
    w.fleet[at.ARRIVED] = number
    for place in range(w.fleet[at.LIVE]):
        advance(w, w.live[place], until_s)
        refresh(w, w.live[place], until_s)


@compiled
def drain_gateway(w: World, now_s: float) -> None:
    """Route what waits at the gateway, the first that came first."""
    r = w.fleet[at.GATE_HEAD]
    count = w.fleet[at.GATE_COUNT]
    w.fleet[at.GATE_COUNT] = 0
    for _ in range(count):
        following = w.ri[r, at.NEXT]
        route(w, r, now_s)
        r = following


@compiled
def lose(w: World, s: int, now_s: float) -> int:
    """A dead replica's requests are sent once more, in the order of their admission; a second loss fails them."""
    count = w.load[s]
    r = w.si[s, at.RUN_HEAD]
    for number in range(count):
        if number == w.si[s, at.RUNNING]:
            r = w.si[s, at.QUEUE_HEAD]
        following = w.ri[r, at.NEXT]
        w.ri[r, at.STATE] = at.NEW
        w.ri[r, at.GENERATED] = 0
        if w.ri[r, at.RETRIES] > 0:
            w.ri[r, at.OUTCOME] = at.FAILED
        else:
            w.ri[r, at.RETRIES] = 1
            route(w, r, now_s)
        r = following
    return int(count)
