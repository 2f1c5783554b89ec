"""A genuine cluster with the real operator for benchmarks, and what the operator's own /metrics say."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from sandbox.cluster import Cluster
from sandbox.demo.session import QUICKSTART
from sandbox.errors import ComponentError
from sandbox.layout import Settings
from sandbox.stack import FAST_SETTINGS, Stack
from sandbox.web import call

NEVER = "24h"
"""Nodes that are as slow as this keep pods pending without any pool being taken for exhausted."""
LIMIT_GPUS = 100_000


@dataclass(frozen=True, slots=True)
class Scrape:
    """One reading of the operator's metrics, summed over labels."""

    totals: Mapping[str, float]
    tick_buckets: Mapping[float, float]

    def __getitem__(self, name: str) -> float:
        return self.totals.get(f"inferencefleet_{name}", 0.0)

    @property
    def ticks(self) -> float:
        return self["tick_duration_seconds_count"]

    @property
    def writes(self) -> float:
        return self["object_writes_total"] + self["status_writes_total"]


@dataclass(slots=True)
class Stage:
    """The cluster, the stack on it and where the operator answers."""

    stack: Stack
    operator_url: str

    @property
    def cluster(self) -> Cluster:
        return self.stack.cluster

    def scrape(self) -> Scrape:
        answer = call(f"{self.operator_url}/metrics", timeout_s=60)
        if not answer.ok:
            raise ComponentError(f"the operator's metrics answered {answer.status}: {answer.text[:200]}")
        totals: dict[str, float] = {}
        buckets: dict[float, float] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
                if sample.name == "inferencefleet_tick_duration_seconds_bucket":
                    buckets[float(sample.labels["le"])] = sample.value
        return Scrape(totals, buckets)

    def apply(self, *documents: Mapping[str, object]) -> None:
        text = "---\n".join(yaml.safe_dump(dict(each), sort_keys=False) for each in documents)
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=text, timeout_s=600)


@contextmanager
def stage(period_s: float) -> Iterator[Stage]:
    """Control plane, Prometheus, chart and operator in a folder of their own; all gone afterwards."""
    settings = {**FAST_SETTINGS, "INFERENCEFLEET_PERIOD_SECONDS": f"{period_s:g}"}
    with (
        tempfile.TemporaryDirectory(prefix="ifleet-bench-", ignore_cleanup_errors=True) as folder,
        Cluster.start(Path(folder), settings=Settings(prometheus=True)) as cluster,
    ):
        stack = Stack(cluster, operator_settings=settings)
        try:
            stack.install()
            yield Stage(stack, stack.start_operator())
        finally:
            stack.stop()


def pools() -> list[dict[str, object]]:
    """The quickstart's pools with limits that nobody reaches, and nodes that never come."""
    found = []
    for pool in yaml.safe_load_all((QUICKSTART / "pools.yaml").read_text()):
        if pool is not None:
            pool["spec"]["limits"] = {"gpus": LIMIT_GPUS}
            pool["spec"]["provisioning"] = {"p50": NEVER, "p95": NEVER}
            found.append(pool)
    return found


def fleet(name: str, *, replicas: int = 1, most: int = 40) -> dict[str, object]:
    """The quickstart's fleet under another name and size."""
    document: dict[str, object] = yaml.safe_load((QUICKSTART / "fleet.yaml").read_text())
    spec = document["spec"]
    assert isinstance(spec, dict)
    document["metadata"] = {"name": name, "namespace": "default"}
    spec["traffic"]["expected"]["requestsPerSecond"] = 1
    spec["scaling"] = {"minReplicas": replicas, "maxReplicas": most}
    return document
