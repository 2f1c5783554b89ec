"""The story of one fleet: estimate -> forecast -> size -> place -> guard -> explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from inferencefleet.domain.fleet import Fleet, Mode, Problem
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Phase
from inferencefleet.domain.plan import Demand, FleetPlan, Forecast, PoolPlan, Reason, Sizing, Verdict
from inferencefleet.domain.pool import Exhaustion, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, PlannerSettings
from inferencefleet.physics.quick import whole_replicas
from inferencefleet.planning.calibrate import Learnt, calibrate
from inferencefleet.planning.coldstart import expected_cold_start_s
from inferencefleet.planning.drift import learn_lengths
from inferencefleet.planning.estimate import drain_time_s, estimate
from inferencefleet.planning.explain import calibrated_steps, hourly_costs, main_reason
from inferencefleet.planning.forecast import forecast
from inferencefleet.planning.guards import GuardContext, Guarded, affordable, remember_change, run_guards
from inferencefleet.planning.place import SURVIVAL_UTILISATION, Need, Placement, cheapest_first, place
from inferencefleet.planning.refuse import refuse, usable_pools
from inferencefleet.planning.remember import remember_arrivals
from inferencefleet.planning.reshape import Step, reshape, victims
from inferencefleet.planning.rooms import Census, Ledger, Room, census, room
from inferencefleet.planning.size import refusal, size

DEFAULT_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What one fleet's decision needs beside the fleet itself."""

    at_s: float
    pools: Mapping[str, PoolState]
    exhaustion: Mapping[str, Exhaustion | None]
    ledger: Ledger
    settings: PlannerSettings


def decide(state: FleetState, memory: FleetMemory, around: Surroundings) -> FleetPlan:
    """The plan of one fleet. Pure; the ledger is read, not written."""
    fleet = state.fleet

    # 0. Which pools may it use? Without any, or when physics says no, nothing changes and the plan says why.
    allowed, problems = usable_pools(fleet, around.pools)
    if not allowed:
        return refuse(state, memory, problems)
    pools = (*allowed, *_retiring(state, allowed, around))

    # 1. What arrives now?
    lengths_seen = learn_lengths(fleet.expected.lengths, state.metrics, memory.lengths, at_s=around.at_s)
    memory = replace(memory, lengths=lengths_seen)
    demand = estimate(fleet, state.metrics, memory, at_s=around.at_s)
    memory = remember_arrivals(memory, demand, at_s=around.at_s, kept_s=around.settings.arrivals_kept_s)

    # 2. What can one replica do in each pool, at these lengths, by physics as its engines have corrected it?
    named = {name: pool.pool for name, pool in around.pools.items()}
    memory = replace(memory, calibration=calibrate(state, memory, named, demand.lengths, at_s=around.at_s))
    learnt = Learnt(memory.calibration)
    lengths = demand.lengths
    sizings = size(fleet, [pool.pool for pool in pools], state.workloads, lengths, learnt)
    problem = refusal(fleet, sizings)
    if problem is not None and demand.observed:
        # Today's requests are longer than the SLO allows: say so, and go on with what the fleet was declared for.
        problems = (*problems, problem)
        lengths = fleet.expected.lengths
        sizings = size(fleet, [pool.pool for pool in pools], state.workloads, lengths, learnt)
        problem = refusal(fleet, sizings)
    if problem is not None:
        return refuse(state, memory, (*problems, problem), sizings=sizings, demand=demand)

    # 3. What will arrive when a replica that is asked for now serves?
    counted = {pool.pool.name: census(state.replicas, pool, around.at_s) for pool in pools}
    rooms = _rooms(fleet, sizings, counted, {pool.pool.name for pool in allowed}, around)
    horizon_s = _horizon_s(fleet, rooms, counted, state, around)
    ahead, memory = forecast(
        demand,
        memory,
        at_s=around.at_s,
        horizon_s=horizon_s,
        window_s=_window_s(state),
        quantile=fleet.attainment,
        drain_s=drain_time_s(fleet, horizon_s),
        schedule=state.schedule,
    )

    # 4. Where is it cheapest?
    gap = _gap(state, demand)
    need = _need(fleet, state, gap, demand, ahead)
    wanted = place(need, rooms, fleet.spot)

    # 5. May it change that far, that fast?
    guarded, memory = _guard(wanted, rooms, state, gap, demand, memory, counted, around)
    total = guarded.total
    placement = place(replace(need, floor=total, ceiling=total), rooms, fleet.spot)
    memory = _remember_size(memory, min(total, placement.total), state, around)
    needed = max(total, _short_of(wanted, fleet))
    steps = reshape(placement.replicas, _current(state), counted, needed=needed)

    # 6. Why?
    return _explained(
        state, demand, ahead, rooms, placement, steps, counted,
        verdicts=(
            *calibrated_steps(fleet, sizings, placement.replicas, memory.calibration, lengths),
            wanted.sized, *wanted.verdicts, *guarded.verdicts, *_spoken(steps),
        ),
        problems=problems, memory=memory, needed=needed,
        lower=_at_planned_rate(demand.arrivals_per_s, wanted, rooms),
        uncapped=_at_planned_rate(ahead.upper_per_s, wanted, rooms),
    )  # fmt: skip


