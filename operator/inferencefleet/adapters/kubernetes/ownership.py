"""Apply one object of a fleet, and nobody else's: look, compare, prove that it is ours, then write."""

from __future__ import annotations

import logging

from inferencefleet.adapters.kubernetes.cache import ResourceCache
from inferencefleet.adapters.kubernetes.client import Json, KubernetesClient
from inferencefleet.adapters.kubernetes.difference import first_difference
from inferencefleet.adapters.kubernetes.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.ports import ApplyRefused, ClusterUnavailable

log = logging.getLogger(__name__)


async def find_own(client: KubernetesClient, cache: ResourceCache, namespace: str, name: str, uid: str) -> Json | None:
    """The live object if it is ours, None if there is none; raise `ApplyRefused` if it is somebody else's.

    The cache watches by our label only, so before a name is taken the server is asked who holds it.
    """
    live = cache.get(namespace, name)
    if live is None:
        try:
            live = await client.get(cache.resource, namespace, name)
        except NotFound:
            return None
    if not labels.is_owned_by(live["metadata"], uid):
        raise ApplyRefused(_whose(cache.resource.kind, live))
    return live


async def apply_object(client: KubernetesClient, cache: ResourceCache, live: Json | None, desired: Json) -> int:
    """Write `desired` if `live` does not say it already; return the number of writes."""
    if live is None:
        # Without force: should somebody take the name right now, the server reports the conflict.
        cache.put(await client.apply(cache.resource, desired["metadata"]["namespace"], desired, force=False))
        return 1
    hash_changed = _spec_hash(live) != _spec_hash(desired)
    difference = first_difference(live, desired)
    if not hash_changed and difference is None:
        return 0
    log.info(
        "Applying %s %s/%s: %s",
        cache.resource.kind,
        desired["metadata"]["namespace"],
        desired["metadata"]["name"],
        "the spec changed" if hash_changed else f"{difference} was changed",
    )
    body = {**desired, "metadata": {**desired["metadata"], "uid": live["metadata"]["uid"]}}
    cache.put(await client.apply(cache.resource, desired["metadata"]["namespace"], body))
    return 1


def as_port_error(error: ApiError, subject: str) -> ApplyRefused | ClusterUnavailable | None:
    """What the loop must know of a failed write; None when it is normal life and the next tick sees the world anew."""
    if isinstance(error, Invalid | Forbidden):
        return ApplyRefused(f"{subject}: {error.message}")
    if error.transient:
        return ClusterUnavailable(f"{subject}: {error}")
    if isinstance(error, NotFound | Conflict):
        log.info("%s changed under our hands, left for the next tick: %s", subject, error)
        return None
    return ApplyRefused(f"{subject}: {error}")


def is_unchanged(live: Json, desired: Json) -> bool:
    """The template is what we last applied, whatever the number of replicas."""
    return _spec_hash(live) == _spec_hash(desired)


def _spec_hash(item: Json) -> str | None:
    found = (item["metadata"].get("annotations") or {}).get(labels.SPEC_HASH)
    return None if found is None else str(found)


def _whose(kind: str, live: Json) -> str:
    metadata = live["metadata"]
    subject = f"{kind} {metadata.get('namespace')}/{metadata['name']}"
    if labels.is_managed(metadata) and metadata.get("ownerReferences"):
        return (
            f"{subject} belongs to an earlier fleet of the same name and is being removed; "
            f"it is taken over as soon as it is gone"
        )
    return (
        f"{subject} exists and was not made by this fleet; delete or rename it, or give the fleet another name, "
        f"so that the name is free"
    )
