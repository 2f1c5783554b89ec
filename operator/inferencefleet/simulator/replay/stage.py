"""The stage of a replay: fleets with their traffic, pools with their cloud, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from random import Random
from types import MappingProxyType

from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.pool import CapacityType, Pool
from inferencefleet.domain.snapshot import PlannerSettings, ScheduledFloor
from inferencefleet.planning.size import size
from inferencefleet.simulator.servers import Arrivals, EngineKind
from inferencefleet.simulator.truth import Truth

Z_95 = 1.645
"""Standard normal quantile of 0.95."""


class StageError(ValueError):
    """A stage that cannot be played: the field, its value, the rule and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """A log-normal delay by its median and 95th percentile."""

    p50_s: float
    p95_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.p50_s <= self.p95_s:
            raise StageError(f"delay p50 {self.p50_s:g} s, p95 {self.p95_s:g} s: 0 <= p50 <= p95 must hold")

    def sample(self, random: Random) -> float:
        if self.p50_s <= 0:
            return 0.0
        return self.p50_s * exp(random.gauss(0.0, 1.0) * log(self.p95_s / self.p50_s) / Z_95)


@dataclass(frozen=True, slots=True)
class Span:
    """From (included) to (excluded), seconds since the replay began."""

    from_s: float
    to_s: float

    def holds(self, at_s: float) -> bool:
        return self.from_s <= at_s < self.to_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Nodes that are gone at once, without a notice; the reservation is paid all the same."""

    at_s: float
    nodes: int
    back_s: float | None = None
    """When as many are there again; None = never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """A recorded spot market: from each time on, this many nodes can be held. Before the first, as many as then."""

    at_s: tuple[float, ...]
    nodes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.at_s or len(self.at_s) != len(self.nodes) or list(self.at_s) != sorted(self.at_s):
            raise StageError(
                f"availability has {len(self.at_s)} times and {len(self.nodes)} counts: give one count for each time, "
                "times ascending, at least one"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudBehaviour:
    """What the cloud really does with one pool; the operator sees only what follows from it."""

    nodes: int = 0
    """Reserved nodes: there from the start, paid always."""
    max_nodes: int = 1000
    """Quota: the cloud refuses more at a time."""
    provisioning: Delay = Delay(p50_s=120.0, p95_s=240.0)
    """From a launch to a ready node."""
    idle_removal_s: float = 60.0
    """A node without pods is given back after this; reserved nodes stay."""
    stock_outs: tuple[Span, ...] = ()
    """No launch; what runs stays."""
    losses: tuple[Loss, ...] = ()
    availability: Availability | None = None
    """Of a spot pool; None = as many as the quota allows."""
    interruptions_per_node_hour: float = 0.0
    """Of a spot pool: a Poisson process beside the recorded market."""
    interruption_batch: int = 1
    """Nodes that each of these interruptions takes."""
    refusal_backoff_s: float = 180.0
    """After a refused launch the node autoscaler leaves the pool alone for so long (as Karpenter does)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePool:
    pool: Pool
    cloud: CloudBehaviour = CloudBehaviour()

    def __post_init__(self) -> None:
        kind, cloud = self.pool.capacity_type, self.cloud
        if cloud.nodes and kind is not CapacityType.RESERVED:
            raise StageError(
                f"pool {self.pool.name!r} is {kind} and has nodes={cloud.nodes} from the start; only a reservation "
                "has, so give fleets initial replicas there instead"
            )
        if kind is not CapacityType.SPOT and (cloud.availability or cloud.interruptions_per_node_hour):
            raise StageError(
                f"pool {self.pool.name!r} is {kind} and has a market that takes nodes back; only spot has, so use "
                "losses or stock_outs, or make it a spot pool"
            )
        if cloud.interruption_batch < 1 or cloud.max_nodes < 1:
            raise StageError(
                f"pool {self.pool.name!r}: interruption_batch is {cloud.interruption_batch} and max_nodes "
                f"{cloud.max_nodes}; both must be at least 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFleet:
    """One fleet with its traffic and its engines as they really are."""

    fleet: Fleet
    arrivals: Arrivals
    kinds: Mapping[str, EngineKind]
    """By pool; see `kinds_of`."""
    start_up: Delay = Delay(p50_s=120.0, p95_s=150.0)
    """From a bound pod to a ready one: image pull, model load, compilation."""
    initial: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Replicas by pool that are ready when the replay begins."""
    schedule: tuple[ScheduledFloor, ...] = ()
    """Announced demand, epoch seconds."""
    profiled_requests_per_s: Mapping[str, float] | None = None
    """By pool: what one replica can truly take, for policies that need a profile; None = by physics at the truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    name: str
    fleets: tuple[StageFleet, ...]
    pools: tuple[StagePool, ...]
    duration_s: float
    period_s: float = 15.0
    """Between two decisions."""
    scrape_s: float = 15.0
    rate_window_s: float = 60.0
    blind: tuple[Span, ...] = ()
    """Prometheus does not answer."""
    start_epoch_s: float = 1_800_000_000.0
    warm_up_s: float = 0.0
    """Requests that arrive and dollars that are spent before this are not scored."""
    any_capacity_types: tuple[CapacityType, ...] = (CapacityType.RESERVED, CapacityType.ON_DEMAND)
    """Where pods of a Deployment that is bound to no pool may go."""
    settings: PlannerSettings | None = None
    """None = the planner's defaults at `period_s`."""

    def __post_init__(self) -> None:
        for name in ("duration_s", "period_s", "scrape_s", "rate_window_s"):
            if not getattr(self, name) > 0:
                raise StageError(f"stage {self.name!r}: {name} is {getattr(self, name):g}; it must be above 0")
        if not 0 <= self.warm_up_s < self.duration_s:
            raise StageError(
                f"stage {self.name!r}: warm_up_s is {self.warm_up_s:g} and duration_s {self.duration_s:g}; "
                "nothing would be scored, shorten the warm-up"
            )
        if self.rate_window_s < 2 * self.scrape_s:
            raise StageError(
                f"stage {self.name!r}: rate_window_s is {self.rate_window_s:g} and scrape_s {self.scrape_s:g}; a rate "
                "needs two samples, so make the window at least two scrape intervals"
            )
        pools = {each.pool.name: each for each in self.pools}
        for each in self.fleets:
            for pool in (*each.kinds, *each.initial):
                if pool not in pools:
                    raise StageError(
                        f"stage {self.name!r}: fleet {each.fleet.key} names pool {pool!r}; pools are "
                        f"{', '.join(sorted(pools))}"
                    )
            for pool in sorted({*each.initial} - {*each.kinds}):
                raise StageError(
                    f"stage {self.name!r}: fleet {each.fleet.key} has initial replicas in {pool!r} and no engine kind "
                    "there; add one to kinds"
                )


def kinds_of(fleet: Fleet, pools: Sequence[StagePool], truth: Truth) -> dict[str, EngineKind]:
    """What a replica of this fleet is in each pool it may use and fits in, as the planner would choose it."""
    allowed = [each.pool for each in pools if fleet.pools is None or each.pool.name in fleet.pools]
    sizings = size(fleet, allowed, (), fleet.expected.lengths)
    return {sizing.pool: EngineKind(shape=sizing.shape, truth=truth) for sizing in sizings if sizing.usable}
