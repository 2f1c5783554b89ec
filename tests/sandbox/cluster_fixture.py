"""The embedded cluster as fixtures, for every test folder that needs a real API server.

Import the fixtures in a conftest.py (`from tests.sandbox.cluster_fixture import cluster, namespace`). However many
folders do so, one process starts one cluster: it is kept in this module, not in the fixture.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from sandbox import Cluster
from sandbox.layout import Settings

SETTINGS = Settings(scrape_interval_s=0.5)

_shared: list[Cluster] = []


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running control plane with Prometheus; dies with the test process whatever happens to it."""
    if not _shared:
        folder = tmp_path_factory.mktemp("sandbox")
        _shared.append(Cluster.start(folder, detached=False, settings=SETTINGS))
    yield _shared[0]
    if _shared[0].owned:  # the first of several folders' fixtures to end stops it; all end with the session
        _shared[0].stop()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of its own for one test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
