"""Step 5: may the fleet change that far, that fast? What the guards look at, and what is remembered for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from inferencefleet.domain.plan import Demand
from inferencefleet.domain.snapshot import FleetMemory, FleetState
from inferencefleet.planning.guards import GuardContext, Guarded, affordable, remember_change, run_guards
from inferencefleet.planning.place import Placement, cheapest_first
from inferencefleet.planning.rooms import Census, Room


def restrain(
    wanted: Placement,
    rooms: Sequence[Room],
    state: FleetState,
    gap: MetricsGap | None,
    demand: Demand,
    memory: FleetMemory,
    counted: Mapping[str, Census],
    *,
    at_s: float,
    period_s: float,
    window_s: float,
) -> tuple[Guarded, FleetMemory]:
    """The number of replicas after all guards, what they said, and the recommendations to remember.

    `window_s` is the rate window of the metrics: so long what is observed mixes the fleet before a change with the one
    after it.
    """
    scaling = state.fleet.scaling
    current = size_before(memory, state)
    longest_s = max(scaling.scale_up_stabilization_s, scaling.scale_down_stabilization_s)
    kept = tuple(entry for entry in memory.recommendations if at_s - longest_s < entry[0])
    if not memory.recommendations or memory.recommendations[-1][0] < at_s - longest_s - 2 * period_s:
        # As the HorizontalPodAutoscaler does: without a memory, what runs now is the first recommendation. One from
        # before a long silence (the API server was away, the spec was refused) is no memory.
        kept = ((at_s, current),) if current else ()
    in_use = {pool for pool, count in wanted.replicas.items() if count}
    in_use |= {pool for pool, count in counted.items() if count.ready}
    seen = state.metrics if isinstance(state.metrics, FleetMetrics) else None
    context = GuardContext(
        fleet=state.fleet,
        at_s=at_s,
        current=current,
        ready=sum(count.ready for count in counted.values()),
        gap=gap,
        recommendations=kept,
        scale_events=memory.scale_events,
        cooling_s=window_s if seen else 0.0,
        arrivals_per_s=demand.arrivals_per_s,
        backlog_requests=demand.backlog_requests,
        waiting_requests=seen.waiting if seen else 0.0,
        capacity_per_s=min(
            (room.sizing.capacity.requests_per_s for room in rooms if room.pool in in_use), default=None
        ),
        affordable=affordable(state.fleet.most_per_hour, _prices(wanted, rooms, state)),
    )
    guarded = run_guards(wanted.total, context)
    recommended = _bounded((*kept, (at_s, guarded.recommended)))
    return guarded, replace(memory, recommendations=recommended)


def remember_size(memory: FleetMemory, placed: int, state: FleetState, *, at_s: float, window_s: float) -> FleetMemory:
    """What was decided, for the rate policies and the windows of the next tick."""
    events = remember_change(
        memory.scale_events,
        at_s=at_s,
        change=placed - size_before(memory, state),
        scaling=state.fleet.scaling,
        cooling_s=window_s,
    )
    return replace(memory, placed=placed, scale_events=events)


def size_before(memory: FleetMemory, state: FleetState) -> int:
    """Replicas decided at the last tick; after a restart what the Deployments ask for."""
    return sum(workload.replicas for workload in state.workloads) if memory.placed is None else memory.placed


def _prices(wanted: Placement, rooms: Sequence[Room], state: FleetState) -> list[float]:
    """Per hour of each replica that is wanted or there, in the order in which placement takes them."""
    there = {workload.pool: workload.replicas for workload in state.workloads}
    return [
        room.sizing.price_per_hour
        for room in cheapest_first(rooms)
        for _ in range(max(wanted.replicas[room.pool], there.get(room.pool, 0)))
    ]


def _bounded(recommendations: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Drop an entry between two equal neighbours: windows see the same minimum and maximum, memory stays small."""
    kept: list[tuple[float, int]] = []
    for entry in recommendations:
        if len(kept) >= 2 and kept[-1][1] == entry[1] == kept[-2][1]:
            kept[-1] = entry
        else:
            kept.append(entry)
    return tuple(kept)
