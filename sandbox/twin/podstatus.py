"""Pod statuses as a kubelet writes them."""

from __future__ import annotations

from typing import Any

from sandbox.twin.kube import Manifest
from sandbox.twin.nodes import SimNode, stamp


class StatusBook:
    """The status of one pod; conditions keep the time of their last change."""

    def __init__(self, pod: Manifest, node: SimNode, pod_ip: str) -> None:
        self._containers = pod["spec"]["containers"]
        self._host = node.address
        self._pod_ip = pod_ip
        self._started = stamp()
        self._changed: dict[str, tuple[str, str]] = {}
        self.restarts = 0
        self.last_state: dict[str, Any] = {}

    def waiting(self, reason: str, message: str = "", *, phase: str = "Pending") -> Manifest:
        """Pulling, or backing off."""
        detail = {"reason": reason, **({"message": message} if message else {})}
        return self._status(phase, {"waiting": detail}, ready=False, started=False)

    def running(self, *, ready: bool) -> Manifest:
        return self._status("Running", {"running": {"startedAt": stamp()}}, ready=ready, started=ready)

    def crashed(self, code: int, message: str, reason: str) -> Manifest:
        """Exited; `reason` is what kubectl shows while it backs off."""
        ended = {"exitCode": code, "reason": "Error", "message": message, "startedAt": stamp(), "finishedAt": stamp()}
        self.last_state = {"terminated": ended}
        self.restarts += 1
        detail = {"reason": reason, "message": f"back-off restarting failed container: {message}"}
        return self._status("Running", {"waiting": detail}, ready=False, started=False)

    def _status(self, phase: str, state: dict[str, Any], *, ready: bool, started: bool) -> Manifest:
        has_address = phase == "Running"
        return {
            "status": {
                "phase": phase,
                "hostIP": self._host,
                "hostIPs": [{"ip": self._host}],
                "startTime": self._started,
                **({"podIP": self._pod_ip, "podIPs": [{"ip": self._pod_ip}]} if has_address else {}),
                "conditions": [
                    self._condition("PodReadyToStartContainers", True),
                    self._condition("Initialized", True),
                    self._condition("ContainersReady", ready),
                    self._condition("Ready", ready),
                    self._condition("PodScheduled", True),
                ],
                "containerStatuses": [
                    {
                        "name": container["name"],
                        "image": container["image"],
                        "imageID": f"sandbox://{container['image']}" if has_address else "",
                        "containerID": f"sandbox://{container['name']}" if has_address else "",
                        "ready": ready,
                        "started": started,
                        "restartCount": self.restarts,
                        "state": state,
                        "lastState": self.last_state,
                    }
                    for container in self._containers
                ],
            }
        }

    def _condition(self, kind: str, holds: bool) -> dict[str, Any]:
        status = "True" if holds else "False"
        if self._changed.get(kind, ("", ""))[0] != status:
            self._changed[kind] = (status, stamp())
        condition: dict[str, Any] = {
            "type": kind,
            "status": status,
            "lastTransitionTime": self._changed[kind][1],
            # A strategic merge keeps old fields unless they are named: null takes them away.
            "reason": None if holds else "ContainersNotReady",
            "message": None if holds else "containers with unready status",
        }
        return condition
