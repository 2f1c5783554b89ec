"""Custom resources as the API server returns them -> the vocabulary of the planner.

Bad input never raises: it comes back as `Problem`s, so that one bad object cannot disturb the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import log
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from inferencefleet.api.convert_fleet import convert_fleet
from inferencefleet.api.convert_pool import POOL_LABEL, convert_pool
from inferencefleet.api.problems import problem
from inferencefleet.api.times import from_timestamp
from inferencefleet.catalog import Catalogue
from inferencefleet.domain.feedback import Feedback
from inferencefleet.domain.fleet import Fleet, FleetKey, Problem
from inferencefleet.domain.pool import Exhaustion, Pool

__all__ = [
    "POOL_LABEL",
    "changes_from_status",
    "exhaustion_from_manifest",
    "feedback_from_status",
    "fleet_from_manifest",
    "pool_from_manifest",
]

Manifest = Mapping[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class _Cache(Generic[T]):
    """Specs change rarely and are read every tick. One entry for each object, the least recently used goes first.

    The spec is compared as well: uid and generation mean nothing for manifests that never met an API server.
    """

    size: int
    entries: OrderedDict[str, tuple[int, Any, T]] = field(default_factory=OrderedDict)

    def get(self, uid: str, generation: int, spec: Any, make: Callable[[], T]) -> T:
        known = self.entries.get(uid)
        if known is not None and known[0] == generation and known[1] == spec:
            self.entries.move_to_end(uid)
            return known[2]
        made = make()
        if uid:
            self.entries[uid] = (generation, spec, made)
            self.entries.move_to_end(uid)
            if len(self.entries) > self.size:
                self.entries.popitem(last=False)
        return made


_fleets: _Cache[Fleet | tuple[Problem, ...]] = _Cache(size=10_000)
_pools: _Cache[Pool | tuple[Problem, ...]] = _Cache(size=10_000)


def fleet_from_manifest(manifest: Manifest, catalogue: Catalogue | None = None) -> Fleet | tuple[Problem, ...]:
    """The fleet, or everything that is wrong with it; models are looked up in `catalogue`, default the built-in."""
    meta = _metadata(manifest)
    if isinstance(meta, Problem):
        return (meta,)
    key = FleetKey(meta.namespace, meta.name)
    identity = (key, manifest.get("spec"), catalogue)
    fleet = _fleets.get(
        meta.uid, meta.generation, identity, lambda: convert_fleet(manifest, key, meta.uid, meta.generation, catalogue)
    )
    if isinstance(fleet, Fleet) and fleet.annotations != meta.annotations:
        # Annotations (pause) change without a new generation, so they are not part of the cached conversion.
        fleet = replace(fleet, annotations=MappingProxyType(dict(meta.annotations)))
    return fleet


def pool_from_manifest(manifest: Manifest, catalogue: Catalogue | None = None) -> Pool | tuple[Problem, ...]:
    """The pool, or everything that is wrong with it; GPUs are looked up in `catalogue`, default the built-in."""
    meta = _metadata(manifest)
    if isinstance(meta, Problem):
        return (meta,)
    identity = (meta.name, manifest.get("spec"), catalogue)
    return _pools.get(
        meta.uid,
        meta.generation,
        identity,
        lambda: convert_pool(manifest, meta.name, meta.uid, meta.generation, catalogue),
    )


def exhaustion_from_manifest(manifest: Manifest) -> Exhaustion | None:
    """What the pool's status remembers of failed deliveries; None when it says nothing readable."""
    try:
        saved = manifest["status"]["exhaustion"]
        return Exhaustion(
            since_s=from_timestamp(saved["since"]),
            until_s=from_timestamp(saved["until"]),
            strikes=int(saved["strikes"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def feedback_from_status(status: Manifest) -> Feedback:
    """What misses had made of the utilisation before a restart; nothing when the status says nothing readable."""
    plan = status.get("plan")
    factor = plan.get("attainmentFactor") if isinstance(plan, dict) else None
    if not isinstance(factor, (int, float)) or not 0.1 <= factor <= 10:
        return Feedback()
    return Feedback(factor_log=log(factor))


def changes_from_status(status: Manifest) -> tuple[tuple[float, int], ...]:
    """(epoch seconds, change of replicas) of the last changes, oldest first; what cannot be read is left out.

    So a rate policy holds across a restart of the operator, as far as the ten changes in the status reach.
    """
    found = []
    history = status.get("history")
    for entry in history if isinstance(history, list) else ():
        try:
            found.append((from_timestamp(entry["at"]), int(entry["to"]) - int(entry["from"])))
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    namespace: str
    name: str
    uid: str
    generation: int
    annotations: Mapping[str, str]


def _metadata(manifest: Manifest) -> _Metadata | Problem:
    meta = manifest.get("metadata") if isinstance(manifest, Mapping) else None
    if not isinstance(meta, Mapping) or not isinstance(meta.get("name"), str):
        return problem("metadata.name", "", "is required; give the object a name.")
    generation, annotations = meta.get("generation"), meta.get("annotations")
    return _Metadata(
        namespace=str(meta.get("namespace") or "default"),
        name=meta["name"],
        uid=str(meta.get("uid") or ""),
        generation=generation if isinstance(generation, int) else 0,
        annotations=annotations if isinstance(annotations, Mapping) else {},
    )
