"""FleetReader and the watch cache against a genuine API server."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.cache import ResourceCache, Timing
from inferencefleet.adapters.kubernetes.client import KubernetesClient, connect
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.errors import Forbidden, Gone, NotFound
from inferencefleet.adapters.kubernetes.reader import CachedFleetReader
from inferencefleet.adapters.kubernetes.resources import DEPLOYMENTS, FLEETS, NODES, PODS, POOLS, Resource
from inferencefleet.adapters.kubernetes.workloads.deployment import build_deployment
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import Phase
from inferencefleet.domain.pool import NodeState
from inferencefleet.ports import ClusterUnavailable
from sandbox import Cluster
from tests.contract.stage import eventually, make_fleet, make_node, make_pool, report_ready
from tests.fakes.worlds import a_pool, a_shape

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")


def config_map(name: str, **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"test": "yes"}},
        "data": data,
    }


async def test_the_view_shows_fleets_pools_pods_deployments_nodes_and_gpus_of_others(
    client: KubernetesClient, caches: ClusterCache, namespace: str
) -> None:
    tag = namespace[-8:]
    pool = a_pool(f"pool-{tag}", node_selector={"test/pool": namespace}, tolerations=())
    node = f"reader-{tag}"
    made_pool = await make_pool(client, pool.name)
    await make_node(client, node, labels={"test/pool": namespace}, gpus=2)
    fleet = await make_fleet(client, namespace)
    await client.apply(DEPLOYMENTS, namespace, build_deployment(fleet, pool, a_shape(), 2))
    other = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "notebook"},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        },
    }
    await client.create(PODS, namespace, other)
    reader, key = CachedFleetReader(caches), FleetKey(namespace, "chat")
    view = await reader.read([pool])
    deadline = time.monotonic() + 30
    # One GPU is left beside the notebook: one replica is bound, the other one has nowhere to go.
    while [replica.phase for replica in view.replicas.get(key, ())].count(Phase.UNSCHEDULED) != 1 or not any(
        "Insufficient" in replica.message for replica in view.replicas[key]
    ):
        assert time.monotonic() < deadline, view.replicas
        await asyncio.sleep(0.05)
        view = await reader.read([pool])
    assert (namespace, "chat") in {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in view.fleets}
    assert pool.name in {item["metadata"]["name"] for item in view.pools}
    assert view.nodes == (NodeState(name=node, pool=pool.name, gpus=2, ready=True, doomed=False),)
    assert view.gpus_used_by_others == {pool.name: 1}
    [workload] = view.workloads[key]
    assert (workload.pool, workload.replicas, workload.tensor_parallel) == (pool.name, 2, 1)
    stuck = next(replica for replica in view.replicas[key] if replica.phase is Phase.UNSCHEDULED)
    assert stuck.node is None
    assert "Insufficient nvidia.com/gpu" in stuck.message
    bound = next(replica for replica in view.replicas[key] if replica is not stuck)
    assert (bound.phase, bound.node, bound.doomed) == (Phase.STARTING, node, False)

    await report_ready(client, namespace, bound.name)
    await client.merge_patch(
        NODES, None, node, {"spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}}
    )

    def told() -> bool:
        item = caches.nodes.get(None, node)
        pod = caches.fleet_pods.get(namespace, bound.name)
        return bool(item and item["spec"]["taints"] and pod and pod["status"]["phase"] == "Running")

    await eventually(told, "the taint and the readiness")
    after = {replica.name: replica for replica in (await reader.read([pool])).replicas[key]}[bound.name]
    assert (after.phase, after.doomed) == (Phase.READY, True)
    await client.delete(NODES, None, node, uid=caches.nodes.get(None, node)["metadata"]["uid"])
    await client.delete(POOLS, None, pool.name, uid=made_pool["metadata"]["uid"])


async def test_a_reader_whose_server_cannot_be_reached_says_so_instead_of_showing_an_empty_cluster(
    crds: Cluster,
) -> None:
    connection = await connect(str(crds.kubeconfig), timeout_s=2)
    connection._api.configuration.host = "https://127.0.0.1:1"
    async with ClusterCache(connection) as caches:
        await eventually(
            lambda: "fleets" in caches.fleets.resource.plural and "127.0.0.1" in caches.fleets.trouble, "the failure"
        )
        with pytest.raises(ClusterUnavailable, match=r"inferencefleets cannot be read: .*127\.0\.0\.1"):
            await CachedFleetReader(caches).read([])
        with pytest.raises(ClusterUnavailable):
            await caches.wait_synced(timeout_s=0.1)
    await connection.close()


async def test_a_cache_lists_in_pages_follows_changes_and_forgets_what_is_deleted(
    client: KubernetesClient, namespace: str
) -> None:
    for number in range(7):
        await client.create(CONFIG_MAPS, namespace, config_map(f"item-{number}"))
    woken: list[int] = []
    cache = ResourceCache(
        client, CONFIG_MAPS, label_selector="test=yes", page_size=3, on_change=lambda: woken.append(len(woken))
    )
    task = asyncio.create_task(cache.run())
    try:
        await asyncio.wait_for(cache.wait_synced(), 10)
        assert cache.synced
        assert [name_of(item) for item in cache if in_(item, namespace)] == [f"item-{n}" for n in range(7)]
        await client.merge_patch(CONFIG_MAPS, namespace, "item-3", {"data": {"a": "b"}})
        await eventually(lambda: (cache.get(namespace, "item-3") or {}).get("data") == {"a": "b"}, "the change")
        gone = cache.get(namespace, "item-4")
        assert gone is not None
        await client.delete(CONFIG_MAPS, namespace, "item-4", uid=gone["metadata"]["uid"])
        await eventually(lambda: cache.get(namespace, "item-4") is None, "the deletion")
        assert len(woken) >= 3
    finally:
        await cancelled(task)


async def test_an_own_write_that_was_put_into_the_cache_does_not_wake_the_loop_again(
    client: KubernetesClient, namespace: str
) -> None:
    woken: list[int] = []
    cache = ResourceCache(client, CONFIG_MAPS, label_selector="test=yes", on_change=lambda: woken.append(1))
    task = asyncio.create_task(cache.run())
    try:
        await asyncio.wait_for(cache.wait_synced(), 10)
        cache.put(await client.create(CONFIG_MAPS, namespace, config_map("ours")))
        before = len(woken)
        await client.create(CONFIG_MAPS, namespace, config_map("theirs"))
        await eventually(lambda: cache.get(namespace, "theirs"), "the other object")
        assert len(woken) == before + 1
    finally:
        await cancelled(task)


async def test_a_stream_that_ends_is_resumed_where_it_stopped(client: KubernetesClient, namespace: str) -> None:
    quick = Timing(stream_s=1, silence_s=5)
    cache = ResourceCache(client, CONFIG_MAPS, label_selector="test=yes", timing=quick)
    lists = count_calls(client, "list_page")
    watches = count_calls(client, "watch")
    cache._timing = dataclasses.replace(quick, stream_s=-28)  # with the jitter added: 1 s at most
    task = asyncio.create_task(cache.run())
    try:
        await asyncio.wait_for(cache.wait_synced(), 10)
        await eventually(lambda: len(watches) >= 3, "three streams")
        await client.create(CONFIG_MAPS, namespace, config_map("late"))
        await eventually(lambda: cache.get(namespace, "late"), "what came after the first stream")
        assert len(lists) == 1
    finally:
        await cancelled(task)


async def test_a_silent_stream_is_taken_for_dead_and_opened_again(client: KubernetesClient) -> None:
    cache = ResourceCache(client, POOLS, timing=Timing(silence_s=0.3, backoff_min_s=0.01, backoff_max_s=0.02))
    watches = count_calls(client, "watch")
    task = asyncio.create_task(cache.run())
    try:
        await asyncio.wait_for(cache.wait_synced(), 10)
        await eventually(lambda: len(watches) >= 3, "three streams")
        assert cache.synced
        assert "watch of gpupools broke" in cache.trouble or cache.trouble == ""
    finally:
        await cancelled(task)


async def test_a_compacted_history_leads_to_a_new_list_that_forgets_what_vanished(
    client: KubernetesClient, namespace: str
) -> None:
    await client.create(CONFIG_MAPS, namespace, config_map("stays"))
    doomed = await client.create(CONFIG_MAPS, namespace, config_map("vanishes"))
    cache = ResourceCache(client, CONFIG_MAPS, label_selector="test=yes")
    task = asyncio.create_task(cache.run())
    await asyncio.wait_for(cache.wait_synced(), 10)
    await cancelled(task)
    await client.delete(CONFIG_MAPS, namespace, "vanishes", uid=doomed["metadata"]["uid"])
    real, raised = client.watch, []

    async def compacted(*args: Any, **kwargs: Any) -> Any:
        if not raised:
            raised.append(True)
            raise Gone(410, "too old resource version", reason="Expired")
        async for event in real(*args, **kwargs):
            yield event

    client.watch = compacted  # type: ignore[method-assign]
    task = asyncio.create_task(cache.run())
    try:
        await eventually(lambda: cache.get(namespace, "vanishes") is None, "the vanished object to be forgotten")
        assert cache.get(namespace, "stays") is not None
        assert raised
    finally:
        await cancelled(task)


async def test_refusals_have_a_class_each_and_carry_the_words_of_the_server(
    client: KubernetesClient, crds: Cluster, namespace: str, tmp_path: Any
) -> None:
    with pytest.raises(NotFound, match="not found"):
        await client.get(FLEETS, namespace, "nobody")
    stranger = await connect(str(crds.user_kubeconfig("stranger", tmp_path / "stranger")))
    with pytest.raises(Forbidden, match='User "stranger" cannot list resource "pods"'):
        await stranger.list_page(PODS)
    await stranger.close()


async def test_a_cluster_that_goes_away_and_comes_back_is_believed_for_a_while_and_then_read_again(
    crds: Cluster, client: KubernetesClient, namespace: str
) -> None:
    cache = ResourceCache(
        client,
        CONFIG_MAPS,
        label_selector="test=yes",
        timing=Timing(trust_s=1.0, backoff_min_s=0.05, backoff_max_s=0.2),
    )
    task = asyncio.create_task(cache.run())
    try:
        await asyncio.wait_for(cache.wait_synced(), 10)
        await asyncio.to_thread(crds.stop_component, "kube-apiserver")
        await eventually(lambda: not cache.synced, "the cache to be distrusted")
        assert "configmaps" in cache.trouble
        await asyncio.to_thread(crds.start_component, "kube-apiserver")
        await eventually(lambda: cache.synced, "the cache to be in sync again")
        await client.create(CONFIG_MAPS, namespace, config_map("afterwards"))
        await eventually(lambda: cache.get(namespace, "afterwards"), "what happened afterwards")
        # A server that starts anew remembers no history: who asks for it must list again.
        with pytest.raises(Gone):
            async for _ in client.watch(CONFIG_MAPS, resource_version="1", timeout_s=2):
                pass
    finally:
        await cancelled(task)


def count_calls(client: KubernetesClient, method: str) -> list[int]:
    real, calls = getattr(client, method), []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return real(*args, **kwargs)

    setattr(client, method, counted)
    return calls


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


def name_of(item: Json) -> str:
    return str(item["metadata"]["name"])


def in_(item: Json, namespace: str) -> bool:
    return bool(item["metadata"]["namespace"] == namespace)
