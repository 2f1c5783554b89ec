"""One look at the running demo: what the twin measures and what the operator says, side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sandbox.cluster import Cluster
from sandbox.stack import get_json
from sandbox.web import call

FLEETS = "/apis/inferencefleet.io/v1alpha1/namespaces/default/inferencefleets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """`twin` is the twin's status document, `fleet` the InferenceFleet as the API server holds it."""

    twin: dict[str, Any]
    fleet: dict[str, Any]

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.fleet.get("status", {}))

    @property
    def summary(self) -> dict[str, Any]:
        return dict(self.status.get("summary", {}))

    def placed(self, pool: str) -> int:
        return next((int(each["desired"]) for each in self.status.get("pools", []) if each["name"] == pool), 0)


@dataclass(slots=True)
class Observer:
    """Reads both sides over HTTP; costs a few milliseconds."""

    cluster: Cluster
    twin_url: str
    fleet: str = "chat"

    def look(self) -> Sample:
        answer = self.cluster.api("GET", f"{FLEETS}/{self.fleet}")
        fleet = answer.json() if answer.ok else {}
        return Sample(twin=get_json(f"{self.twin_url}/status"), fleet=fleet)

    def events(self) -> list[dict[str, Any]]:
        """Events of fleets and pools, oldest first."""
        found = json.loads(self.cluster.kubectl("get", "events", "-A", "-o", "json").stdout)["items"]
        mine = [each for each in found if each["involvedObject"]["kind"] in {"InferenceFleet", "GPUPool"}]
        return sorted(mine, key=lambda each: str(each.get("firstTimestamp") or each["metadata"]["creationTimestamp"]))


def prometheus_share(cluster: Cluster, metric: str, target_s: float, window_s: float) -> float | None:
    """Share of a vLLM histogram's observations within the target over the window, as Prometheus saw it.

    Exact when the engines have a bucket bound at the target; otherwise the share of the next lower bound.
    """
    selector = f'{metric}_bucket{{inferencefleet_io_fleet!=""'
    window = f"[{max(1, round(window_s))}s]"
    within = _query(cluster, f"sum by (le) (increase({selector}}}{window}))")
    if not within:
        return None
    by_bound = {float(each["metric"]["le"]): float(each["value"][1]) for each in within}
    total = by_bound.get(float("inf"), 0.0)
    reached = [count for bound, count in by_bound.items() if bound <= target_s + 1e-9]
    return max(reached, default=0.0) / total if total > 0 else None


def _query(cluster: Cluster, promql: str) -> list[dict[str, Any]]:
    from urllib.parse import urlencode

    answer = call(f"{cluster.prometheus_url}/api/v1/query?{urlencode({'query': promql})}", timeout_s=15)
    return list(answer.json()["data"]["result"]) if answer.ok else []
