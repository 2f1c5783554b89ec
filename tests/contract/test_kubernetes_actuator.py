"""Actuator against a genuine API server with its controllers and scheduler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.actuator import ServerSideActuator
from inferencefleet.adapters.kubernetes.client import KubernetesClient
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.resources import (
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    FLEETS,
    NODES,
    PODS,
    POOLS,
    SERVICES,
)
from inferencefleet.adapters.kubernetes.workloads import labels
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.plan import FleetPlan
from inferencefleet.ports import ApplyRefused
from tests.contract.stage import eventually, make_fleet, make_node, make_pool, report_ready
from tests.fakes.worlds import a_plan, a_pool, a_pool_plan

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
SPOT, RESERVED = a_pool("h100-spot"), a_pool("h100-reserved")
POOLS_BY_NAME = {pool.name: pool for pool in (SPOT, RESERVED)}


@pytest.fixture
async def fleet(client: KubernetesClient, caches: ClusterCache, namespace: str) -> Fleet:
    made = await make_fleet(client, namespace)
    await eventually(lambda: caches.fleets.get(namespace, "chat"), "the fleet in the cache")
    return made


async def settled(actuator: ServerSideActuator, fleet: Fleet, plan: FleetPlan, caches: ClusterCache) -> None:
    """Apply until the controllers have answered and nothing is left to write."""
    await actuator.apply(fleet, plan, POOLS_BY_NAME)
    wanted = sum(pool.replicas for pool in plan.pools)
    await eventually(lambda: len(pods_of(caches, fleet)) == wanted, f"{wanted} pods in the cache")


def pods_of(caches: ClusterCache, fleet: Fleet) -> list[Json]:
    return [
        pod
        for pod in caches.fleet_pods
        if pod["metadata"]["namespace"] == fleet.key.namespace and not pod["metadata"].get("deletionTimestamp")
    ]


async def test_a_plan_becomes_one_deployment_per_pool_a_service_and_a_budget_and_pods_follow(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet
) -> None:
    plan = a_plan(fleet, a_pool_plan("h100-spot", 2), a_pool_plan("h100-reserved", 1, tensor_parallel=2))
    assert await ServerSideActuator(caches).apply(fleet, plan, POOLS_BY_NAME) == 4
    spot = await client.get(DEPLOYMENTS, fleet.key.namespace, "chat-h100-spot")
    assert spot["spec"]["replicas"] == 2
    assert spot["metadata"]["ownerReferences"][0]["uid"] == fleet.uid
    assert spot["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert (await client.get(SERVICES, fleet.key.namespace, "chat"))["spec"]["ports"][0]["port"] == 80
    budget = await client.get(DISRUPTION_BUDGETS, fleet.key.namespace, "chat")
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    found = await eventually(lambda: len(pods_of(caches, fleet)) == 3 and pods_of(caches, fleet), "three pods")
    assert {pod["metadata"]["labels"][labels.POOL] for pod in found} == {"h100-spot", "h100-reserved"}


async def test_a_quiet_tick_writes_nothing_whatever_defaults_the_server_added(
    caches: ClusterCache, fleet: Fleet
) -> None:
    plan = a_plan(fleet, a_pool_plan("h100-spot", 2))
    actuator = ServerSideActuator(caches)
    assert await actuator.apply(fleet, plan, POOLS_BY_NAME) == 3
    assert await actuator.apply(fleet, plan, POOLS_BY_NAME) == 0
    await eventually(lambda: len(pods_of(caches, fleet)) == 2, "two pods")
    assert await actuator.apply(fleet, plan, POOLS_BY_NAME) == 0
    assert await ServerSideActuator(caches).apply(fleet, plan, POOLS_BY_NAME) == 0


async def test_what_somebody_changes_by_hand_is_put_right_and_what_they_add_is_left(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet
) -> None:
    plan = a_plan(fleet, a_pool_plan("h100-spot", 2))
    actuator = ServerSideActuator(caches)
    await actuator.apply(fleet, plan, POOLS_BY_NAME)
    name = "chat-h100-spot"
    meddled = {"metadata": {"annotations": {"team": "search"}}, "spec": {"replicas": 7}}
    await client.merge_patch(DEPLOYMENTS, fleet.key.namespace, name, meddled)

    def seen() -> bool:
        live = caches.deployments.get(fleet.key.namespace, name)
        return live is not None and live["spec"]["replicas"] == 7

    await eventually(seen, "the change by hand")
    assert await actuator.apply(fleet, plan, POOLS_BY_NAME) == 1
    live = await client.get(DEPLOYMENTS, fleet.key.namespace, name)
    assert live["spec"]["replicas"] == 2
    assert live["metadata"]["annotations"]["team"] == "search"


async def test_a_flag_that_is_no_longer_set_disappears_from_the_pod_template(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet
) -> None:
    plan = a_plan(fleet, a_pool_plan("h100-spot", 1))
    actuator = ServerSideActuator(caches)
    loud = replace(fleet, engine=replace(fleet.engine, env=({"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"},)))
    await actuator.apply(loud, plan, POOLS_BY_NAME)
    assert await actuator.apply(fleet, plan, POOLS_BY_NAME) == 1
    live = await client.get(DEPLOYMENTS, fleet.key.namespace, "chat-h100-spot")
    names = [variable["name"] for variable in live["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert "VLLM_LOGGING_LEVEL" not in names


async def test_a_foreign_deployment_of_that_name_is_refused_and_left_untouched(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet
) -> None:
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat-h100-spot"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "c", "image": "theirs:1"}]},
            },
        },
    }
    made = await client.create(DEPLOYMENTS, fleet.key.namespace, theirs)
    plan = a_plan(fleet, a_pool_plan("h100-spot", 2), a_pool_plan("h100-reserved", 1))
    with pytest.raises(
        ApplyRefused, match=r"Deployment .*/chat-h100-spot exists and was not made by this fleet; delete"
    ):
        await ServerSideActuator(caches).apply(fleet, plan, POOLS_BY_NAME)
    live = await client.get(DEPLOYMENTS, fleet.key.namespace, "chat-h100-spot")
    assert live["metadata"]["generation"] == made["metadata"]["generation"]
    # The refusal of one pool does not keep the other from serving.
    assert (await client.get(DEPLOYMENTS, fleet.key.namespace, "chat-h100-reserved"))["spec"]["replicas"] == 1


async def test_a_shrinking_pool_marks_its_victims_and_the_controller_takes_exactly_those(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet, namespace: str
) -> None:
    pool = a_pool("h100-spot", node_selector={"test/pool": namespace}, tolerations=())
    await make_node(client, f"node-{namespace}", labels={"test/pool": namespace})
    actuator = ServerSideActuator(caches)
    await actuator.apply(fleet, a_plan(fleet, a_pool_plan("h100-spot", 4)), {pool.name: pool})

    def bound() -> list[Json] | None:
        found = [pod for pod in pods_of(caches, fleet) if pod["spec"]["nodeName"]]
        return found if len(found) == 4 else None

    names = sorted(pod["metadata"]["name"] for pod in await eventually(bound, "four bound pods"))
    for name in names:
        await report_ready(client, namespace, name)

    def all_ready() -> bool:
        live = caches.deployments.get(namespace, "chat-h100-spot")
        return live is not None and (live.get("status") or {}).get("readyReplicas") == 4

    await eventually(all_ready, "four ready replicas")
    victims = (names[2], names[0])
    shrunk = a_plan(fleet, a_pool_plan("h100-spot", 2, victims=(*victims, names[1], names[3])))
    # two marks, one Deployment, and four pods released from the disruption guard now that they serve
    assert await actuator.apply(fleet, shrunk, {pool.name: pool}) == 2 + 1 + 4
    left = await eventually(lambda: len(pods_of(caches, fleet)) == 2 and pods_of(caches, fleet), "two pods left")
    assert sorted(pod["metadata"]["name"] for pod in left) == [names[1], names[3]]
    assert all(labels.DELETION_COST not in pod["metadata"]["annotations"] for pod in left)
    await client.delete(
        NODES, None, f"node-{namespace}", uid=caches.nodes.get(None, f"node-{namespace}")["metadata"]["uid"]
    )


async def test_a_retired_pool_goes_to_zero_first_and_its_deployment_once_no_pod_is_left(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet
) -> None:
    actuator = ServerSideActuator(caches)
    both = a_plan(fleet, a_pool_plan("h100-spot", 1), a_pool_plan("h100-reserved", 1))
    await settled(actuator, fleet, both, caches)
    one = a_plan(fleet, a_pool_plan("h100-reserved", 1), retire=("h100-spot",))
    assert await actuator.apply(fleet, one, POOLS_BY_NAME) == 1
    assert (await client.get(DEPLOYMENTS, fleet.key.namespace, "chat-h100-spot"))["spec"]["replicas"] == 0
    await eventually(lambda: len(pods_of(caches, fleet)) == 1, "the pod of the retired pool to go")

    def emptied() -> bool:
        live = caches.deployments.get(fleet.key.namespace, "chat-h100-spot")
        drains = any(pod["metadata"]["labels"][labels.POOL] == "h100-spot" for pod in caches.fleet_pods.of(fleet.key))
        return live is not None and not drains and not (live.get("status") or {}).get("replicas")

    await eventually(emptied, "the Deployment to report no replicas and the last pod to have drained")
    assert await actuator.apply(fleet, one, POOLS_BY_NAME) == 1
    assert [
        item["metadata"]["name"] for item in caches.deployments if item["metadata"]["namespace"] == fleet.key.namespace
    ] == ["chat-h100-reserved"]


async def test_a_pool_whose_spec_cannot_be_read_keeps_its_replicas(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet, namespace: str
) -> None:
    broken = a_pool(f"broken-{namespace[-8:]}")
    made = await make_pool(client, broken.name)
    await eventually(lambda: caches.pools.get(None, broken.name), "the pool in the cache")
    actuator = ServerSideActuator(caches)
    await actuator.apply(fleet, a_plan(fleet, a_pool_plan(broken.name, 1)), {broken.name: broken})
    assert await actuator.apply(fleet, a_plan(fleet, retire=(broken.name,)), POOLS_BY_NAME) == 0
    live = await client.get(DEPLOYMENTS, namespace, labels.deployment_name("chat", broken.name))
    assert live["spec"]["replicas"] == 1
    await client.delete(POOLS, None, broken.name, uid=made["metadata"]["uid"])


async def test_nothing_is_made_for_a_fleet_that_was_deleted_or_replaced_meanwhile(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet
) -> None:
    await client.delete(FLEETS, fleet.key.namespace, fleet.key.name, uid=fleet.uid)
    await eventually(lambda: caches.fleets.get(fleet.key.namespace, "chat") is None, "the fleet to vanish")
    again = await make_fleet(client, fleet.key.namespace)
    await eventually(lambda: caches.fleets.get(fleet.key.namespace, "chat"), "the new fleet")
    assert again.uid != fleet.uid
    assert await ServerSideActuator(caches).apply(fleet, a_plan(fleet, a_pool_plan()), POOLS_BY_NAME) == 0


async def test_deleting_the_fleet_takes_everything_with_it(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet
) -> None:
    await settled(ServerSideActuator(caches), fleet, a_plan(fleet, a_pool_plan("h100-spot", 1)), caches)
    await client.delete(FLEETS, fleet.key.namespace, fleet.key.name, uid=fleet.uid)
    owned = (caches.deployments, caches.services, caches.disruption_budgets, caches.fleet_pods)

    def left() -> list[str]:
        return [
            item["metadata"]["name"]
            for cache in owned
            for item in cache
            if item["metadata"]["namespace"] == fleet.key.namespace
        ]

    # The garbage collector looks for new kinds every 30 s only, and ours has just been installed.
    await eventually(lambda: not left(), "everything of the fleet to be gone", timeout_s=120)


async def test_what_the_api_server_refuses_is_told_in_its_own_words(caches: ClusterCache, fleet: Fleet) -> None:
    wrong = replace(fleet, engine=replace(fleet.engine, env=({"name": "BAD NAME=", "value": "x"},)))
    with pytest.raises(ApplyRefused, match=r"pool h100-spot of .*/chat: .*a valid environment variable name"):
        await ServerSideActuator(caches).apply(wrong, a_plan(wrong, a_pool_plan()), POOLS_BY_NAME)


async def test_a_pod_on_a_doomed_node_loses_the_guard_that_would_hold_up_its_drain(
    client: KubernetesClient, caches: ClusterCache, fleet: Fleet, namespace: str
) -> None:
    pool = a_pool("h100-spot", node_selector={"test/pool": namespace}, tolerations=())
    node = f"doomed-{namespace}"
    await make_node(client, node, labels={"test/pool": namespace})
    actuator = ServerSideActuator(caches)
    plan = a_plan(fleet, a_pool_plan("h100-spot", 1))
    await actuator.apply(fleet, plan, {pool.name: pool})
    await eventually(lambda: any(pod["spec"]["nodeName"] for pod in pods_of(caches, fleet)), "a bound pod")
    assert await actuator.apply(fleet, plan, {pool.name: pool}) == 0
    taint = {"key": "aws-node-termination-handler/spot-itn", "effect": "NoSchedule"}
    await client.merge_patch(NODES, None, node, {"spec": {"taints": [taint]}})
    await eventually(lambda: (caches.nodes.get(None, node) or {}).get("spec", {}).get("taints"), "the taint")
    assert await actuator.apply(fleet, plan, {pool.name: pool}) == 1
    pod = pods_of(caches, fleet)[0]
    assert (
        labels.DO_NOT_DISRUPT
        not in (await client.get(PODS, namespace, pod["metadata"]["name"]))["metadata"]["annotations"]
    )
    await client.delete(NODES, None, node, uid=caches.nodes.get(None, node)["metadata"]["uid"])
