"""The second half of one fleet's story, once everybody is placed: reshape -> explain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from inferencefleet.domain.fleet import Fleet, Mode
from inferencefleet.domain.plan import FleetPlan, PoolPlan, Reason, Verdict
from inferencefleet.domain.snapshot import FleetState
from inferencefleet.physics.quick import whole_replicas
from inferencefleet.planning.ask import Asked, Surroundings, window_s
from inferencefleet.planning.claim import current
from inferencefleet.planning.explain import calibrated_steps, feedback_steps, hourly_costs, main_reason
from inferencefleet.planning.feedback import learn_feedback
from inferencefleet.planning.forecasting.quantile import HIGHEST_QUANTILE, upper_at
from inferencefleet.planning.hedge import risk_sentence
from inferencefleet.planning.place import Placement
from inferencefleet.planning.reshape import Step, reshape, victims
from inferencefleet.planning.restrain import remember_size
from inferencefleet.planning.rooms import UNLIMITED, Census, Room

SHORT = frozenset({Reason.MAX_REPLICAS, Reason.BUDGET, Reason.NOT_ENOUGH_GPUS, Reason.PRIORITY})
"""Demand asked for more than it was given."""


def conclude(asked: Asked, placement: Placement, around: Surroundings) -> FleetPlan:
    """From the fleet's place among all to what each Deployment asks for now, and why. Pure; the ledger is read."""
    state, fleet = asked.state, asked.state.fleet

    # 1. What others still hold cannot be had yet.
    held = _within_reach(asked, placement, around)
    total = asked.guarded.total
    memory = remember_size(asked.memory, min(total, placement.total), state, at_s=around.at_s, window_s=window_s(state))
    short = _is_short(asked, placement)
    feedback = learn_feedback(memory.feedback, fleet, state.metrics, at_s=around.at_s, short=short)
    memory = replace(memory, feedback=feedback)

    # 2. One step towards it: up at once, down only when others serve.
    needed = max(min(total, placement.total), _short_of(placement, fleet))
    steps = reshape(_with_probes(asked, placement, held, around), current(state), asked.counted, needed=needed)

    # 3. Why?
    spoken = tuple(step.verdict for step in steps.values() if step.verdict is not None)
    verdicts = (
        *calibrated_steps(fleet, asked.sizings, placement.replicas, memory.calibration, asked.lengths),
        *feedback_steps(asked.memory.feedback),
        asked.wanted.sized, *_once(asked.wanted.verdicts, placement.verdicts), *asked.guarded.verdicts,
        *_waits(placement, held), *spoken,
    )  # fmt: skip
    replicas = {pool: step.replicas for pool, step in steps.items()}
    before, after = sum(current(state).values()), sum(replicas.values())
    reason, sentence = main_reason(verdicts, asked.demand, asked.ahead, before=before, after=after)
    hourly, marginal = hourly_costs(asked.sizings, replicas)
    return FleetPlan(
        key=fleet.key,
        pools=_pools(asked, placement, steps, reason, sentence),
        demand=asked.demand,
        forecast=asked.ahead,
        sizings=asked.sizings,
        verdicts=verdicts,
        reason=reason,
        sentence=sentence,
        act=fleet.scaling.mode is Mode.AUTO,
        problems=asked.problems,
        hourly_cost=hourly,
        marginal_hourly_cost=marginal,
        memory=memory,
        retire=_retired(state, asked.counted, needed),
        uncapped=_at_planned_rate(asked.ahead.upper_per_s, asked),
        lower=_at_planned_rate(asked.demand.arrivals_per_s, asked),
        upper=_at_planned_rate(upper_at(asked.ahead, HIGHEST_QUANTILE), asked),
        risk=_risk(asked, placement),
    )


def _is_short(asked: Asked, placement: Placement) -> bool:
    """Whether limits gave less than demand asked for."""
    said = (*asked.wanted.verdicts, *placement.verdicts, *asked.guarded.verdicts)
    return placement.total < asked.wanted.total or any(verdict.code in SHORT for verdict in said)


def _within_reach(asked: Asked, placement: Placement, around: Surroundings) -> dict[str, int]:
    return {room.pool: min(placement.replicas.get(room.pool, 0), _reach(asked, room, around)) for room in asked.rooms}


