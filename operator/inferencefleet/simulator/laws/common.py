"""What every law of a peer shares: reading what is there, keeping its own clock, and one law for each fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from inferencefleet.domain.fleet import Fleet, FleetKey
from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import Pool
from inferencefleet.domain.slo import SloMetric
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets

Knobs = Mapping[str, float | int | str | bool]
"""Parameters of a law by the name of its constructor argument."""

CLOCK_SLACK_S = 1e-6
"""Times are sums of floats: a tick that is due may read a hair early."""


class FleetLaw(Protocol):
    """The law of one fleet. Peers know one Deployment (or one model) each and nothing of the others."""

    def targets(self, seen: Seen, sight: Sight) -> Targets: ...


class OneLawEach:
    """A `Policy` that gives every fleet its own instance of one law."""

    def __init__(self, name: str, start: Callable[[], FleetLaw]) -> None:
        self._name = name
        self._start = start
        self._laws: dict[FleetKey, FleetLaw] = {}

    @property
    def name(self) -> str:
        return self._name

    def decide(self, sight: Sight) -> Mapping[FleetKey, Targets]:
        decided: dict[FleetKey, Targets] = {}
        for seen in sight.fleets:
            law = self._laws.get(seen.fleet.key)
            if law is None:
                law = self._laws[seen.fleet.key] = self._start()
            decided[seen.fleet.key] = law.targets(seen, sight)
        return decided


class Interval:
    """A controller's own period. It may be shorter or longer than the replay's; on average it is kept."""

    def __init__(self, interval_s: float) -> None:
        if interval_s <= 0:
            raise ValueError(f"interval_s={interval_s}: a controller acts every so many seconds; give more than 0")
        self._interval_s = interval_s
        self._next_s: float | None = None

    def due(self, at_s: float) -> bool:
        if self._next_s is None:
            self._next_s = at_s
        if at_s < self._next_s - CLOCK_SLACK_S:
            return False
        while self._next_s <= at_s + CLOCK_SLACK_S:
            self._next_s += self._interval_s
        return True


def capped(replicas: int, fleet: Fleet) -> int:
    """Within the bounds that the fleet declares."""
    return max(fleet.scaling.min_replicas, min(replicas, fleet.scaling.max_replicas))


def asked(seen: Seen) -> int:
    """`spec.replicas` of the Deployment; before anything was asked, what its manifest would say."""
    return sum(seen.wanted.values()) if seen.wanted else seen.fleet.scaling.min_replicas


def asked_of(seen: Seen, pool: str) -> int:
    """The same of one pool's Deployment. Of a fleet that was bound to no pool, the pods that landed there."""
    if ANY in seen.wanted:
        return sum(1 for replica in existing(seen) if replica.pool == pool)
    return seen.wanted.get(pool, 0)


def existing(seen: Seen) -> tuple[Replica, ...]:
    """`status.replicas`: all pods that are not on their way out."""
    return tuple(replica for replica in seen.replicas if replica.phase is not Phase.TERMINATING)


def ready(seen: Seen) -> int:
    return sum(1 for replica in seen.replicas if replica.phase is Phase.READY)


def pools_of(seen: Seen, sight: Sight) -> tuple[Pool, ...]:
    """The pools that the fleet may use and its model runs in (those with a profile, where there are profiles)."""
    allowed, profiled = seen.fleet.pools, seen.profiled_requests_per_s
    pools = (state.pool for state in sight.snapshot.pools)
    usable = (p for p in pools if (allowed is None or p.name in allowed) and (not profiled or p.name in profiled))
    return tuple(sorted(usable, key=lambda pool: pool.name))


def gpus_per_replica(seen: Seen, pool: str) -> int:
    """Tensor parallelism of a replica there: of one that exists, else of any replica, else what is declared."""
    there = [replica.tensor_parallel for replica in seen.replicas if replica.pool == pool]
    anywhere = [replica.tensor_parallel for replica in seen.replicas]
    return (there or anywhere or [seen.fleet.engine.tensor_parallel or 1])[0]


def slo_target_s(fleet: Fleet, metric: SloMetric) -> float | None:
    """The strictest target of that metric, seconds; None = not declared."""
    return min((slo.target_s for slo in fleet.slos if slo.metric is metric), default=None)


def needs_latency_slo(fleet: Fleet, law: str) -> None:
    """A law that compares latencies with targets cannot run without any: it would read idle and shrink."""
    if not any(slo.metric in (SloMetric.TTFT, SloMetric.ITL) for slo in fleet.slos):
        raise ValueError(
            f"fleet {fleet.key}: slo has neither ttft nor itl, which {law} compares with; "
            "declare one of them or choose a policy that reads queues"
        )


def profiled_per_s(seen: Seen) -> float | None:
    """What one replica takes within the SLO, requests/s. A law that knows one engine plans with the slowest."""
    return min((rate for rate in seen.profiled_requests_per_s.values() if rate > 0), default=None)
