"""Events, as the cloud's controllers and kubelets publish them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from itertools import count
from typing import Any

import aiohttp

from sandbox.twin.kube import ApiError, Kube, Manifest
from sandbox.twin.nodes import stamp

_log = logging.getLogger(__name__)


class Voice:
    """Publishes without making anyone wait; an event that cannot be delivered is dropped, as in the real ones."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._numbers = count(1)
        self._said: dict[tuple[str, str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def about_pod(
        self,
        pod: Manifest,
        kind: str,
        reason: str,
        message: str,
        *,
        source: str = "karpenter",
        repeat_after_s: float = 0.0,
    ) -> None:
        meta = pod["metadata"]
        target = {"kind": "Pod", "apiVersion": "v1", "namespace": meta["namespace"], "name": meta["name"]}
        self._say(target | {"uid": meta["uid"]}, meta["namespace"], kind, reason, message, source, repeat_after_s)

    def about_node(self, name: str, kind: str, reason: str, message: str, *, source: str = "karpenter") -> None:
        # Node events carry the name as uid and live in `default`, as kubelets write them.
        target = {"kind": "Node", "apiVersion": "v1", "name": name, "uid": name}
        self._say(target, "default", kind, reason, message, source, 0.0)

    def _say(
        self,
        target: Mapping[str, str],
        namespace: str,
        kind: str,
        reason: str,
        message: str,
        source: str,
        repeat_after_s: float,
    ) -> None:
        key = (target["uid"], reason, message)
        now_s = time.time()
        if repeat_after_s and now_s - self._said.get(key, 0.0) < repeat_after_s:
            return
        self._said[key] = now_s
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{target['name']}.{int(now_s * 1000):x}.{next(self._numbers):x}",
                "namespace": namespace,
            },
            "involvedObject": dict(target),
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": source},
            "firstTimestamp": stamp(),
            "lastTimestamp": stamp(),
            "count": 1,
        }
        task = asyncio.ensure_future(self._publish(namespace, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, namespace: str, event: Mapping[str, Any]) -> None:
        try:
            await self._kube.create(f"/api/v1/namespaces/{namespace}/events", event)
        except (TimeoutError, ApiError, aiohttp.ClientError) as error:
            _log.info("event %s was not published: %s", event["reason"], error)
