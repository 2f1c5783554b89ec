"""What joint placement is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inferencefleet.domain.fleet import FleetKey, Routing, SpotTerms
from inferencefleet.domain.pool import CapacityType
from inferencefleet.planning.place import Need, Placement
from inferencefleet.planning.rooms import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one fleet wants, and where it could have it."""

    key: FleetKey
    priority: int
    """The higher number gets scarce GPUs first, whatever its requests are worth."""
    need: Need
    rooms: tuple[Room, ...]
    spot: SpotTerms
    routing: Routing
    current: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """By pool: replicas that its Deployments ask for now."""
    losses: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """By spot pool: replicas that may plausibly be lost at once; a pool that is not named loses one node."""
    shortage_price_per_request_per_s: float = 100.0
    """Dollars per hour of one request/s that is not served; decides between fleets of one priority. Above 0.

    At least ten times what serving it costs at most is taken: demand comes before dollars."""
    budget_per_hour: float | None = None
    """Dollars per hour of all replicas at the pools' prices; None = no limit."""
    start_cost_hours: float = 0.0
    """Hours of a replica's price that starting one wastes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A pool as all fleets share it."""

    pool: str
    gpus: int | None
    """What all claims together may hold; None = no limit."""
    gpus_per_node: int
    price_per_gpu_hour: float
    """List price; of a reserved pool what the reservation costs."""
    marginal_price_per_gpu_hour: float
    """What one GPU more costs: 0 where it is paid already, more than the list price where interruptions waste time."""
    capacity_type: CapacityType
    start_cost_hours: float = 0.0
    """Hours that a start in this pool wastes beyond the claim's own: a market that was lost a while ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """Where all fleets go."""

    placements: Mapping[FleetKey, Placement]
    worth_per_gpu_hour: Mapping[str, float]
    """By pool: dollars per hour that one GPU more would save or serve; 0 where the pool is not scarce."""
    gap: float
    """Proven distance from the best, as a share of dollars and priced shortage; 0 = it is the best."""
    problems: int
    """Mixed-integer problems that had to be solved; 0 = every fleet got what it would choose alone."""
    exact: bool
    """The gap is at most `TOLERANCE`."""


TOLERANCE = 1e-3
"""A placement this near to the best is the best: prices are not known better."""
