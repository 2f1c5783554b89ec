"""What a peer's law sees, with everything defaulted but what a test is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferencefleet.domain.fleet import Fleet, ScalingTerms
from inferencefleet.domain.observation import Histogram, Phase, Replica
from inferencefleet.domain.pool import PoolState
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.domain.snapshot import Snapshot
from inferencefleet.simulator.laws.common import FleetLaw
from inferencefleet.simulator.policy import ANY, PodSample, Seen, Sight, Targets
from tests.builders import NOW_S, a_fleet, replicas

LLM_D_SLOS = (
    Slo(metric=SloMetric.TTFT, percentile=90, target_s=3.0),
    Slo(metric=SloMetric.ITL, percentile=90, target_s=0.1),
)


def fleet(least: int = 1, most: int = 40, **overrides: Any) -> Fleet:
    given = {"scaling": ScalingTerms(min_replicas=least, max_replicas=most), "slos": LLM_D_SLOS, **overrides}
    return a_fleet(**given)


def pod(name: str = "a", **overrides: Any) -> PodSample:
    values: dict[str, Any] = {
        "pool": "reserved",
        "ready_s": 0.0,
        "running": 10.0,
        "waiting": 0.0,
        "kv_cache_usage": 0.5,
        "kv_cache_tokens": 500_000.0,
        "prompt_tokens_mean": 1000.0,
        "output_tokens_mean": 1000.0,
        "output_tokens_per_s": 400.0,
    }
    return PodSample(name=name, **{**values, **overrides})


def pods(count: int, **overrides: Any) -> tuple[PodSample, ...]:
    prefix = overrides.get("pool", "reserved")
    return tuple(pod(f"{prefix}-{index}", **overrides) for index in range(count))


def waiting(total: float, ready: int) -> tuple[PodSample, ...]:
    """`total` requests wait, all at the first of `ready` pods."""
    return tuple(pod(f"reserved-{index}", waiting=total if index == 0 else 0.0) for index in range(ready))


def cluster(ready: int = 0, starting: int = 0, unscheduled: int = 0, pool: str = "reserved") -> tuple[Replica, ...]:
    return (
        replicas(pool, ready)
        + replicas(pool, starting, phase=Phase.STARTING)
        + replicas(pool, unscheduled, phase=Phase.UNSCHEDULED)
    )


def tail(p90_s: float, total: float = 100.0) -> Histogram:
    """Its 90th percentile is `p90_s`, as Prometheus would interpolate it."""
    return Histogram(bounds=(p90_s / 0.9, float("inf")), counts=(total, 0.0), total=total, sum=total * p90_s / 1.8)


def see(
    at_s: float = 0.0,
    wanted: int | Mapping[str, int] = 1,
    *,
    samples: Sequence[PodSample] = (),
    there: Sequence[Replica] | None = None,
    who: Fleet | None = None,
    **overrides: Any,
) -> Seen:
    values: dict[str, Any] = {
        "blind": False,
        "completions_per_s": None,
        "arrivals_per_s": None,
        "gateway_waiting": 0,
        "ttft_s": None,
        "itl_s": None,
        "tpot_s": None,
        "e2e_s": None,
        "profiled_requests_per_s": {},
    }
    count = wanted if isinstance(wanted, int) else sum(wanted.values())
    return Seen(
        at_s=at_s,
        fleet=who or fleet(),
        wanted={ANY: wanted} if isinstance(wanted, int) else wanted,
        replicas=tuple(cluster(count) if there is None else there),
        pods=tuple(samples),
        **{**values, **overrides},
    )


def sight(seen: Seen, pools: Sequence[PoolState] = (), period_s: float = 15.0) -> Sight:
    snapshot = Snapshot(at_s=NOW_S + seen.at_s, fleets=(), pools=tuple(pools))
    return Sight(at_s=seen.at_s, period_s=period_s, fleets=(seen,), snapshot=snapshot)


def decide(law: FleetLaw, seen: Seen, pools: Sequence[PoolState] = ()) -> Targets:
    return law.targets(seen, sight(seen, pools))
