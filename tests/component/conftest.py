"""The whole product on one cluster for all component tests: genuine control plane, Prometheus, operator and twin."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from sandbox.cluster import Cluster
from sandbox.layout import Settings
from sandbox.stack import OPERATOR, TWIN, Stack
from tests.component.stage import PERIOD_S, POOLS, WORKLOADS, Product, Stage, alive_pids

FAST = {
    "INFERENCEFLEET_PERIOD_SECONDS": f"{PERIOD_S:g}",
    "INFERENCEFLEET_METRICS_WINDOW_SECONDS": "6",
    "INFERENCEFLEET_METRICS_MAX_AGE_SECONDS": "5",
    "INFERENCEFLEET_EXHAUSTED_BACKOFF_SECONDS": "4",
}
NEVER_SAID = ("Traceback", " ERROR ", "orbidden")
"""By the operator or the twin, in all tests together; missing RBAC shows as Forbidden."""


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Operator and twin on a cluster of their own, with the three pools."""
    folder = tmp_path_factory.mktemp("component") / "sandbox"
    with Cluster.start(folder, settings=Settings(scrape_interval_s=0.5)) as cluster:
        stack = Stack(cluster, operator_settings=dict(FAST))
        try:
            stack.install()
            running = Product(stack, stack.start_twin("test-component", seed=3), stack.start_operator())
            for pool in POOLS:
                cluster.kubectl("apply", "-f", "-", input=json.dumps(pool))
            yield running
        finally:
            ran = stack.stop()
        logs = {name: stack.layout.log(name).read_text(errors="replace") for name in (OPERATOR, TWIN)}
    assert sorted(ran) == [OPERATOR, TWIN], "both ran until the end"
    assert alive_pids(folder / "run") == []
    for name, log in logs.items():
        for word in NEVER_SAID:
            at = log.find(word)
            assert at < 0, f"the log of the {name} says {word}:\n{log[max(0, at - 500) : at + 3000]}"


@pytest.fixture
def stage(product: Product) -> Iterator[Stage]:
    """A namespace on the running product, and a clean table afterwards: no fleet, no pod, no traffic."""
    cluster = product.stack.cluster
    found = Stage(product, f"test-{uuid.uuid4().hex[:8]}")
    cluster.kubectl("create", "namespace", found.namespace)
    yield found
    found.lever("demand", rps=0)
    if product.stack.record(OPERATOR) is None:
        product.start_operator()
    cluster.kubectl("delete", "ifleet,deployments", "--all", "-n", found.namespace, "--wait=false")
    found.until(lambda: not found.items("ReplicaSet"), "the workloads are gone")
    # Pods would drain for as long as real ones.
    cluster.api("DELETE", WORKLOADS["Pod"].format(found.namespace), {"gracePeriodSeconds": 0})
    found.until(lambda: not found.items("Pod"), "the pods are gone")
    cluster.kubectl("delete", "namespace", found.namespace, "--wait=false")
