"""Kernels of the prefix cache: which replicas hold the prefix of a session, and how much of it is still there.

Least recently used prefixes go first, told by stack distance: a prefix is gone when more new tokens have entered the
cache since its last touch than the cache has room for beyond what runs.
"""

from __future__ import annotations

from inferencefleet.simulator.fast import layout as at
from inferencefleet.simulator.fast.compiling import compiled
from inferencefleet.simulator.fast.layout import World


@compiled
def touch(w: World, s: int, r: int, tokens: int) -> None:
    """This replica now holds so many tokens of the request's session."""
    session = w.session[r]
    if session < 0 or w.fleet[at.PREFIXES] == 0:
        return
    entry = w.holders[session]
    while entry != at.NOBODY and w.entries[entry, at.HELD_BY] != s:
        entry = w.entries[entry, at.NEXT_HOLDER]
    if entry == at.NOBODY:
        entry = w.fleet[at.ENTRIES]
        w.fleet[at.ENTRIES] = entry + 1
        w.entries[entry, at.HELD_BY] = s
        w.entries[entry, at.NEXT_HOLDER] = w.holders[session]
        w.holders[session] = entry
    w.entries[entry, at.TOUCHED] = w.si[s, at.N_COMPUTED]
    w.entries[entry, at.HELD_TOKENS] = tokens


@compiled
def held(w: World, s: int, r: int) -> int:
    """Prompt tokens of this request that the replica has cached, if its steps are booked."""
    wanted, session = w.prefix[r], w.session[r]
    if session < 0 or wanted == 0:
        return int(wanted)
    entry = w.holders[session]
    while entry != at.NOBODY:
        if w.entries[entry, at.HELD_BY] == s:
            used = w.si[s, at.USED]
            if w.si[s, at.DOING] == at.DECODE_ONLY:
                # The step in flight has its blocks already, although a run books them when it is over.
                used += w.si[s, at.GROWTH + (w.si[s, at.STEPS] + 1) % at.PHASES]
            room = (w.si[s, at.KV_BLOCKS] - used) * at.PHASES
            fresh = w.si[s, at.N_COMPUTED] - w.entries[entry, at.TOUCHED] < room
            return int(min(w.entries[entry, at.HELD_TOKENS], wanted)) if fresh else 0
        entry = w.entries[entry, at.NEXT_HOLDER]
    return 0
