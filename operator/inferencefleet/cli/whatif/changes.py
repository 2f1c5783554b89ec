"""Changes of what is declared, as pure functions of a snapshot: objectives, limits, routing, prices and pools."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from types import MappingProxyType

from inferencefleet.domain.fleet import Fleet, FleetKey, Routing
from inferencefleet.domain.pool import Pool, PoolState
from inferencefleet.domain.slo import Slo
from inferencefleet.domain.snapshot import FleetState, Snapshot

Change = Callable[[Snapshot], Snapshot]


def with_slos(keys: Collection[FleetKey], slos: Collection[Slo]) -> Change:
    """Objectives take the place of those of the same metric."""
    given = {slo.metric for slo in slos}

    def fleet(found: Fleet) -> Fleet:
        return replace(found, slos=tuple(sorted([*(s for s in found.slos if s.metric not in given), *slos])))

    return _fleets(keys, fleet)


def with_replicas(keys: Collection[FleetKey], least: int | None, most: int | None) -> Change:
    def fleet(found: Fleet) -> Fleet:
        scaling = found.scaling
        return replace(
            found,
            scaling=replace(
                scaling,
                min_replicas=scaling.min_replicas if least is None else least,
                max_replicas=scaling.max_replicas if most is None else most,
            ),
        )

    return _fleets(keys, fleet)


def with_routing(keys: Collection[FleetKey], routing: Routing) -> Change:
    return _fleets(keys, lambda found: replace(found, routing=routing))


def without_pool(name: str) -> Change:
    """The pool has no GPUs any more: nodes, replicas and what Deployments asked for there are gone; its name stays."""

    def state(found: FleetState) -> FleetState:
        return replace(
            found,
            replicas=tuple(each for each in found.replicas if each.pool != name),
            workloads=tuple(each for each in found.workloads if each.pool != name),
        )

    def empty(found: PoolState) -> PoolState:
        return replace(found, pool=replace(found.pool, max_gpus=0), nodes=(), gpus_used_by_others=0)

    def changed(snapshot: Snapshot) -> Snapshot:
        # Nodes that were there at the last tick and are not now would be taken for an interruption.
        memory = {pool: each for pool, each in snapshot.pool_memory.items() if pool != name}
        return replace(
            _pools(name, empty)(snapshot),
            fleets=tuple(state(each) for each in snapshot.fleets),
            pool_memory=MappingProxyType(memory),
        )

    return changed


def with_price(name: str, per_gpu_hour: float) -> Change:
    return _pool(name, lambda pool: replace(pool, price_per_gpu_hour=per_gpu_hour))


def with_limit(name: str, gpus: int | None) -> Change:
    """None = no limit."""
    return _pool(name, lambda pool: replace(pool, max_gpus=gpus))


def _fleets(keys: Collection[FleetKey], change: Callable[[Fleet], Fleet]) -> Change:
    return lambda snapshot: replace(
        snapshot,
        fleets=tuple(
            replace(each, fleet=change(each.fleet)) if each.fleet.key in keys else each for each in snapshot.fleets
        ),
    )


def _pools(name: str, change: Callable[[PoolState], PoolState]) -> Change:
    return lambda snapshot: replace(
        snapshot, pools=tuple(change(each) if each.pool.name == name else each for each in snapshot.pools)
    )


def _pool(name: str, change: Callable[[Pool], Pool]) -> Change:
    return _pools(name, lambda found: replace(found, pool=change(found.pool)))
