"""What phase a vLLM pod is in, since when, and what holds it there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inferencefleet.api.times import from_timestamp
from inferencefleet.domain.observation import Phase

STUCK_REASONS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Waiting reasons of the kubelet that do not go away by waiting."""

MANY_RESTARTS = 3
"""A container that died this often is failing, also in the seconds in which it runs again."""


@dataclass(frozen=True, slots=True)
class PodPhase:
    phase: Phase
    since_s: float
    message: str = ""


def derive_phase(pod: Mapping[str, Any]) -> PodPhase:
    """The phase of a pod from its own object alone."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    created = epoch(metadata.get("creationTimestamp"))
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    if metadata.get("deletionTimestamp"):
        return PodPhase(Phase.TERMINATING, _deleted_at(metadata))
    scheduled = conditions.get("PodScheduled", {})
    if status.get("phase") in ("Failed", "Succeeded"):
        return PodPhase(Phase.FAILED, _since(conditions.get("Ready"), created), _why_over(status))
    if not (pod.get("spec") or {}).get("nodeName"):
        return PodPhase(Phase.UNSCHEDULED, _since(scheduled, created), _words(scheduled))
    return _bound_phase(status, conditions, created)


def _bound_phase(status: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]], created: float) -> PodPhase:
    """It has a node: it serves, it is on its way, or it is stuck."""
    ready = conditions.get("Ready", {})
    if ready.get("status") == "True":
        return PodPhase(Phase.READY, _since(ready, created))
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    stuck = _stuck(containers)
    if stuck:
        return PodPhase(Phase.FAILED, _since(ready, created), stuck)
    bound_at = _since(conditions.get("PodScheduled"), created)
    if any(container.get("started") for container in containers):
        # It served before and its probe fails now: the clock starts where readiness was lost.
        return PodPhase(Phase.STARTING, max(bound_at, _since(ready, created)), _words(ready))
    return PodPhase(Phase.STARTING, bound_at, _waiting_words(containers))


def scheduled_at_s(pod: Mapping[str, Any]) -> float | None:
    """When the pod got its node; None while it has none."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "True":
            return epoch(condition.get("lastTransitionTime"))
    return None


def is_over(pod: Mapping[str, Any]) -> bool:
    """It ran its course: it holds no GPU, and its ReplicaSet has made another one."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def epoch(timestamp: str | None) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 when absent."""
    return from_timestamp(timestamp) if timestamp else 0.0


def _deleted_at(metadata: Mapping[str, Any]) -> float:
    """The API server sets deletionTimestamp to the moment when the grace ends."""
    return epoch(metadata["deletionTimestamp"]) - float(metadata.get("deletionGracePeriodSeconds") or 0)


def _since(condition: Mapping[str, Any] | None, otherwise: float) -> float:
    return epoch((condition or {}).get("lastTransitionTime")) or otherwise


def _words(condition: Mapping[str, Any]) -> str:
    return str(condition.get("message") or condition.get("reason") or "")


def _why_over(status: Mapping[str, Any]) -> str:
    """`OutOfnvidia.com/gpu: Node didn't have enough resource`, `NodeShutdown: ...`, or the exit of the container."""
    if status.get("reason"):
        return ": ".join(str(part) for part in (status["reason"], status.get("message")) if part)
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return f"{container.get('name')} ended with exit code {ended.get('exitCode')} ({ended.get('reason')})"
    return str(status.get("message") or status.get("phase") or "")


def _stuck(containers: Iterable[Mapping[str, Any]]) -> str:
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in STUCK_REASONS:
            return ": ".join(str(part) for part in (waiting["reason"], waiting.get("message")) if part)
        restarts = int(container.get("restartCount") or 0)
        ended = (container.get("lastState") or {}).get("terminated")
        if restarts >= MANY_RESTARTS and ended:
            return (
                f"{container.get('name')} restarted {restarts} times, last with exit code {ended.get('exitCode')} "
                f"({ended.get('reason')})"
            )
    return ""


def _waiting_words(containers: Iterable[Mapping[str, Any]]) -> str:
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return ": ".join(str(part) for part in (waiting["reason"], waiting.get("message")) if part)
    return ""
