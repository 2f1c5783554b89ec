"""Fixtures of the sandbox tests."""

from tests.sandbox.cluster_fixture import cluster, namespace

__all__ = ["cluster", "namespace"]
