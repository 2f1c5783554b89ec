"""Everything the adapters do on the API server works under the ServiceAccount of the chart, with its rights alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferencefleet.adapters.kubernetes.actuator import ServerSideActuator
from inferencefleet.adapters.kubernetes.client import KubernetesClient, connect
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.events import KubernetesEventSink
from inferencefleet.adapters.kubernetes.reader import CachedFleetReader
from inferencefleet.adapters.kubernetes.resources import EVENTS, POOLS
from inferencefleet.adapters.kubernetes.status import CachedStatusWriter
from inferencefleet.ports import Event
from sandbox import Cluster
from tests.contract.stage import eventually, make_fleet, make_pool
from tests.fakes.worlds import a_plan, a_pool, a_pool_plan

pytestmark = pytest.mark.cluster

CHART = str(Path(__file__).parents[2] / "charts" / "inferencefleet")


@pytest.fixture
def account(crds: Cluster, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig with a token of the chart's ServiceAccount."""
    release = f"r{uuid.uuid4().hex[:6]}"
    crds.helm("install", release, CHART, "--namespace", namespace, "--set", "operator.enabled=false", "--skip-crds")
    yield crds.service_account_kubeconfig(namespace, f"{release}-inferencefleet", tmp_path / "account")
    crds.helm("uninstall", release, "--namespace", namespace)


async def test_reading_applying_shrinking_retiring_reporting(
    client: KubernetesClient, account: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCEFLEET_KUBECONFIG", str(account))
    pool = a_pool(f"pool-{namespace[-8:]}")
    pools, made = {pool.name: pool}, await make_pool(client, pool.name)
    fleet = await make_fleet(client, namespace)
    ours = await connect()
    async with ClusterCache(ours) as caches:
        await caches.wait_synced(timeout_s=30)
        assert [item["metadata"]["name"] for item in (await CachedFleetReader(caches).read([pool])).fleets].count(
            "chat"
        )
        actuator = ServerSideActuator(caches)
        assert await actuator.apply(fleet, a_plan(fleet, a_pool_plan(pool.name, 2)), pools) == 3
        await eventually(lambda: len(caches.fleet_pods.of(fleet.key)) == 2, "two pods")
        victim = caches.fleet_pods.of(fleet.key)[0]["metadata"]["name"]
        smaller = a_plan(fleet, a_pool_plan(pool.name, 1, victims=(victim,)))
        assert await actuator.apply(fleet, smaller, pools) == 2
        gone = a_plan(fleet, retire=(pool.name,))
        await client.delete(POOLS, None, pool.name, uid=made["metadata"]["uid"])
        await eventually(lambda: caches.pools.get(None, pool.name) is None, "the pool to vanish")
        assert await actuator.apply(fleet, gone, {}) == 1
        await eventually(lambda: not caches.fleet_pods.of(fleet.key), "the pods to go")

        def emptied() -> bool:
            [deployment] = caches.deployments.of(fleet.key)
            return not deployment["status"].get("replicas")

        await eventually(emptied, "an empty Deployment")
        assert await actuator.apply(fleet, gone, {}) == 1
        assert await CachedStatusWriter(caches).write_fleet(fleet.key, fleet.uid, {"observedGeneration": 1})
        sink = KubernetesEventSink(ours)
        event = Event(
            kind="InferenceFleet",
            namespace=namespace,
            name="chat",
            uid=fleet.uid,
            type="Normal",
            reason="ScaledUp",
            message="1 -> 2",
        )
        for _ in range(2):
            await sink.publish(event)
    await ours.close()
    found = await client.list_page(EVENTS, namespace=namespace, field_selector=f"involvedObject.uid={fleet.uid}")
    assert [(item["reason"], item["count"]) for item in found.items] == [("ScaledUp", 2)]
