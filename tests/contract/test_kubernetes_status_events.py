"""StatusWriter and EventSink against a genuine API server."""

from __future__ import annotations

from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.client import KubernetesClient
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.events import KubernetesEventSink
from inferencefleet.adapters.kubernetes.resources import EVENTS, FLEETS, POOLS
from inferencefleet.adapters.kubernetes.status import CachedStatusWriter
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.ports import Event
from sandbox import Cluster
from tests.contract.stage import eventually, make_fleet, make_pool

pytestmark = pytest.mark.cluster

Json = dict[str, Any]


def a_status(**changes: Any) -> Json:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "DemandMet",
        "message": "2 of 2 replicas serve",
        "observedGeneration": 1,
    }
    return {"observedGeneration": 1, "replicas": 2, "conditions": [condition], "reason": None, **changes}


async def test_a_status_is_written_once_and_again_only_when_its_substance_changes(
    client: KubernetesClient, caches: ClusterCache, namespace: str
) -> None:
    fleet = await make_fleet(client, namespace)
    await eventually(lambda: caches.fleets.get(namespace, "chat"), "the fleet in the cache")
    writer = CachedStatusWriter(caches)
    assert await writer.write_fleet(fleet.key, fleet.uid, a_status())
    assert not await writer.write_fleet(fleet.key, fleet.uid, a_status())
    held = (await client.get(FLEETS, namespace, "chat"))["status"]
    assert held["replicas"] == 2
    assert held["conditions"][0]["lastTransitionTime"]
    version = (await client.get(FLEETS, namespace, "chat"))["metadata"]["resourceVersion"]
    await eventually(lambda: (caches.fleets.get(namespace, "chat") or {}).get("status", {}).get("replicas"), "the echo")
    assert not await CachedStatusWriter(caches).write_fleet(fleet.key, fleet.uid, a_status())
    assert (await client.get(FLEETS, namespace, "chat"))["metadata"]["resourceVersion"] == version
    assert await writer.write_fleet(fleet.key, fleet.uid, a_status(replicas=3))


async def test_a_status_is_written_although_the_object_changed_since_the_cache_saw_it(
    client: KubernetesClient, caches: ClusterCache, namespace: str
) -> None:
    fleet = await make_fleet(client, namespace)
    stale = await eventually(lambda: caches.fleets.get(namespace, "chat"), "the fleet in the cache")
    await client.merge_patch(FLEETS, namespace, "chat", {"metadata": {"annotations": {"a": "b"}}})
    caches.fleets.put(stale)
    assert await CachedStatusWriter(caches).write_fleet(fleet.key, fleet.uid, a_status())


async def test_a_field_that_is_no_longer_said_disappears(
    client: KubernetesClient, caches: ClusterCache, namespace: str
) -> None:
    fleet = await make_fleet(client, namespace)
    await eventually(lambda: caches.fleets.get(namespace, "chat"), "the fleet in the cache")
    writer = CachedStatusWriter(caches)
    await writer.write_fleet(fleet.key, fleet.uid, a_status(selector="a=b"))
    assert await writer.write_fleet(fleet.key, fleet.uid, a_status())
    assert "selector" not in (await client.get(FLEETS, namespace, "chat"))["status"]


