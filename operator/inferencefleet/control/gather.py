"""Gather: one `Snapshot` from the cluster and from Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inferencefleet.api.convert import (
    changes_from_status,
    exhaustion_from_manifest,
    feedback_from_status,
    fleet_from_manifest,
    pool_from_manifest,
)
from inferencefleet.api.convert_calibration import calibration_from_status
from inferencefleet.api.convert_pool import interruptions_from_status
from inferencefleet.api.schedule import floors
from inferencefleet.catalog import Catalogue, built_in
from inferencefleet.domain.fleet import Fleet, FleetKey, Problem
from inferencefleet.domain.history import History
from inferencefleet.domain.observation import MetricsGap
from inferencefleet.domain.pool import Pool, PoolMemory, PoolState
from inferencefleet.domain.snapshot import (
    BrokenFleet,
    BrokenPool,
    FleetMemory,
    FleetState,
    PlannerSettings,
    Snapshot,
)
from inferencefleet.planning.remember import reminded
from inferencefleet.ports import ClusterView, FleetReader, Manifest, MetricsSource

HISTORY_RETRY_S = 60.0
"""A metrics store that could not tell the past is asked again after this time, not at every tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The snapshot with the manifests it came from: what is reported is compared with their status."""

    snapshot: Snapshot
    fleet_manifests: Mapping[FleetKey, Manifest]
    pool_manifests: Mapping[str, Manifest]


@dataclass(slots=True)
class Gatherer:
    """Reads the world. Remembers only which pools there were, so that nodes can be assigned to them."""

    reader: FleetReader
    metrics: MetricsSource
    settings: PlannerSettings
    catalogue: Catalogue = field(default_factory=built_in)
    """Where GPU types and models are looked up."""
    _pools: tuple[Pool, ...] = field(default=())
    _told: frozenset[FleetKey] = field(default=frozenset())
    """Fleets whose past is known."""
    _ask_again_s: float = field(default=float("-inf"))

    async def gather(
        self,
        at_s: float,
        memory: Mapping[FleetKey, FleetMemory],
        pool_memory: Mapping[str, PoolMemory] = MappingProxyType({}),
    ) -> Gathered:
        """Raises `ClusterUnavailable` when the API server cannot be read; metrics that fail become gaps."""
        view = await self.reader.read(self._pools)
        pools, broken_pools = _pools(view.pools, self.catalogue)
        if pools != self._pools:
            self._pools = pools
            view = await self.reader.read(pools)
        fleets, broken = _fleets(view, self.catalogue)
        metrics = await self.metrics.read(fleets)
        past = await self._past(fleets, at_s)
        manifests = {key_of(manifest): manifest for manifest in view.fleets}
        unknown = MetricsGap(code="NoSamples", sentence="the metrics source said nothing about this fleet")
        snapshot = Snapshot(
            at_s=at_s,
            fleets=tuple(
                FleetState(
                    fleet=fleet,
                    metrics=metrics.get(fleet.key, unknown),
                    replicas=view.replicas.get(fleet.key, ()),
                    workloads=view.workloads.get(fleet.key, ()),
                    schedule=floors(fleet.schedule, at_s),
                )
                for fleet in fleets
            ),
            pools=tuple(_state(pool, view) for pool in pools),
            broken_fleets=broken,
            broken_pools=broken_pools,
            memory={
                fleet.key: _reminded(memory.get(fleet.key), manifests[fleet.key], past.get(fleet.key))
                for fleet in fleets
            },
            pool_memory=pool_memory,
            settings=self.settings,
        )
        return Gathered(
            snapshot=snapshot,
            fleet_manifests=manifests,
            pool_manifests={str(manifest["metadata"]["name"]): manifest for manifest in view.pools},
        )

    async def _past(self, fleets: tuple[Fleet, ...], at_s: float) -> Mapping[FleetKey, History]:
        """How traffic went before this process began, of each fleet once; whom nobody could tell is asked again."""
        self._told &= {fleet.key for fleet in fleets}
        untold = [fleet for fleet in fleets if fleet.key not in self._told]
        if not untold or at_s < self._ask_again_s:
            return {}
        past = await self.metrics.history(untold, at_s)
        self._told |= set(past)
        self._ask_again_s = at_s + HISTORY_RETRY_S if len(past) < len(untold) else at_s
        return past


def _reminded(memory: FleetMemory | None, manifest: Manifest, past: History | None) -> FleetMemory:
    """After a restart: what engines taught and the last changes are in the status, and how traffic went is in the
    metrics store."""
    status = manifest.get("status") or {}
    known = memory or FleetMemory(
        calibration=calibration_from_status(status),
        scale_events=changes_from_status(status),
        feedback=feedback_from_status(status),
    )
    return known if past is None else reminded(known, past)


def key_of(manifest: Manifest) -> FleetKey:
    metadata = manifest["metadata"]
    return FleetKey(str(metadata["namespace"]), str(metadata["name"]))


def _pools(manifests: tuple[Manifest, ...], catalogue: Catalogue) -> tuple[tuple[Pool, ...], tuple[BrokenPool, ...]]:
    pools: dict[_Nodes, Pool] = {}
    broken = []
    for manifest in sorted(manifests, key=_age):
        if _is_going(manifest):
            continue
        result = pool_from_manifest(manifest, catalogue)
        if not isinstance(result, Pool):
            broken.append(_broken_pool(manifest, tuple(result)))
            continue
        nodes: _Nodes = (frozenset(result.node_selector.items()), result.resource_name)
        if (holder := pools.setdefault(nodes, result)) is not result:
            broken.append(_broken_pool(manifest, (_same_nodes(result, holder),)))
    found = sorted(pools.values(), key=lambda pool: pool.name)
    return tuple(found), tuple(sorted(broken, key=lambda pool: pool.name))


_Nodes = tuple[frozenset[tuple[str, str]], str]
"""What tells the GPUs of one pool from those of another: node labels and resource."""


def _age(manifest: Manifest) -> tuple[str, str]:
    """The eldest first: a pool that somebody adds must not take the nodes of one that is in use."""
    metadata = manifest["metadata"]
    return str(metadata.get("creationTimestamp") or ""), str(metadata["name"])


def _same_nodes(pool: Pool, holder: Pool) -> Problem:
    return Problem(
        code="NodesOfAnotherPool",
        field="spec.nodes.selector",
        value=", ".join(f"{key}={value}" for key, value in sorted(pool.node_selector.items())),
        sentence=f"these are the nodes of GPUPool {holder.name}, and every GPU would count twice; give each pool "
        f"labels of its own, or delete one of the two",
    )


def _broken_pool(manifest: Manifest, problems: tuple[Problem, ...]) -> BrokenPool:
    metadata = manifest["metadata"]
    return BrokenPool(name=str(metadata["name"]), generation=int(metadata.get("generation", 0)), problems=problems)


def _fleets(view: ClusterView, catalogue: Catalogue) -> tuple[tuple[Fleet, ...], tuple[BrokenFleet, ...]]:
    fleets: list[Fleet] = []
    broken: list[BrokenFleet] = []
    for manifest in view.fleets:
        if _is_going(manifest):
            continue
        result = fleet_from_manifest(manifest, catalogue)
        if isinstance(result, Fleet):
            fleets.append(result)
        else:
            broken.append(_broken(manifest, tuple(result), view))
    return tuple(sorted(fleets, key=lambda fleet: fleet.key)), tuple(sorted(broken, key=lambda fleet: fleet.key))


def _broken(manifest: Manifest, problems: tuple[Problem, ...], view: ClusterView) -> BrokenFleet:
    key = key_of(manifest)
    return BrokenFleet(
        key=key,
        uid=str(manifest["metadata"]["uid"]),
        generation=int(manifest["metadata"].get("generation", 0)),
        problems=problems,
        workloads=view.workloads.get(key, ()),
        replicas=view.replicas.get(key, ()),
    )


def _is_going(manifest: Manifest) -> bool:
    """Deleted objects are left to the garbage collector: writing for them would only get in its way."""
    return "deletionTimestamp" in manifest["metadata"]


def _state(pool: Pool, view: ClusterView) -> PoolState:
    # What was reported is the memory: a restart forgets neither what failed nor what was taken back.
    manifest = next((each for each in view.pools if each["metadata"]["name"] == pool.name), None)
    return PoolState(
        pool=pool,
        nodes=tuple(node for node in view.nodes if node.pool == pool.name),
        gpus_used_by_others=view.gpus_used_by_others.get(pool.name, 0),
        exhaustion=None if manifest is None else exhaustion_from_manifest(manifest),
        interruptions=interruptions_from_status((manifest or {}).get("status") or {}),
    )
