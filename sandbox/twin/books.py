"""What the fleet cost and looked like, second by second."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from sandbox.scenario import Scenario
from sandbox.twin.cloud import Cloud
from sandbox.twin.kubelet import Kubelet
from sandbox.twin.nodes import NodePhase


class Books:
    """Dollars by pool, and one row per second for `timeline.csv`."""

    def __init__(self, scenario: Scenario, cloud: Cloud, kubelet: Kubelet) -> None:
        self._cloud = cloud
        self._kubelet = kubelet
        self.dollars = {pool.name: 0.0 for pool in scenario.pools}
        self.rows: list[dict[str, Any]] = []

    def hourly(self) -> dict[str, float]:
        """Provisioned GPUs x price: from launch to removal; a reservation costs the same used or not."""
        costs = {}
        for name, pool in self._cloud.pools.items():
            nodes = pool.max_nodes if pool.capacity_type == "reserved" else len(self._cloud.nodes_of(name))
            costs[name] = nodes * pool.gpus_per_node * pool.price_per_gpu_hour
        return costs

    def charge(self, seconds: float) -> None:
        for name, hourly in self.hourly().items():
            self.dollars[name] += hourly * seconds / 3600

    def pools(self) -> dict[str, dict[str, Any]]:
        view: dict[str, dict[str, Any]] = {}
        for name, pool in self._cloud.pools.items():
            nodes = self._cloud.nodes_of(name)
            runs = [run for run in self._kubelet.runs.values() if run.node.pool.name == name]
            view[name] = {
                "capacityType": pool.capacity_type,
                "pricePerGpuHour": pool.price_per_gpu_hour,
                "gpusPerNode": pool.gpus_per_node,
                "nodes": sum(node.phase is not NodePhase.COMING for node in nodes),
                "nodesComing": sum(node.phase is NodePhase.COMING for node in nodes),
                "nodesDoomed": sum(node.phase is NodePhase.DOOMED for node in nodes),
                "gpus": sum(node.gpus for node in nodes if node.phase is not NodePhase.COMING),
                "ready": sum(run.phase == "Ready" for run in runs),
                "starting": sum(run.phase in {"Pulling", "Loading"} for run in runs),
                "backingOff": sum(run.phase == "BackOff" for run in runs),
                "terminating": sum(run.phase == "Terminating" for run in runs),
                "doomed": sum(run.node.phase is NodePhase.DOOMED for run in runs),
                "dollars": self.dollars[name],
                "hourly": self.hourly()[name],
            }
        return view

    def replicas(self) -> list[dict[str, Any]]:
        rows = []
        for uid, run in self._kubelet.runs.items():
            meta, replica = run.pod["metadata"], run.replica
            engine = replica.engine if replica is not None else None
            rows.append(
                {
                    "uid": uid,
                    "namespace": meta["namespace"],
                    "name": meta["name"],
                    "pool": run.node.pool.name,
                    "node": run.node.name,
                    "phase": run.phase,
                    "doomed": run.node.phase is NodePhase.DOOMED,
                    "restarts": run.book.restarts,
                    "address": f"127.0.0.1:{replica.port}" if replica is not None else None,
                    "running": len(engine.running) if engine else 0,
                    "waiting": len(engine.waiting) if engine else 0,
                    "kvUsage": engine.kv.usage if engine else 0.0,
                    "generatedTokens": engine.metrics.generation_tokens if engine else 0,
                    "preemptions": engine.metrics.preemptions if engine else 0,
                }
            )
        return rows

    def add_row(self, head: dict[str, Any]) -> None:
        engines = [run.replica.engine for run in self._kubelet.runs.values() if run.replica is not None]
        usages = [engine.kv.usage for engine in engines]
        row = {
            **head,
            "running": sum(len(engine.running) for engine in engines),
            "waiting": sum(len(engine.waiting) for engine in engines),
            "kv_mean": sum(usages) / len(usages) if usages else 0.0,
            "kv_max": max(usages, default=0.0),
            "dollars_per_hour": sum(self.hourly().values()),
            "dollars": sum(self.dollars.values()),
        }
        for name, pool in self.pools().items():
            for key in ("ready", "starting", "terminating", "doomed", "gpus", "nodesComing"):
                row[f"{key}:{name}"] = pool[key]
        self.rows.append(row)

    def write(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]) if self.rows else ["t_s"])
            writer.writeheader()
            for row in self.rows:
                writer.writerow({key: round(v, 5) if isinstance(v, float) else v for key, v in row.items()})