def _retiring(state: FleetState, allowed: Sequence[PoolState], around: Surroundings) -> tuple[PoolState, ...]:
    """Pools where replicas run that may not be used any more: they get no room, and empty as others serve."""
    names = {pool.pool.name for pool in allowed}
    return tuple(
        around.pools[pool]
        for pool in sorted({workload.pool for workload in state.workloads})
        if pool not in names and pool in around.pools
    )


def _rooms(
    fleet: Fleet, sizings: Sequence[Sizing], counted: Mapping[str, Census], allowed: set[str], around: Surroundings
) -> tuple[Room, ...]:
    return tuple(
        room(
            sizing,
            around.pools[sizing.pool],
            counted[sizing.pool],
            around.exhaustion.get(sizing.pool),
            free_gpus=around.ledger.free_for(fleet.key, sizing.pool) if sizing.pool in allowed else 0,
            at_s=around.at_s,
        )
        for sizing in sizings
    )


def _horizon_s(
    fleet: Fleet, rooms: Sequence[Room], counted: Mapping[str, Census], state: FleetState, around: Surroundings
) -> float:
    """Cold start where the next replica would go, plus one period; `spec.scaling.horizon` overrides."""
    if fleet.scaling.horizon_s is not None:
        return fleet.scaling.horizon_s
    order = cheapest_first(rooms)
    open_rooms = [room for room in order if counted[room.pool].bound < room.most] or order
    next_pool = open_rooms[0]
    cold_s = expected_cold_start_s(
        around.pools[next_pool.pool],
        state.replicas,
        next_pool.sizing.shape,
        starting_s=around.settings.starting_s,
        alike={room.pool for room in rooms if room.sizing.shape == next_pool.sizing.shape},
    )
    return cold_s + around.settings.period_s


def _window_s(state: FleetState) -> float:
    return state.metrics.window_s if isinstance(state.metrics, FleetMetrics) else DEFAULT_WINDOW_S


def _current(state: FleetState) -> dict[str, int]:
    return {workload.pool: workload.replicas for workload in state.workloads}


def _gap(state: FleetState, demand: Demand) -> MetricsGap | None:
    """What is missing. Engines that answer but tell no rate say as little as engines that do not answer."""
    if isinstance(state.metrics, MetricsGap):
        return state.metrics
    return None if demand.observed else MetricsGap(code="NoSamples", sentence="engines report no rate of requests yet")


def _need(fleet: Fleet, state: FleetState, gap: MetricsGap | None, demand: Demand, ahead: Forecast) -> Need:
    keep: dict[str, int] = {}
    floor = fleet.scaling.min_replicas
    if gap is not None and state.workloads:
        doomed = {workload.pool: 0 for workload in state.workloads}
        for replica in state.replicas:
            if replica.doomed and replica.phase is not Phase.TERMINATING and replica.pool in doomed:
                doomed[replica.pool] += 1
        keep = {pool: max(0, replicas - doomed[pool]) for pool, replicas in _current(state).items()}
    return Need(
        requests_per_s=ahead.upper_per_s,
        survival_requests_per_s=demand.arrivals_per_s * fleet.utilisation / SURVIVAL_UTILISATION,
        floor=floor,
        ceiling=fleet.scaling.max_replicas,
        keep=keep,
    )


def _guard(
    wanted: Placement,
    rooms: Sequence[Room],
    state: FleetState,
    gap: MetricsGap | None,
    demand: Demand,
    memory: FleetMemory,
    counted: Mapping[str, Census],
    around: Surroundings,
) -> tuple[Guarded, FleetMemory]:
    """The number of replicas after all guards, what they said, and the recommendations to remember."""
    scaling = state.fleet.scaling
    current = _size_before(memory, state)
    window_s = max(scaling.scale_up_stabilization_s, scaling.scale_down_stabilization_s)
    kept = tuple(entry for entry in memory.recommendations if around.at_s - window_s < entry[0])
    oldest_s = around.at_s - window_s - 2 * around.settings.period_s
    if not memory.recommendations or memory.recommendations[-1][0] < oldest_s:
        # As the HorizontalPodAutoscaler does: without a memory, what runs now is the first recommendation. One from
        # before a long silence (the API server was away, the spec was refused) is no memory.
        kept = ((around.at_s, current),) if current else ()
    in_use = {pool for pool, count in wanted.replicas.items() if count} | {
        pool for pool, count in counted.items() if count.ready
    }
    context = GuardContext(
        fleet=state.fleet,
        at_s=around.at_s,
        current=current,
        ready=sum(count.ready for count in counted.values()),
        gap=gap,
        recommendations=kept,
        scale_events=memory.scale_events,
        cooling_s=_cooling_s(state),
        arrivals_per_s=demand.arrivals_per_s,
        backlog_requests=demand.backlog_requests,
        waiting_requests=state.metrics.waiting if isinstance(state.metrics, FleetMetrics) else 0.0,
        capacity_per_s=min(
            (room.sizing.capacity.requests_per_s for room in rooms if room.pool in in_use), default=None
        ),
        affordable=affordable(state.fleet.most_per_hour, _prices(wanted, rooms, state)),
    )
    guarded = run_guards(wanted.total, context)
    recommended = _bounded((*kept, (around.at_s, guarded.recommended)))
    return guarded, replace(memory, recommendations=recommended)


