"""The first half of one fleet's story, before it meets the others: estimate -> forecast -> size -> guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.feedback import Feedback
from inferencefleet.domain.fleet import Fleet, Mode, Problem, Routing
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from inferencefleet.domain.plan import Demand, FleetPlan, Forecast, Sizing
from inferencefleet.domain.pool import Exhaustion, InterruptionRecord, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Part, PlannerSettings
from inferencefleet.planning.calibrate import NOTHING, Learnt, calibrate
from inferencefleet.planning.claim import as_guarded, claim_of, current, offer_of
from inferencefleet.planning.coldstart import expected_cold_start_s
from inferencefleet.planning.drift import learn_lengths
from inferencefleet.planning.estimate import believable, drain_time_s, estimate
from inferencefleet.planning.forecast import forecast
from inferencefleet.planning.forecasting.quantile import looked_at_again, planning_quantile
from inferencefleet.planning.guards import Guarded
from inferencefleet.planning.hedge import Exposed, Hedge, Known, hedge
from inferencefleet.planning.hits import predict, remember
from inferencefleet.planning.place import SURVIVAL_UTILISATION, Placement, cheapest_first
from inferencefleet.planning.placement import Claim, place_all
from inferencefleet.planning.refuse import refuse, usable_pools
from inferencefleet.planning.remember import remember_arrivals
from inferencefleet.planning.restrain import restrain
from inferencefleet.planning.rooms import Census, Ledger, Room, census, room
from inferencefleet.planning.size import refusal, size

DEFAULT_WINDOW_S = 60.0
FORESEEN_RISE = 2.0
"""So many times what arrives now may have to be served within one cold start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What one fleet's decision needs beside the fleet itself."""

    at_s: float
    pools: Mapping[str, PoolState]
    exhaustion: Mapping[str, Exhaustion | None]
    records: Mapping[str, InterruptionRecord]
    """What was seen of each pool's interruptions, this tick included."""
    ledger: Ledger
    """Who holds which GPUs now."""
    settings: PlannerSettings
    patience_s: Mapping[str, float] = field(default_factory=dict)
    """How long a replica may wait for a node of each pool before it is judged not to come."""
    losses: Known = field(default_factory=dict)
    """Plausible losses that were asked for in this tick: fleets ask alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one fleet asks for, with everything that led to it."""

    state: FleetState
    memory: FleetMemory
    problems: tuple[Problem, ...]
    demand: Demand
    lengths: LengthMix
    ahead: Forecast
    gap: MetricsGap | None
    rooms: tuple[Room, ...]
    counted: Mapping[str, Census]
    terms: Hedge
    wanted: Placement
    """Where it would be alone in the world, before guards."""
    guarded: Guarded
    claim: Claim
    """What is to be placed: demand as far as guards let it pass."""

    @property
    def sizings(self) -> tuple[Sizing, ...]:
        return tuple(room.sizing for room in self.rooms)