async def test_a_transition_time_stays_while_the_condition_keeps_its_status(
    client: KubernetesClient, caches: ClusterCache, namespace: str
) -> None:
    fleet = await make_fleet(client, namespace)
    await eventually(lambda: caches.fleets.get(namespace, "chat"), "the fleet in the cache")
    writer = CachedStatusWriter(caches)
    first = a_status()
    first["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    await writer.write_fleet(fleet.key, fleet.uid, first)
    later = a_status()
    later["conditions"][0] |= {"lastTransitionTime": "2026-02-02T00:00:00Z", "message": "other words"}
    assert await writer.write_fleet(fleet.key, fleet.uid, later)
    held = (await client.get(FLEETS, namespace, "chat"))["status"]["conditions"][0]
    assert (held["message"], held["lastTransitionTime"]) == ("other words", "2026-01-01T00:00:00Z")
    later["conditions"][0]["status"] = "False"
    await writer.write_fleet(fleet.key, fleet.uid, later)
    held = (await client.get(FLEETS, namespace, "chat"))["status"]["conditions"][0]
    assert held["lastTransitionTime"] == "2026-02-02T00:00:00Z"


async def test_a_field_that_the_crd_does_not_know_is_written_once_and_not_on_every_tick(
    client: KubernetesClient, caches: ClusterCache, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = await make_fleet(client, namespace)
    await eventually(lambda: caches.fleets.get(namespace, "chat"), "the fleet in the cache")
    writer = CachedStatusWriter(caches)
    assert await writer.write_fleet(fleet.key, fleet.uid, a_status(unknownField=1))
    assert not await writer.write_fleet(fleet.key, fleet.uid, a_status(unknownField=1))
    assert "did not keep the status" in caplog.text
    assert "unknownField" in caplog.text


async def test_a_fleet_that_is_gone_or_has_another_uid_gets_no_status(
    client: KubernetesClient, caches: ClusterCache, namespace: str
) -> None:
    fleet = await make_fleet(client, namespace)
    await eventually(lambda: caches.fleets.get(namespace, "chat"), "the fleet in the cache")
    writer = CachedStatusWriter(caches)
    assert not await writer.write_fleet(fleet.key, "another-uid", a_status())
    assert not await writer.write_fleet(FleetKey(namespace, "nobody"), fleet.uid, a_status())
    stale = caches.fleets.get(namespace, "chat")
    await client.delete(FLEETS, namespace, "chat", uid=fleet.uid)
    await eventually(lambda: caches.fleets.get(namespace, "chat") is None, "the deletion")
    assert stale is not None
    caches.fleets.put(stale)  # the cache has not heard of the deletion yet
    assert not await writer.write_fleet(fleet.key, fleet.uid, a_status())
    await make_fleet(client, namespace)
    caches.fleets.put(stale)  # nor that the name was taken by another one
    assert not await writer.write_fleet(fleet.key, fleet.uid, a_status())


async def test_pools_have_a_status_too(client: KubernetesClient, caches: ClusterCache, namespace: str) -> None:
    made = await make_pool(client, f"pool-{namespace[-8:]}")
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    await eventually(lambda: caches.pools.get(None, name), "the pool in the cache")
    writer = CachedStatusWriter(caches)
    assert await writer.write_pool(name, uid, {"observedGeneration": 1})
    assert not await writer.write_pool(name, uid, {"observedGeneration": 1})
    await client.delete(POOLS, None, name, uid=uid)


def an_event(namespace: str | None, uid: str, **changes: Any) -> Event:
    fields: Json = {
        "kind": "InferenceFleet",
        "namespace": namespace,
        "name": "chat",
        "uid": uid,
        "type": "Normal",
        "reason": "ScaledUp",
        "message": "2 -> 3 replicas: demand 4.1 req/s",
    }
    return Event(**{**fields, **changes})


async def events_of(client: KubernetesClient, namespace: str, uid: str) -> list[Json]:
    page = await client.list_page(EVENTS, namespace=namespace, field_selector=f"involvedObject.uid={uid}")
    return page.items


async def test_a_repeated_event_raises_its_count_and_kubectl_describe_shows_it(
    client: KubernetesClient, crds: Cluster, namespace: str
) -> None:
    fleet = await make_fleet(client, namespace)
    now = [1_800_000_000.0]
    sink = KubernetesEventSink(client, now=lambda: now[0])
    for _ in range(3):
        await sink.publish(an_event(namespace, fleet.uid))
        now[0] += 30
    await sink.publish(an_event(namespace, fleet.uid, message="3 -> 4 replicas"))
    found = await events_of(client, namespace, fleet.uid)
    assert sorted((event["message"], event["count"]) for event in found) == [
        ("2 -> 3 replicas: demand 4.1 req/s", 3),
        ("3 -> 4 replicas", 1),
    ]
    described = crds.kubectl("describe", "ifleet", "chat", "-n", namespace).stdout
    assert "2 -> 3 replicas: demand 4.1 req/s" in described
    now[0] += 601
    await sink.publish(an_event(namespace, fleet.uid))
    assert len(await events_of(client, namespace, fleet.uid)) == 3


async def test_an_event_that_expired_is_posted_anew(client: KubernetesClient, namespace: str) -> None:
    fleet = await make_fleet(client, namespace)
    sink = KubernetesEventSink(client)
    await sink.publish(an_event(namespace, fleet.uid))
    [first] = await events_of(client, namespace, fleet.uid)
    await client.delete(EVENTS, namespace, first["metadata"]["name"], uid=first["metadata"]["uid"])
    await sink.publish(an_event(namespace, fleet.uid))
    [second] = await events_of(client, namespace, fleet.uid)
    assert second["count"] == 1


async def test_events_of_pools_are_found_by_describe_and_long_messages_are_cut(
    client: KubernetesClient, crds: Cluster, namespace: str
) -> None:
    made = await make_pool(client, f"pool-{namespace[-8:]}")
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    sink = KubernetesEventSink(client)
    await sink.publish(
        an_event(None, uid, kind="GPUPool", name=name, type="Warning", reason="PoolExhausted", message="x" * 2000)
    )
    [event] = await events_of(client, "default", uid)
    assert len(event["message"]) == 1024
    assert "PoolExhausted" in crds.kubectl("describe", "gpool", name).stdout
    await client.delete(POOLS, None, name, uid=uid)


async def test_an_event_that_cannot_be_posted_never_stops_the_loop(
    client: KubernetesClient, caplog: pytest.LogCaptureFixture
) -> None:
    await KubernetesEventSink(client).publish(an_event("no-such-namespace", "uid"))
    assert "was not posted" in caplog.text
