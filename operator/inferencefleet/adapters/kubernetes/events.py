"""EventSink: core/v1 Events, where a repeated message raises a count instead of making another object."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from inferencefleet.adapters.kubernetes.client import Json, KubernetesClient
from inferencefleet.adapters.kubernetes.errors import ApiError, NotFound
from inferencefleet.adapters.kubernetes.resources import EVENTS, FLEETS
from inferencefleet.ports import Event

log = logging.getLogger(__name__)

COMPONENT = "inferencefleet"
_MESSAGE_LIMIT = 1024
"""The API server refuses longer messages."""

_Identity = tuple[str, str, str]


@dataclass(slots=True)
class _Posted:
    namespace: str
    name: str
    count: int
    at_s: float


class KubernetesEventSink:
    """Events are for people: one that cannot be posted is logged and forgotten, it never stops the loop."""

    def __init__(
        self,
        client: KubernetesClient,
        *,
        repeat_within_s: float = 600.0,
        remember: int = 2048,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._repeat_within_s = repeat_within_s
        self._remember = remember
        self._now = now
        self._posted: OrderedDict[_Identity, _Posted] = OrderedDict()

    async def publish(self, event: Event) -> None:
        identity = (event.uid, event.reason, event.message)
        now_s = self._now()
        try:
            known = self._posted.get(identity)
            if known is not None and now_s - known.at_s < self._repeat_within_s:
                try:
                    await self._count_up(known, now_s)
                    return
                except NotFound:  # it expired, or somebody tidied up
                    del self._posted[identity]
            await self._post(identity, event, now_s)
        except ApiError as error:
            log.warning("Event %s of %s %s was not posted: %s", event.reason, event.kind, event.name, error)

    async def _count_up(self, known: _Posted, now_s: float) -> None:
        known.count += 1
        patch = {"count": known.count, "lastTimestamp": _stamp(now_s)}
        await self._client.merge_patch(EVENTS, known.namespace, known.name, patch)

    async def _post(self, identity: _Identity, event: Event, now_s: float) -> None:
        body = event_body(event, now_s)
        metadata = body["metadata"]
        await self._client.create(EVENTS, metadata["namespace"], body)
        self._posted[identity] = _Posted(metadata["namespace"], metadata["name"], 1, now_s)
        self._posted.move_to_end(identity)
        while len(self._posted) > self._remember:
            self._posted.popitem(last=False)


def event_body(event: Event, now_s: float) -> Json:
    """Named like the recorder of Kubernetes names them: the object and the time."""
    involved = {
        "apiVersion": FLEETS.api_version,
        "kind": event.kind,
        "name": event.name,
        "uid": event.uid,
    }
    if event.namespace:
        involved["namespace"] = event.namespace
    message = event.message
    if len(message) > _MESSAGE_LIMIT:
        message = message[: _MESSAGE_LIMIT - 3] + "..."
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # Events of cluster-scoped objects live in the default namespace, where kubectl describe looks for them.
        "metadata": {"name": f"{event.name}.{time.time_ns():x}", "namespace": event.namespace or "default"},
        "involvedObject": involved,
        "type": event.type,
        "reason": event.reason,
        "message": message,
        "count": 1,
        "firstTimestamp": _stamp(now_s),
        "lastTimestamp": _stamp(now_s),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }


def _stamp(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
