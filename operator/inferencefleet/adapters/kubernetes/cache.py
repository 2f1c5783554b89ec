"""A list+watch cache of one kind: what the API server holds, a moment ago, without asking again each tick."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass

from inferencefleet.adapters.kubernetes.client import Json, KubernetesClient
from inferencefleet.adapters.kubernetes.errors import ApiError, Gone
from inferencefleet.adapters.kubernetes.resources import Resource

log = logging.getLogger(__name__)

_Key = tuple[str, str]
"""Namespace and name."""

Projection = Callable[[Json], Json | None]
"""Keeps the part of an object that is read; None = the object is not worth keeping."""

Grouping = Callable[[Json], Hashable | None]
"""What an object belongs to; None = nothing."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time-outs of one watch, seconds."""

    stream_s: int = 290
    """The server ends a stream after this, so that load spreads over restarted API servers."""
    silence_s: float = 90.0
    """A stream without even a bookmark for this long is dead."""
    trust_s: float = 60.0
    """The cache is still believed for this long after the server was last heard."""
    backoff_min_s: float = 0.2
    backoff_max_s: float = 20.0


def without_managed_fields(item: Json) -> Json:
    """Half of every object is bookkeeping of field managers; nobody reads it here."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return {**item, "metadata": metadata}


class ResourceCache:
    """Holds the objects of one kind that match the selectors; keyed by namespace and name."""

    def __init__(
        self,
        client: KubernetesClient,
        resource: Resource,
        *,
        label_selector: str = "",
        field_selector: str = "",
        project: Projection = without_managed_fields,
        group: Grouping = lambda item: None,
        on_change: Callable[[], None] = lambda: None,
        timing: Timing | None = None,
        page_size: int = 500,
    ) -> None:
        self.resource = resource
        self.trouble = "not listed yet"
        """Why it is not in sync, in words; empty when it is."""
        self._client = client
        self._selectors = {"label_selector": label_selector, "field_selector": field_selector}
        self._project = project
        self._group = group
        self._on_change = on_change
        self._timing = timing or Timing()
        self._page_size = page_size
        self._items: dict[_Key, Json] = {}
        self._groups: dict[Hashable, dict[_Key, Json]] = {}
        self._resource_version = ""
        self._lost_at: float | None = None
        """When the stream broke (monotonic); None while it flows."""
        self._heard = asyncio.Event()
        self._failures = 0

    @property
    def synced(self) -> bool:
        """Listed, and the server was heard lately."""
        if not self._heard.is_set():
            return False
        return self._lost_at is None or time.monotonic() - self._lost_at < self._timing.trust_s

    async def wait_synced(self) -> None:
        await self._heard.wait()

    def get(self, namespace: str | None, name: str) -> Json | None:
        return self._items.get((namespace or "", name))

    def __iter__(self) -> Iterator[Json]:
        """In order of namespace and name."""
        return iter([self._items[key] for key in sorted(self._items)])

    def __len__(self) -> int:
        return len(self._items)

    def of(self, group: Hashable) -> list[Json]:
        """The objects of one group, in order of namespace and name: a tick must not walk over all for each fleet."""
        members = self._groups.get(group, {})
        return [members[key] for key in sorted(members)]

    def put(self, item: Json) -> None:
        """Our own write, as the server answered it: seen now rather than when the watch tells."""
        self._store(_key(item), self._project(item))

    def forget(self, namespace: str | None, name: str) -> None:
        self._store((namespace or "", name), None)

    async def run(self) -> None:
        """Keep the cache true until cancelled."""
        while True:
            try:
                if not self._resource_version:
                    await self._list()
                await self._follow()
                self._failures = 0
            except Gone:
                # History is compacted: only a new list tells what vanished meanwhile.
                self._resource_version = ""
            except ApiError as error:
                self._broke(error)
                await asyncio.sleep(self._backoff_s(error))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.exception("The watch of %s failed unexpectedly", self.resource.plural)
                self._resource_version = ""
                self._broke(error)
                await asyncio.sleep(self._backoff_s(None))

    async def _list(self) -> None:
        found: dict[_Key, Json] = {}
        token = ""
        while True:
            page = await self._client.list_page(
                self.resource, **self._selectors, limit=self._page_size, continue_token=token
            )
            for item in page.items:
                projected = self._project(self._typed(item))
                if projected is not None:
                    found[_key(item)] = projected
            token = page.continue_token
            if not token:
                break
        changed = found.keys() != self._items.keys() or any(
            not _same(item, self._items[key]) for key, item in found.items()
        )
        first = not self._heard.is_set()
        for key in self._items.keys() - found.keys():
            self._store(key, None)
        for key, item in found.items():
            self._store(key, item)
        self._resource_version = page.resource_version
        self._flows()
        if changed or first:
            self._on_change()

    async def _follow(self) -> None:
        stream = self._client.watch(
            self.resource,
            **self._selectors,
            resource_version=self._resource_version,
            timeout_s=self._timing.stream_s + random.randrange(30),
            silence_s=self._timing.silence_s,
        )
        async with contextlib.aclosing(stream) as events:  # type: ignore[type-var]
            async for kind, item in events:
                self._flows()
                self._resource_version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._take(kind, item)

    def _take(self, kind: str, item: Json) -> None:
        key = _key(item)
        before = self._items.get(key)
        after = None if kind == "DELETED" else self._project(item)
        self._store(key, after)
        if not _same(before, after):
            self._on_change()

    def _store(self, key: _Key, item: Json | None) -> None:
        """The one place where objects come in and go out: the groups follow."""
        before = self._items.pop(key, None)
        if before is not None and (group := self._group(before)) is not None:
            self._groups[group].pop(key, None)
            if not self._groups[group]:
                del self._groups[group]
        if item is not None:
            self._items[key] = item
            if (group := self._group(item)) is not None:
                self._groups.setdefault(group, {})[key] = item

    def _typed(self, item: Json) -> Json:
        """Items of a list of built-in kinds come without kind; events of a watch carry it."""
        return {"apiVersion": self.resource.api_version, "kind": self.resource.kind, **item}

    def _flows(self) -> None:
        self._lost_at = None
        self._failures = 0
        self.trouble = ""
        self._heard.set()

    def _broke(self, error: Exception) -> None:
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            log.warning("Lost the watch of %s: %s", self.resource.plural, error)
        self.trouble = str(error)

    def _backoff_s(self, error: ApiError | None) -> float:
        """Full jitter: a thousand operators must not come back in step after an outage."""
        self._failures += 1
        ceiling = min(self._timing.backoff_max_s, self._timing.backoff_min_s * 2.0**self._failures)
        asked = error.retry_after_s if error is not None and error.retry_after_s else 0.0
        return max(asked, random.uniform(self._timing.backoff_min_s, ceiling))


def _key(item: Json) -> _Key:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _same(before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> bool:
    """Equal but for the resource version."""
    if before is None or after is None:
        return before is after
    return _versionless(before) == _versionless(after)


def _versionless(item: Mapping[str, object]) -> dict[str, object]:
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return dict(item)
    return {**item, "metadata": {key: value for key, value in metadata.items() if key != "resourceVersion"}}