def ask(state: FleetState, memory: FleetMemory, around: Surroundings) -> Asked | FleetPlan:
    """What the fleet asks for; a plan that changes nothing when it cannot be planned. Pure."""
    without, memory = around.settings.without, believable(memory)
    if Part.ROUTING in without:
        state = replace(state, fleet=replace(state.fleet, routing=Routing.UNIFORM))
    fleet = state.fleet

    # 0. Which pools may it use? Without any, or when physics says no, nothing changes and the plan says why.
    allowed, problems = usable_pools(fleet, around.pools)
    if not allowed:
        return refuse(state, memory, problems)
    pools = (*allowed, *_retiring(state, allowed, around))

    # 1. What arrives now, and what will the prefix caches hold of it?
    lengths_seen = learn_lengths(fleet.expected.lengths, state.metrics, memory.lengths, at_s=around.at_s)
    memory = replace(memory, lengths=lengths_seen)
    demand = estimate(fleet, state.metrics, memory, at_s=around.at_s)
    memory = remember_arrivals(memory, demand, at_s=around.at_s, kept_s=around.settings.arrivals_kept_s)
    lengths, memory = _at_the_size_to_come(state, demand.lengths, memory, around)

    # 2. What can one replica do in each pool, at these lengths, by physics as its engines have corrected it?
    named = {name: pool.pool for name, pool in around.pools.items()}
    memory = replace(memory, calibration=calibrate(state, memory, named, demand.lengths, at_s=around.at_s))
    learnt = NOTHING if Part.CALIBRATION in without else Learnt(memory.calibration)
    if Part.DISTRIBUTION in without:
        lengths = lengths.means_only()
    if Part.FEEDBACK in without or fleet.scaling.headroom is not None:
        # Whoever declares a headroom gets exactly that, whatever was learnt before.
        memory = replace(memory, feedback=Feedback())
    factor = memory.feedback.factor
    about = memory.placed or max(1, sum(current(state).values()))
    sizings = size(
        fleet, [pool.pool for pool in pools], state.workloads, lengths, learnt, replicas=about, factor=factor
    )
    problem = refusal(fleet, sizings)
    if problem is not None and lengths is not fleet.expected.lengths:
        # Today's requests are longer than the SLO allows: say so, and go on with what the fleet was declared for.
        problems = (*problems, problem)
        lengths = fleet.expected.lengths
        sizings = size(
            fleet, [pool.pool for pool in pools], state.workloads, lengths, learnt, replicas=about, factor=factor
        )
        problem = refusal(fleet, sizings)
    if problem is not None:
        return refuse(state, memory, (*problems, problem), sizings=sizings, demand=demand)

    # 3. What will arrive when a replica that is asked for now serves?
    counted = {
        pool.pool.name: census(state.replicas, pool, around.at_s, patient_s=around.patience_s.get(pool.pool.name))
        for pool in pools
    }
    rooms = _rooms(fleet, sizings, counted, {pool.pool.name for pool in allowed}, around)
    cold_s = _cold_starts_s(rooms, state, around)
    horizon_s = fleet.scaling.horizon_s
    if horizon_s is None:
        horizon_s = _reach_s(rooms, cold_s, demand.arrivals_per_s) + around.settings.period_s
    ahead, memory = forecast(
        demand,
        memory,
        at_s=around.at_s,
        horizon_s=0.0 if Part.FORECAST in without else horizon_s,
        window_s=window_s(state),
        quantile=looked_at_again(
            _quantile(fleet, rooms), window_s=fleet.scaling.scale_down_stabilization_s, horizon_s=horizon_s
        ),
        drain_s=drain_time_s(fleet, horizon_s),
        schedule=state.schedule,
    )

    # 4. Where would it be cheapest, alone in the world?
    gap = _gap(state, demand)
    terms = _hedge(state, rooms, _cold_starts_s(rooms, state, around, anew=True), demand, about, around)
    claim = claim_of(state, gap, ahead, rooms, terms, hedged=Part.HEDGE not in without)
    offers = [offer_of(room, around.pools[room.pool], terms, gpus=None) for room in rooms]
    wanted = place_all((claim,), offers, deadline_s=around.settings.placement_deadline_s).placements[fleet.key]

    # 5. May it change that far, that fast?
    guarded, memory = restrain(
        wanted, rooms, state, gap, demand, memory, counted,
        at_s=around.at_s, period_s=around.settings.period_s, window_s=window_s(state),
    )  # fmt: skip
    return Asked(
        state=state, memory=memory, problems=problems, demand=demand, lengths=lengths, ahead=ahead, gap=gap,
        rooms=rooms, counted=counted, terms=terms, wanted=wanted, guarded=guarded,
        claim=as_guarded(claim, wanted, guarded.total),
    )  # fmt: skip


def window_s(state: FleetState) -> float:
    """Rate window of the fleet's metrics."""
    return state.metrics.window_s if isinstance(state.metrics, FleetMetrics) else DEFAULT_WINDOW_S


def _at_the_size_to_come(
    state: FleetState, lengths: LengthMix, memory: FleetMemory, around: Surroundings
) -> tuple[LengthMix, FleetMemory]:
    """The mix with the prefix hit ratio of as many replicas as were decided, where fewer or more serve now."""
    seen = state.metrics
    if isinstance(seen, MetricsGap) or seen.prefix_hit_ratio is None or Part.ROUTING in around.settings.without:
        return lengths, memory
    hits = remember(memory.hits, replicas=seen.engines, hit_ratio=seen.prefix_hit_ratio, at_s=around.at_s)
    then = predict(
        hits, state.fleet.routing, now=seen.engines, then=memory.placed or seen.engines,
        hit_ratio=lengths.prefix_hit_ratio,
    )  # fmt: skip
    if then != lengths.prefix_hit_ratio:
        lengths = replace(lengths, prefix_hit_ratio=then)
    return lengths, replace(memory, hits=hits)


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
    """Acting fleets share a pool's limit in the joint placement; one that only watches sees what they leave.

    A market that takes nodes back is left for other pools; where no other has room it is still the best there is.
    """
    acts = fleet.scaling.mode is Mode.AUTO

    def seen(sizing: Sizing, exhaustion: Exhaustion | None) -> Room:
        return room(
            sizing,
            around.pools[sizing.pool],
            counted[sizing.pool],
            exhaustion,
            free_gpus=_free(fleet, sizing.pool, around, acts) if sizing.pool in allowed else 0,
            at_s=around.at_s,
        )

    exhaustion = {sizing.pool: around.exhaustion.get(sizing.pool) for sizing in sizings}
    rooms = tuple(seen(sizing, exhaustion[sizing.pool]) for sizing in sizings)
    if any(one.sizing.usable and one.most > counted[one.pool].alive for one in rooms):
        return rooms
    untried = {pool for pool, each in exhaustion.items() if each is not None and each.untried}
    return tuple(seen(one.sizing, None) if one.pool in untried else one for one in rooms)