def _size_before(memory: FleetMemory, state: FleetState) -> int:
    return sum(_current(state).values()) if memory.placed is None else memory.placed


def _cooling_s(state: FleetState) -> float:
    """One rate window: so long what is observed mixes the fleet before a change with the one after it."""
    return state.metrics.window_s if isinstance(state.metrics, FleetMetrics) else 0.0


def _prices(wanted: Placement, rooms: Sequence[Room], state: FleetState) -> list[float]:
    """Per hour of each replica that is wanted or there, in the order in which placement takes them."""
    there = _current(state)
    return [
        room.sizing.price_per_hour
        for room in cheapest_first(rooms)
        for _ in range(max(wanted.replicas[room.pool], there.get(room.pool, 0)))
    ]


def _remember_size(memory: FleetMemory, placed: int, state: FleetState, around: Surroundings) -> FleetMemory:
    events = remember_change(
        memory.scale_events,
        at_s=around.at_s,
        change=placed - _size_before(memory, state),
        scaling=state.fleet.scaling,
        cooling_s=_window_s(state),
    )
    return replace(memory, placed=placed, scale_events=events)


def _at_planned_rate(requests_per_s: float, wanted: Placement, rooms: Sequence[Room]) -> int | None:
    """Replicas for a rate at what the slowest replica that is wanted is planned with, whatever the limits say."""
    used = [room.sizing.planned_requests_per_s for room in rooms if wanted.replicas[room.pool] > 0]
    return max(1, whole_replicas(requests_per_s / min(used))) if used and min(used) > 0 else None


def _bounded(recommendations: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Drop an entry between two equal neighbours: windows see the same minimum and maximum, memory stays small."""
    kept: list[tuple[float, int]] = []
    for entry in recommendations:
        if len(kept) >= 2 and kept[-1][1] == entry[1] == kept[-2][1]:
            kept[-1] = entry
        else:
            kept.append(entry)
    return tuple(kept)


def _short_of(wanted: Placement, fleet: Fleet) -> int:
    """Replicas that demand asks for when no pool has room for all of them, else 0: what serves is not given up then."""
    short = [verdict.before for verdict in wanted.verdicts if verdict.code is Reason.NOT_ENOUGH_GPUS]
    return min(fleet.scaling.max_replicas, int(short[0])) if short and short[0] is not None else 0


def _spoken(steps: Mapping[str, Step]) -> tuple[Verdict, ...]:
    return tuple(step.verdict for step in steps.values() if step.verdict is not None)


def _explained(
    state: FleetState,
    demand: Demand,
    ahead: Forecast,
    rooms: Sequence[Room],
    placement: Placement,
    steps: Mapping[str, Step],
    counted: Mapping[str, Census],
    *,
    verdicts: tuple[Verdict, ...],
    problems: tuple[Problem, ...],
    memory: FleetMemory,
    needed: int,
    lower: int | None,
    uncapped: int | None,
) -> FleetPlan:
    current = _current(state)
    sizings = tuple(room.sizing for room in rooms)
    most = {room.pool: room.most for room in rooms}
    replicas = {pool: step.replicas for pool, step in steps.items()}
    reason, sentence = main_reason(verdicts, demand, ahead, before=sum(current.values()), after=sum(replicas.values()))
    total, marginal = hourly_costs(sizings, replicas)
    shapes = {sizing.pool: sizing.shape for sizing in sizings}
    pools = tuple(
        PoolPlan(
            pool=pool,
            shape=shapes[pool],
            replicas=step.replicas,
            placed=placement.replicas[pool],
            ready=counted[pool].ready,
            starting=counted[pool].starting + counted[pool].unscheduled,
            blocked=counted[pool].blocked,
            doomed=counted[pool].doomed,
            reason=step.verdict.code if step.verdict else reason,
            sentence=step.verdict.sentence if step.verdict else sentence,
            surge=step.replicas < most[pool],
            victims=victims(state.replicas, pool) if step.replicas < current.get(pool, 0) else (),
        )
        for pool, step in steps.items()
    )
    return FleetPlan(
        key=state.fleet.key,
        pools=pools,
        demand=demand,
        forecast=ahead,
        sizings=sizings,
        verdicts=verdicts,
        reason=reason,
        sentence=sentence,
        act=state.fleet.scaling.mode is Mode.AUTO,
        problems=problems,
        hourly_cost=total,
        marginal_hourly_cost=marginal,
        memory=memory,
        retire=_retired(state, shapes, counted, needed),
        lower=lower,
        uncapped=uncapped,
    )


def _retired(
    state: FleetState, known: Mapping[str, object], counted: Mapping[str, Census], needed: int
) -> tuple[str, ...]:
    gone = sorted({workload.pool for workload in state.workloads} - set(known))
    serving = sum(count.ready for count in counted.values())
    return tuple(gone) if serving >= needed else ()
