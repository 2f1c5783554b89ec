"""The stage of a replay, made of manifests: pools become clouds, the fleet gets its engines and first replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inferencefleet.api.schedule import floors
from inferencefleet.cli.refusal import refuse
from inferencefleet.cli.simulate.rows import Column, read_json, read_rows
from inferencefleet.domain.fleet import ExpectedTraffic, Fleet, SpotPolicy, SpotTerms
from inferencefleet.domain.observation import MetricsGap
from inferencefleet.domain.pool import CapacityType, Pool, PoolState
from inferencefleet.domain.snapshot import FleetState, ScheduledFloor, Snapshot
from inferencefleet.physics.cold_start import cold_start_s
from inferencefleet.planning.plan import plan
from inferencefleet.planning.size import size
from inferencefleet.simulator.replay import (
    Availability,
    CloudBehaviour,
    Delay,
    Stage,
    StageFleet,
    StagePool,
    kinds_of,
)
from inferencefleet.simulator.servers import Arrivals, EngineKind, NotSimulated, check_simulated
from inferencefleet.simulator.truth import Truth

AFTER_S = 60.0
"""What arrived last is served to its end."""
FIRST_S = 300.0
"""The replicas at the beginning are for what arrives in this time."""
DAY_S = 86400.0
_SPOT = CapacityType.SPOT
_OFF_SPOT = SpotTerms(policy=SpotPolicy.NEVER)
NODES = {
    "at_s": Column(rule="seconds since the beginning, 0 or more", ascending=True),
    "nodes": Column(rule="a whole number of nodes, 0 or more", whole=True),
}


def stage_of(
    fleet: Fleet,
    pools: Sequence[Pool],
    arrivals: Arrivals,
    *,
    truth: Truth,
    markets: Mapping[str, Availability],
    start_s: float,
) -> Stage:
    """Raises `Refusal` when the fleet cannot be served on these pools, or cannot be simulated."""
    duration_s = float(arrivals.arrival_s[-1]) + AFTER_S
    clouds = [StagePool(pool=pool, cloud=_cloud(pool, markets.get(pool.name))) for pool in pools]
    kinds = kinds_of(fleet, clouds, truth)
    _check(fleet, pools, kinds)
    steady = {each.pool.capacity_type for each in clouds if each.pool.name in kinds} - {_SPOT}
    load_s = max(cold_start_s(kind.shape) for kind in kinds.values())
    staged = StageFleet(
        fleet=fleet,
        arrivals=arrivals,
        kinds=kinds,
        start_up=Delay(p50_s=load_s, p95_s=1.25 * load_s),
        initial=_initial(fleet, pools, arrivals, start_s, on_spot=not steady),
        schedule=_announced(fleet, start_s, duration_s),
    )
    return Stage(
        name=str(fleet.key),
        fleets=(staged,),
        pools=tuple(clouds),
        duration_s=duration_s,
        start_epoch_s=start_s,
        any_capacity_types=tuple(sorted(steady)) or (_SPOT,),
    )


def market(path: Path) -> Availability:
    """`{"metadata": {"gap_seconds": 60}, "data": [4, 4, 3]}` as published spot traces are, or a CSV `at_s,nodes`."""
    if path.suffix.removesuffix(".gz") != ".json" and not path.name.endswith(".json.gz"):
        rows = read_rows("--spot", path, NODES)
        return Availability(at_s=tuple(rows["at_s"]), nodes=tuple(int(count) for count in rows["nodes"]))
    found = read_json("--spot", path)
    try:
        gap_s, counts = float(found["metadata"]["gap_seconds"]), [int(count) for count in found["data"]]
        if gap_s <= 0 or not counts or min(counts) < 0:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        rule = 'must be {"metadata": {"gap_seconds": SECONDS}, "data": [NODES, ...]} with at least one count'
        raise refuse("--spot", path, f"{rule}, or a CSV of at_s,nodes") from None
    changed = [i for i, count in enumerate(counts) if i == 0 or count != counts[i - 1]]
    return Availability(at_s=tuple(i * gap_s for i in changed), nodes=tuple(counts[i] for i in changed))


def planned_per_s(fleet: Fleet, pools: Sequence[Pool]) -> float:
    """What the slowest replica that may be used is planned with, by the operator's prior and the declared lengths."""
    allowed = [pool for pool in pools if fleet.pools is None or pool.name in fleet.pools]
    sizings = size(fleet, allowed, (), fleet.expected.lengths)
    return min(sizing.planned_requests_per_s for sizing in sizings if sizing.usable)


def _cloud(pool: Pool, market_: Availability | None) -> CloudBehaviour:
    """As the pool declares itself: limits are quotas, provisioning is what is expected of it."""
    nodes = None if pool.max_gpus is None else pool.max_gpus // pool.gpus_per_node
    reserved, spot = pool.capacity_type is CapacityType.RESERVED, pool.capacity_type is CapacityType.SPOT
    return CloudBehaviour(
        nodes=nodes or 0 if reserved else 0,
        max_nodes=CloudBehaviour().max_nodes if nodes is None else nodes,
        provisioning=Delay(p50_s=pool.provision_p50_s, p95_s=max(pool.provision_p50_s, pool.provision_p95_s)),
        availability=market_,
        interruptions_per_node_hour=pool.interruptions_per_node_hour if spot and market_ is None else 0.0,
    )


def _check(fleet: Fleet, pools: Sequence[Pool], kinds: Mapping[str, EngineKind]) -> None:
    if not kinds:
        names = ", ".join(pool.name for pool in pools)
        rule = f"no pool can serve it within its objectives (pools: {names}); kubectl fleet size says what can"
        raise refuse("--fleet", fleet.key, rule)
    for kind in kinds.values():
        try:
            check_simulated(kind.shape)
        except NotSimulated as refused:
            raise refuse("--fleet", fleet.key, str(refused)) from None


def _initial(
    fleet: Fleet, pools: Sequence[Pool], arrivals: Arrivals, start_s: float, *, on_spot: bool
) -> dict[str, int]:
    """What the planner itself would have running for the first minutes; off spot where there is anything else."""
    first = float((arrivals.arrival_s < FIRST_S).sum()) / FIRST_S
    steady = replace(
        fleet,
        expected=ExpectedTraffic(requests_per_s=max(first, 1e-3), lengths=fleet.expected.lengths),
        spot=SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=1.0) if on_spot else _OFF_SPOT,
    )
    gap = MetricsGap(code="NoSamples", sentence="nothing runs yet")
    [decided] = plan(
        Snapshot(
            at_s=start_s,
            fleets=(FleetState(fleet=steady, metrics=gap),),
            pools=tuple(PoolState(pool=pool) for pool in sorted(pools, key=lambda pool: pool.name)),
        )
    ).fleets
    if decided.problems:
        raise refuse("--fleet", fleet.key, str(decided.problems[0]))
    return {pool.pool: pool.replicas for pool in decided.pools if pool.replicas}


def _announced(fleet: Fleet, start_s: float, duration_s: float) -> tuple[ScheduledFloor, ...]:
    days = np.arange(start_s, start_s + duration_s, DAY_S)
    windows = {window for day_s in days for window in floors(fleet.schedule, float(day_s))}
    return tuple(sorted(windows, key=lambda window: (window.start_s, window.end_s)))
