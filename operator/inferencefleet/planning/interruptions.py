"""What a spot pool does to its nodes: observed from one tick to the next, and how fast it takes them back.

A node counts only while a replica lives on it. Events and exposure are cut off in the same way, so that time in which
nobody looked (a restart) changes neither rate.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import exp, inf

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import (
    GROUP_SHARES,
    Batch,
    CapacityType,
    InterruptionRecord,
    NodeState,
    Pool,
    PoolMemory,
    PoolState,
    Tally,
)

FORGET_S = 7 * 86_400.0
"""After so long 1/e of what was seen is left."""
RESTLESS_S = 2 * 3600.0
"""For so long after an interruption a pool is restless: in recorded markets losses come 2 to 10 times as often then."""
CALM_HOURS, RESTLESS_HOURS = 24.0, 6.0
"""The declared rate weighs as much as so many hours of watching."""
RESTLESS_FACTOR = 3.0
"""Of the declared rate, while nothing is known of restless hours."""
TAKEN_SHARE = 0.25
"""Of the nodes in use, lost within one tick: a market that wants so much back has none to give for a while."""
GROUP_PART = 0.5
"""Of the declared rate: nodes that go together with others. In recorded markets it was 50 to 95 %."""
PRIOR_SHARES = (0.25, 0.25, 0.15, 0.35)
"""How many common losses took up to each of `GROUP_SHARES`, roughly as in recorded markets."""
_MEAN_SHARE = sum(weight * share for weight, share in zip(PRIOR_SHARES, GROUP_SHARES, strict=True))
HOUR_S = 3600.0


def observe(
    state: PoolState, memory: PoolMemory, *, replicas: Iterable[Replica], at_s: float
) -> tuple[InterruptionRecord, PoolMemory]:
    """The record after this tick. `replicas` are those of all fleets in this pool.

    An interruption is a node that had a living replica at the last tick and is doomed or gone now; one that a
    scale-down had emptied before was given back, not taken.
    """
    pool = state.pool
    if pool.capacity_type is not CapacityType.SPOT:
        return InterruptionRecord(), replace(memory, at_s=at_s, generation=pool.generation)
    record = memory.record if memory.record is not None else state.interruptions
    if memory.at_s is not None and memory.generation != pool.generation:
        # The selector may have changed: nodes that are out of sight now need not be gone.
        memory = replace(memory, at_s=None, nodes=(), doomed=())
    present = {node.name: node for node in state.nodes}
    occupied = {pod.node for pod in replicas if pod.node is not None and pod.phase is not Phase.TERMINATING}

    # 1. Forget, and count the time that the watched nodes were at risk.
    record = _exposed(_aged(record, at_s), memory, at_s)

    # 2. Whose time has come?
    if memory.at_s is None:
        taken = _doomed_before_the_first_look(record, present, occupied, pool, at_s)
        held, silent = sum(1 for name in present if name in occupied), 0
    else:
        taken = _taken(memory, present)
        held, silent = len(memory.nodes), sum(1 for name in taken if name not in present)
    if taken:
        record = _with_losses(record, len(taken), held, together_s(pool), at_s)

    # 3. How long were they warned?
    notices = [at_s - since_s for name, since_s in memory.doomed if name not in present]
    record = replace(
        record,
        noticed=record.noticed + len(notices),
        notice_sum_s=record.notice_sum_s + sum(max(0.0, notice) for notice in notices),
        silent=record.silent + silent,
    )

    # 4. Whom to watch until the next tick.
    seen = dict(memory.doomed)
    doomed = tuple(
        (name, seen.get(name, at_s))
        for name in sorted({*seen, *taken})
        if (node := present.get(name)) is not None and node.doomed
    )
    watched = tuple(sorted(name for name, node in present.items() if _is_watched(node, occupied, memory)))
    back = watched and not memory.nodes and record.last is not None
    return_s = at_s if back and memory.at_s is not None else memory.recovered_s
    if return_s is not None and return_s > (record.quiet_since_s or 0.0):
        record = replace(record, quiet_since_s=return_s)
    return record, replace(memory, at_s=at_s, generation=pool.generation, nodes=watched, doomed=doomed, record=record)


def is_taking_back(state: PoolState, memory: PoolMemory) -> bool:
    """A good part of the nodes that the last tick watched is doomed or gone: who is replaced now goes elsewhere."""
    if state.pool.capacity_type is not CapacityType.SPOT or memory.generation != state.pool.generation:
        return False
    present = {node.name: node for node in state.nodes}
    taken = len(_taken(memory, present))
    return taken > 0 and taken >= TAKEN_SHARE * len(memory.nodes)


def _taken(memory: PoolMemory, present: Mapping[str, NodeState]) -> list[str]:
    return [name for name in memory.nodes if name not in present or present[name].doomed]


def together_s(pool: Pool) -> float:
    """Losses within this time are one event: what the first took is not replaced yet when the next goes."""
    return pool.provision_p95_s


def is_restless(record: InterruptionRecord, at_s: float) -> bool:
    """An interruption is recent, or the pool has only just begun to give nodes again."""
    return record.quiet_since_s is not None and at_s - record.quiet_since_s < RESTLESS_S


def _is_watched(node: NodeState, occupied: set[str], memory: PoolMemory) -> bool:
    """A node that stops answering stays watched until it is back or gone: some clouds take nodes without a word."""
    if node.doomed:
        return False
    return node.name in occupied if node.ready else node.name in memory.nodes


def _doomed_before_the_first_look(
    record: InterruptionRecord, present: Mapping[str, NodeState], occupied: set[str], pool: Pool, at_s: float
) -> list[str]:
    """After a restart: a notice that still runs is news, unless the status tells of an event that may be the same."""
    if record.last_s is not None and at_s - record.last_s <= max(pool.spot_notice_s, together_s(pool)):
        return []
    return [name for name, node in sorted(present.items()) if node.doomed and name in occupied]


def _aged(record: InterruptionRecord, at_s: float) -> InterruptionRecord:
    if record.as_of_s is None:
        return replace(record, as_of_s=at_s)
    if at_s <= record.as_of_s:
        return record
    kept = exp(-(at_s - record.as_of_s) / FORGET_S)
    return replace(
        record,
        as_of_s=at_s,
        calm=_faded(record.calm, kept),
        restless=_faded(record.restless, kept),
        nodes=record.nodes * kept,
        noticed=record.noticed * kept,
        notice_sum_s=record.notice_sum_s * kept,
        silent=record.silent * kept,
    )


def _faded(tally: Tally, kept: float) -> Tally:
    return Tally(
        node_hours=tally.node_hours * kept,
        group_hours=tally.group_hours * kept,
        lone=tally.lone * kept,
        groups=tuple(count * kept for count in tally.groups),
    )


def _exposed(record: InterruptionRecord, memory: PoolMemory, at_s: float) -> InterruptionRecord:
    if memory.at_s is None or at_s <= memory.at_s:
        return record
    hours, nodes = (at_s - memory.at_s) / HOUR_S, len(memory.nodes)

    def more(tally: Tally) -> Tally:
        together = tally.group_hours + (hours if nodes >= 2 else 0.0)
        return replace(tally, node_hours=tally.node_hours + hours * nodes, group_hours=together)

    return _in_mood(record, is_restless(record, memory.at_s), more)


def _in_mood(record: InterruptionRecord, restless: bool, change: Callable[[Tally], Tally]) -> InterruptionRecord:
    if restless:
        return replace(record, restless=change(record.restless))
    return replace(record, calm=change(record.calm))


def _with_losses(
    record: InterruptionRecord, taken: int, held: int, together_s: float, at_s: float
) -> InterruptionRecord:
    last = record.last
    if last is not None and at_s - last.began_s <= together_s:
        # The event goes on: it counts once, at its full size.
        batch = replace(last, nodes=last.nodes + taken, of=max(last.of, last.nodes + taken))
        record = _counted(record, last, -exp(-(at_s - last.began_s) / FORGET_S))
    else:
        batch = Batch(began_s=at_s, nodes=taken, of=max(taken, held), restless=is_restless(record, at_s))
    record = _counted(record, batch, 1.0)
    return replace(record, nodes=record.nodes + taken, last=batch, quiet_since_s=at_s)


def _counted(record: InterruptionRecord, batch: Batch, weight: float) -> InterruptionRecord:
    def more(tally: Tally) -> Tally:
        if batch.nodes == 1:
            return replace(tally, lone=max(0.0, tally.lone + weight))
        index = bisect_left(GROUP_SHARES, batch.nodes / batch.of)
        groups = tuple(max(0.0, count + (weight if i == index else 0.0)) for i, count in enumerate(tally.groups))
        return replace(tally, groups=groups)

    return _in_mood(record, batch.restless, more)


@dataclass(frozen=True, slots=True)
class Belief:
    """What the declared rate and the record together say: Gamma distributions of rates, by shape and hours."""

    lone: float
    lone_hours: float
    """Node hours, declared and watched."""
    groups: tuple[float, ...]
    group_hours: float

    @property
    def per_node_hour(self) -> float:
        """How often any one node is taken back, alone or with others."""
        shared = sum(count * share for count, share in zip(self.groups, GROUP_SHARES, strict=True))
        return self.lone / self.lone_hours + shared / self.group_hours


def believe(record: InterruptionRecord, pool: Pool, at_s: float) -> Belief:
    """Declared and seen, added up, for the mood that the pool is in. Only spot nodes are taken back."""
    if pool.capacity_type is not CapacityType.SPOT:
        return _believe(Tally(), 0.0, CALM_HOURS)
    if is_restless(record, at_s):
        return _believe(record.restless, pool.interruptions_per_node_hour * RESTLESS_FACTOR, RESTLESS_HOURS)
    return _believe(record.calm, pool.interruptions_per_node_hour, CALM_HOURS)


def _believe(tally: Tally, declared: float, hours: float) -> Belief:
    alone, common = declared * (1 - GROUP_PART) * hours, declared * GROUP_PART / _MEAN_SHARE * hours
    return Belief(
        lone=alone + tally.lone,
        lone_hours=hours + tally.node_hours,
        groups=tuple(common * weight + seen for weight, seen in zip(PRIOR_SHARES, tally.groups, strict=True)),
        group_hours=hours + tally.group_hours,
    )


def expected_stay_h(record: InterruptionRecord, pool: Pool, at_s: float) -> float:
    """Hours that a replica which gets a node now may expect to keep it; infinite when nothing is ever taken.

    A restless pool is short of patience for what is left of its restless time, and calm after that.
    """
    if pool.capacity_type is not CapacityType.SPOT:
        return inf
    calm = _believe(record.calm, pool.interruptions_per_node_hour, CALM_HOURS).per_node_hour
    after_h = 1 / calm if calm > 0 else inf
    if not is_restless(record, at_s):
        return after_h
    since_s = at_s if record.quiet_since_s is None else record.quiet_since_s
    left_h = max(0.0, since_s + RESTLESS_S - at_s) / HOUR_S
    restless = believe(record, pool, at_s).per_node_hour
    if restless <= 0:
        return left_h + after_h
    survives = exp(-restless * left_h)
    return (1 - survives) / restless + survives * after_h