def _free(fleet: Fleet, pool: str, around: Surroundings, acts: bool) -> int | None:
    return around.ledger.limits[pool] if acts else around.ledger.free_for(fleet.key, pool)


def _reach_s(rooms: Sequence[Room], cold_s: Mapping[str, float], arrivals_per_s: float) -> float:
    """Cold start of the slowest pool that demand could come to, cheapest first: whoever looks ahead by that of the next
    replica alone sees too late that the one after it must be waited for much longer."""
    reach_s, capacity = 0.0, 0.0
    for one in cheapest_first(rooms):
        if one.most <= 0:
            continue
        reach_s = max(reach_s, cold_s[one.pool])
        capacity += one.most * one.sizing.planned_requests_per_s
        if capacity >= FORESEEN_RISE * arrivals_per_s:
            break
    return reach_s or max(cold_s.values())


def _cold_starts_s(
    rooms: Sequence[Room], state: FleetState, around: Surroundings, *, anew: bool = False
) -> dict[str, float]:
    """By pool; see `expected_cold_start_s`."""
    alike: dict[ReplicaShape, set[str]] = {}
    for one in rooms:
        alike.setdefault(one.sizing.shape, set()).add(one.pool)
    return {
        one.pool: expected_cold_start_s(
            around.pools[one.pool],
            state.replicas,
            one.sizing.shape,
            starting_s=around.settings.starting_s,
            alike=alike[one.sizing.shape],
            anew=anew,
        )
        for one in rooms
    }


def _quantile(fleet: Fleet, rooms: Sequence[Room]) -> float:
    """The newsvendor's: a shortage is worth what the dearest pool costs, the replica too many what the cheapest does
    that is not paid already. What stands idle on reserved GPUs may be all another fleet needs, so it counts as bought.
    """
    prices = [room.dollars_per_request_per_s for room in rooms if room.sizing.usable]
    paid = [price for price in prices if price > 0]
    if not paid:
        return fleet.attainment
    return planning_quantile(fleet.attainment, next_price=min(paid), reference_price=max(paid))


def _gap(state: FleetState, demand: Demand) -> MetricsGap | None:
    """What is missing. Engines that answer but tell no rate say as little as engines that do not answer."""
    if isinstance(state.metrics, MetricsGap):
        return state.metrics
    return None if demand.observed else MetricsGap(code="NoSamples", sentence="engines report no rate of requests yet")


def _hedge(
    state: FleetState,
    rooms: Sequence[Room],
    cold_s: Mapping[str, float],
    demand: Demand,
    about: int,
    around: Surroundings,
) -> Hedge:
    """On what terms the fleet may use each pool, with as many replicas there as a fleet of about this size may have.

    Neither that number nor the time to replace one may depend on the last decision about a pool: a replica less would
    need no spare, or find its own empty node again, and come back in the next tick.
    """
    fleet = state.fleet
    could = ceil(fleet.spot.max_fraction * about)
    exposed = tuple(
        Exposed(
            pool=around.pools[room.pool].pool,
            record=around.records[room.pool],
            replicas=min(room.most, could),
            replicas_per_node=room.replicas_per_node,
            cold_start_s=cold_s[room.pool],
        )
        for room in rooms
    )
    return hedge(
        fleet,
        exposed,
        arrivals_per_s=demand.arrivals_per_s,
        utilisation=rooms[0].sizing.utilisation,
        survival_utilisation=SURVIVAL_UTILISATION,
        at_s=around.at_s,
        known=around.losses,
    )