def _reach(asked: Asked, room: Room, around: Surroundings) -> int:
    """Replicas of the pool that can be had now. GPUs that another fleet gives up are free when its pods are gone, not
    before; nor are those of own replicas that drain, or that are asked for on top because their nodes go away."""
    counted, there = asked.counted[room.pool], current(asked.state).get(room.pool, 0)
    free = around.ledger.free_for(asked.state.fleet.key, room.pool)
    most = UNLIMITED if free is None else counted.room_within(free // room.sizing.shape.tensor_parallel)
    return max(most, there - counted.doomed, 0)


def _with_probes(asked: Asked, placement: Placement, held: Mapping[str, int], around: Surroundings) -> dict[str, int]:
    """One replica more in a pool that may deliver again, where it would take the place of a dearer one."""
    most = asked.state.fleet.scaling.max_replicas
    used = [room.dollars_per_request_per_s for room in asked.rooms if placement.replicas[room.pool] > 0]
    found = dict(held)
    for room in asked.rooms:
        if not (room.probe and room.sizing.usable) or sum(found.values()) >= most:
            continue
        if found[room.pool] >= _reach(asked, room, around):
            continue
        if _short_of(placement, asked.state.fleet) or room.dollars_per_request_per_s < max(used, default=0.0):
            found[room.pool] += 1
    return found


def _waits(placement: Placement, held: Mapping[str, int]) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(
            code=Reason.WAITING_FOR_GPUS,
            sentence=f"{wanted} replicas belong in {pool}, {held[pool]} fit until its GPUs have been let go",
            before=wanted,
            after=held[pool],
        )
        for pool, wanted in placement.replicas.items()
        if held[pool] < wanted
    )


def _once(first: tuple[Verdict, ...], then: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """What the fleet met alone and among others, each code once for a sentence."""
    known = {(verdict.code, verdict.sentence) for verdict in then}
    return (
        *(verdict for verdict in first if _is_own(verdict) and (verdict.code, verdict.sentence) not in known),
        *then,
    )


def _is_own(verdict: Verdict) -> bool:
    """Shortages that the joint placement found are the ones that count."""
    return verdict.code not in {Reason.NOT_ENOUGH_GPUS, Reason.SHARED_POOL, Reason.PRIORITY, Reason.STAYING}


def _pools(
    asked: Asked, placement: Placement, steps: Mapping[str, Step], reason: Reason, sentence: str
) -> tuple[PoolPlan, ...]:
    now = current(asked.state)
    rooms = {room.pool: room for room in asked.rooms}
    return tuple(
        PoolPlan(
            pool=pool,
            shape=rooms[pool].sizing.shape,
            replicas=step.replicas,
            placed=placement.replicas[pool],
            ready=asked.counted[pool].ready,
            starting=asked.counted[pool].starting + asked.counted[pool].unscheduled,
            blocked=asked.counted[pool].blocked,
            doomed=asked.counted[pool].doomed,
            reason=step.verdict.code if step.verdict else reason,
            sentence=step.verdict.sentence if step.verdict else sentence,
            surge=step.replicas < rooms[pool].most,
            victims=victims(asked.state.replicas, pool) if step.replicas < now.get(pool, 0) else (),
        )
        for pool, step in steps.items()
    )


def _at_planned_rate(requests_per_s: float, asked: Asked) -> int | None:
    """Replicas for a rate at what the slowest replica that is wanted is planned with, whatever the limits say."""
    used = [room.sizing.planned_requests_per_s for room in asked.rooms if asked.wanted.replicas[room.pool] > 0]
    return max(1, whole_replicas(requests_per_s / min(used))) if used and min(used) > 0 else None


def _short_of(placement: Placement, fleet: Fleet) -> int:
    """Replicas that demand asks for when no pool has room for all of them, else 0: what serves is not given up then.

    Only to a fleet of higher priority.
    """
    if any(verdict.code is Reason.PRIORITY for verdict in placement.verdicts):
        return 0
    short = [verdict.before for verdict in placement.verdicts if verdict.code is Reason.NOT_ENOUGH_GPUS]
    return min(fleet.scaling.max_replicas, int(short[0])) if short and short[0] is not None else 0


def _risk(asked: Asked, placement: Placement) -> str:
    """What a plausible loss in each spot pool leaves."""
    speeds = [room.sizing.planned_requests_per_s for room in asked.rooms if placement.replicas[room.pool] > 0]
    said = []
    for room in asked.rooms:
        terms, there = asked.terms.pools[room.pool], placement.replicas[room.pool]
        if terms.loss is None or there == 0:
            continue
        left = (placement.total - min(there, terms.lost_replicas)) * min(speeds)
        said.append(
            risk_sentence(
                room.pool, terms.loss, left_requests_per_s=left,
                needed_requests_per_s=asked.terms.survival_requests_per_s,
            )
        )  # fmt: skip
    return "; ".join(said)


def _retired(state: FleetState, counted: Mapping[str, Census], needed: int) -> tuple[str, ...]:
    gone = sorted({workload.pool for workload in state.workloads} - set(counted))
    serving = sum(count.ready for count in counted.values())
    return tuple(gone) if serving >= needed else ()
