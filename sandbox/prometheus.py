"""The configuration of the sandbox's Prometheus: what a PodMonitor would give on a real cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FLEET_LABEL = "inferencefleet.io/fleet"
POOL_LABEL = "inferencefleet.io/pool"
ADDRESS_ANNOTATION = "sandbox.inferencefleet.io/metrics-address"
PODS_JOB = "inferencefleet-pods"
OPERATOR_JOB = "inferencefleet-operator"


def meta(kind: str, key: str, *, present: bool = False) -> str:
    """Prometheus' name for a pod label or annotation: every character it does not allow becomes `_`."""
    safe = "".join(each if each.isalnum() else "_" for each in key)
    return f"__meta_kubernetes_pod_{kind}{'present' if present else ''}_{safe}"


def configuration(*, kubeconfig: Path, scrape_interval_s: float, operator_metrics: str | None = None) -> dict[str, Any]:
    """The document for prometheus.yml."""
    interval = f"{round(scrape_interval_s * 1000)}ms"
    scrapes: list[dict[str, Any]] = [
        {
            "job_name": PODS_JOB,
            "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(kubeconfig)}],
            "metrics_path": "/metrics",
            "relabel_configs": _pod_relabelling(),
        }
    ]
    if operator_metrics is not None:
        scrapes.append({"job_name": OPERATOR_JOB, "static_configs": [{"targets": [operator_metrics]}]})
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": scrapes,
    }


def write_configuration(path: Path, document: dict[str, Any]) -> None:
    """Atomically: Prometheus may read the file at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump(document, sort_keys=False))
    fresh.replace(path)


def _pod_relabelling() -> list[dict[str, Any]]:
    def keep(source: str, pattern: str) -> dict[str, Any]:
        return {"action": "keep", "source_labels": [source], "regex": pattern}

    def copy(source: str, target: str) -> dict[str, Any]:
        return {"source_labels": [source], "target_label": target}

    fleet, pool = meta("label", FLEET_LABEL), meta("label", POOL_LABEL)
    address = meta("annotation", ADDRESS_ANNOTATION)
    return [
        keep(fleet, ".+"),
        # Pending pods have no engine yet, finished ones no longer: both would be false `up == 0`.
        keep("__meta_kubernetes_pod_phase", "Running"),
        # Pod addresses of a simulated node lead nowhere; the twin says on which loopback port the engine is.
        keep(address, r"127\.0\.0\.1:\d+"),
        copy(address, "__address__"),
        copy("__meta_kubernetes_namespace", "namespace"),
        copy("__meta_kubernetes_pod_name", "pod"),
        copy("__meta_kubernetes_pod_node_name", "node"),
        # The names a PodMonitor gives with `podTargetLabels`: the label's name, sanitised.
        copy(fleet, "inferencefleet_io_fleet"),
        copy(pool, "inferencefleet_io_pool"),
        # A PodMonitor's job is "<namespace>/<its name>", and ours is named after the fleet.
        {
            "source_labels": ["__meta_kubernetes_namespace", fleet],
            "separator": "/",
            "target_label": "job",
        },
    ]
