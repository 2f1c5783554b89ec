"""What spot costs a fleet beyond its price: the losses it must survive, and the work that is lost with every node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from types import MappingProxyType

from inferencefleet.domain.fleet import Fleet, SpotPolicy, TrafficClass
from inferencefleet.domain.pool import CapacityType, InterruptionRecord, Pool
from inferencefleet.planning.interruptions import HOUR_S, expected_stay_h
from inferencefleet.planning.losses import Loss, plausible_loss

SPOT_SHARE_OF_MISSES = 0.5
"""Of the misses that the declared attainment allows: the rest is left to surprises of the traffic."""
REPLACE_STEP_S = 15.0
"""Cold starts are rounded up to whole steps: so exactly they are not known, and fleets share more answers."""
SHORTEST_STAY_H = 0.05
"""A start is never spread over less: 3 minutes."""
LONGEST_STAY_H = 4.0
"""Nor over more: traffic ebbs within hours, and takes the replica away again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """One pool as the hedge of one fleet sees it."""

    pool: Pool
    record: InterruptionRecord
    replicas: int
    """Of this fleet that are, or would be, there."""
    replicas_per_node: int
    cold_start_s: float
    """From a loss to a serving replica, wherever it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTerms:
    """What placement needs to know of one pool beyond its price list."""

    price_per_gpu_hour: float
    """Expected price: the list price and what interruptions waste of it."""
    lost_replicas: int
    """That may be down at once; 0 = nothing that must be survived."""
    start_cost_hours: float
    """Dollars per hour that starting a replica wastes over its expected stay, in hours of its price per hour."""
    loss: Loss | None
    """What stands behind `lost_replicas`; None where nothing is hedged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """The terms on which a fleet may use its pools."""

    survival_requests_per_s: float
    """Planned capacity that must be left after a plausible loss of any one spot pool."""
    pools: Mapping[str, PoolTerms] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def losses(self) -> dict[str, int]:
        """Replicas that may be down at once, by spot pool."""
        return {name: terms.lost_replicas for name, terms in self.pools.items() if terms.loss is not None}


Known = dict[tuple[str, int, float, float, float], Loss]
"""Answers of one tick: fleets of the same kind ask the same of a pool."""


def hedge(
    fleet: Fleet,
    exposed: tuple[Exposed, ...],
    *,
    arrivals_per_s: float,
    utilisation: float,
    survival_utilisation: float,
    at_s: float,
    known: Known | None = None,
) -> Hedge:
    """Terms for every pool of `exposed`. Only policy Hedged of interactive traffic pays for spares.

    A plan uses `utilisation` of capacity; while a replacement starts, the rest may run at `survival_utilisation`.
    `known` is added to; it is good for one tick and the same records.
    """
    hedged = needs_spares(fleet)
    known = {} if known is None else known
    return Hedge(
        survival_requests_per_s=arrivals_per_s * utilisation / survival_utilisation if hedged else 0.0,
        pools=MappingProxyType({place.pool.name: _terms(fleet, place, hedged, at_s, known) for place in exposed}),
    )


def needs_spares(fleet: Fleet) -> bool:
    """Batch traffic may wait for a replacement, and policy Preferred has chosen to."""
    return fleet.spot.policy is SpotPolicy.HEDGED and fleet.traffic_class is TrafficClass.INTERACTIVE


def _terms(fleet: Fleet, place: Exposed, hedged: bool, at_s: float, known: Known) -> PoolTerms:
    loss = _loss(fleet, place, at_s, known) if hedged and place.pool.capacity_type is CapacityType.SPOT else None
    return PoolTerms(
        price_per_gpu_hour=effective_price_per_gpu_hour(
            place.pool, place.record, place.cold_start_s, at_s=at_s, drain_s=fleet.engine.drain_s
        ),
        lost_replicas=0 if loss is None else min(place.replicas, loss.nodes * place.replicas_per_node),
        start_cost_hours=start_cost_hours(place.pool, place.record, cold_start_s=place.cold_start_s, at_s=at_s),
        loss=loss,
    )


def _loss(fleet: Fleet, place: Exposed, at_s: float, known: Known) -> Loss:
    nodes = ceil(place.replicas / place.replicas_per_node)
    replace_s = REPLACE_STEP_S * ceil(place.cold_start_s / REPLACE_STEP_S)
    attainment = 1 - SPOT_SHARE_OF_MISSES * (1 - fleet.attainment)
    question = (place.pool.name, nodes, replace_s, attainment, fleet.engine.drain_s)
    if question not in known:
        known[question] = plausible_loss(
            place.record,
            place.pool,
            nodes_used=nodes,
            replace_s=replace_s,
            attainment=attainment,
            at_s=at_s,
            drain_s=fleet.engine.drain_s,
        )
    return known[question]


def effective_price_per_gpu_hour(
    pool: Pool, record: InterruptionRecord, cold_start_s: float, *, at_s: float, drain_s: float = 0.0
) -> float:
    """Price of an hour of *serving*: each stay on a node also pays for a cold start and a drain that serve nobody."""
    wasted_h = (cold_start_s + drain_s) / HOUR_S
    return pool.price_per_gpu_hour * (1 + wasted_h / expected_stay_h(record, pool, at_s))


def start_cost_hours(pool: Pool, record: InterruptionRecord, *, cold_start_s: float, at_s: float) -> float:
    """The cold start of one more replica, spread over the time that it may expect to stay there.

    Times its price per hour this is dollars per hour, as placement counts. Nodes that nobody takes are left with the
    next ebb of the traffic, so no stay counts for more than a few hours.
    """
    stay_h = min(LONGEST_STAY_H, expected_stay_h(record, pool, at_s))
    return cold_start_s / HOUR_S / max(SHORTEST_STAY_H, stay_h)


def risk_sentence(pool: str, loss: Loss, *, left_requests_per_s: float, needed_requests_per_s: float) -> str:
    """What a reader of the plan should know: the loss, how often, and what it leaves."""
    if loss.nodes == 0:
        return (
            f"losses of {pool} need no spare: they are down {100 * loss.exceeded:.2g} % of the time, which the "
            f"attainment allows"
        )
    often = f"1 in {1 / loss.probability_per_hour:.0f} hours" if loss.probability_per_hour > 0 else "never seen"
    return (
        f"a loss of {loss.nodes} node{'s' if loss.nodes > 1 else ''} of {pool} ({often}) leaves "
        f"{left_requests_per_s:.1f} of {needed_requests_per_s:.1f} req/s needed"
    )
