"""StatusWriter: patches /status, only when the server does not hold the same substance already.

A merge patch, not server-side apply: that answers 500 for a whole status in which one field is unknown to the CRD, and
while the operator and its CRDs are upgraded one after the other a shorter status is better than none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inferencefleet.adapters.kubernetes.cache import ResourceCache
from inferencefleet.adapters.kubernetes.client import Json
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.errors import ApiError, Conflict, NotFound
from inferencefleet.adapters.kubernetes.ownership import as_port_error
from inferencefleet.domain.fleet import FleetKey

log = logging.getLogger(__name__)


class CachedStatusWriter:
    """Compares with the watch cache, so that a quiet tick writes nothing."""

    def __init__(self, cluster: ClusterCache) -> None:
        self._cluster = cluster
        self._altered: dict[str, tuple[Any, Any]] = {}
        """By uid: a status that the server did not keep as written, and what it made of it."""

    async def write_fleet(self, key: FleetKey, uid: str, status: Mapping[str, Any]) -> bool:
        return await self._write(self._cluster.fleets, key.namespace, key.name, uid, status)

    async def write_pool(self, name: str, uid: str, status: Mapping[str, Any]) -> bool:
        return await self._write(self._cluster.pools, None, name, uid, status)

    async def _write(
        self, cache: ResourceCache, namespace: str | None, name: str, uid: str, status: Mapping[str, Any]
    ) -> bool:
        live = cache.get(namespace, name)
        if live is None or live["metadata"].get("uid") != uid:
            self._altered.pop(uid, None)
            return False
        held = without_none(live.get("status") or {})
        wanted = with_transition_times(without_none(status), held)
        if wanted == held or self._altered.get(uid) == (wanted, held):
            return False
        try:
            answer = await self._patch(cache, namespace, live, merge_diff(held, wanted))
        except (NotFound, Conflict) as error:
            log.info("%s %s is gone or was replaced, its status is dropped: %s", cache.resource.kind, name, error)
            return False
        except ApiError as error:
            raise as_port_error(error, f"status of {cache.resource.kind} {name}") or error from error
        cache.put(answer)
        self._remember(cache.resource.kind, name, uid, wanted, without_none(answer.get("status") or {}))
        return True

    async def _patch(self, cache: ResourceCache, namespace: str | None, live: Json, change: Json) -> Json:
        """The resource version proves that this is the object we compared with: /status ignores a uid."""
        name, client = live["metadata"]["name"], self._cluster.client
        try:
            return await client.merge_patch(
                cache.resource, namespace, name, _at_version(live, change), subresource="status"
            )
        except Conflict:
            fresh = await client.get(cache.resource, namespace, name)
            cache.put(fresh)
            if fresh["metadata"]["uid"] != live["metadata"]["uid"] or fresh.get("status") != live.get("status"):
                raise
            return await client.merge_patch(
                cache.resource, namespace, name, _at_version(fresh, change), subresource="status"
            )

    def _remember(self, kind: str, name: str, uid: str, wanted: Any, kept: Any) -> None:
        """Fields that the CRD does not know vanish on the server; writing them again each tick would not help."""
        if wanted == kept:
            self._altered.pop(uid, None)
            return
        if uid not in self._altered:
            log.warning(
                "The API server did not keep the status of %s %s as written (%s); is the CRD of another version?",
                kind,
                name,
                ", ".join(sorted(_differing(wanted, kept))),
            )
        self._altered[uid] = (wanted, kept)


def without_none(value: Any) -> Any:
    """Plain JSON in which absent means absent; whole floats are what JSON makes of them."""
    return _pruned(json.loads(json.dumps(_plain(value))))


def with_transition_times(status: Json, held: Mapping[str, Any], now: datetime | None = None) -> Json:
    """`lastTransitionTime` moves only when the status of the condition changes, whatever the caller says."""
    conditions = status.get("conditions")
    if not isinstance(conditions, list):
        return status
    before = {condition.get("type"): condition for condition in held.get("conditions") or []}
    stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    timed = []
    for condition in conditions:
        old = before.get(condition.get("type"), {})
        same = old.get("status") == condition.get("status") and old.get("lastTransitionTime")
        changed_at = old["lastTransitionTime"] if same else condition.get("lastTransitionTime") or stamp
        timed.append({**condition, "lastTransitionTime": changed_at})
    return {**status, "conditions": timed}


def merge_diff(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> Json:
    """The merge patch that turns `held` into `wanted`: null removes a field, lists are replaced as a whole."""
    change: Json = dict.fromkeys(held.keys() - wanted.keys())
    for key, value in wanted.items():
        before = held.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_diff(before, value)
            if inner:
                change[key] = inner
        elif key not in held or before != value:
            change[key] = value
    return change


def _at_version(live: Json, change: Json) -> Json:
    return {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "status": change}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _differing(wanted: Mapping[str, Any], kept: Mapping[str, Any]) -> set[str]:
    return {key for key in wanted.keys() | kept.keys() if wanted.get(key) != kept.get(key)}
