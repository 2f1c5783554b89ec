"""The genuine cluster for all contract tests, with our CRDs in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from inferencefleet.adapters.kubernetes.client import KubernetesClient, connect
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from sandbox import Cluster
from tests.sandbox.cluster_fixture import cluster, namespace

CRDS = Path(__file__).parents[2] / "crds"

__all__ = ["cluster", "namespace"]


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> Cluster:
    """The cluster, once it serves our kinds."""
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    return cluster


@pytest_asyncio.fixture
async def client(crds: Cluster) -> AsyncIterator[KubernetesClient]:
    connection = await connect(str(crds.kubeconfig))
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def caches(client: KubernetesClient) -> AsyncIterator[ClusterCache]:
    async with ClusterCache(client) as found:
        await found.wait_synced(timeout_s=30)
        yield found
