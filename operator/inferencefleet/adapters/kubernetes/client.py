"""A thin JSON client over the official asynchronous client: its connection and authentication, none of its models.

The models are strict and heavy, and they drop what they do not know; operators must pass unknown fields through.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from inferencefleet.adapters.kubernetes.errors import Unreachable, error_from, error_from_event
from inferencefleet.adapters.kubernetes.resources import SERVICES, Resource

FIELD_MANAGER = "inferencefleet"

Json = dict[str, Any]
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: list[Json]
    resource_version: str
    continue_token: str


class KubernetesClient:
    """Requests with plain JSON in and out; every request has a total time-out, every refusal is an `ApiError`."""

    def __init__(self, api: ApiClient, *, timeout_s: float = 15.0) -> None:
        self._api = api
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(5.0, timeout_s))

    async def close(self) -> None:
        await self._api.close()
        await asyncio.sleep(0)  # the transports are told of their end in the next turn of the event loop

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Json:
        return await self._json("GET", resource.path(namespace, name))

    async def proxied(self, namespace: str, service: str, port: str, path: str) -> Json:
        """What a Service answers through the API server, for callers outside. Needs get on services/proxy."""
        return await self._json("GET", f"{SERVICES.path(namespace, f'{service}:{port}', 'proxy')}/{path}")

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
    ) -> Page:
        query = _query(
            labelSelector=label_selector, fieldSelector=field_selector, limit=str(limit), **{"continue": continue_token}
        )
        found = await self._json("GET", resource.path(namespace), query=query)
        metadata = found.get("metadata") or {}
        return Page(
            items=found.get("items") or [],
            resource_version=metadata.get("resourceVersion", ""),
            continue_token=metadata.get("continue") or "",
        )

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int = 290,
        silence_s: float = 90.0,
    ) -> AsyncIterator[tuple[str, Json]]:
        """Event type and object, bookmarks included, until the server ends the stream after `timeout_s`.

        The server sends a bookmark about once a minute, so a stream that is silent for `silence_s` is dead: it ends
        with `Unreachable`, where a half-open connection would wait for ever.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=str(timeout_s),
        )
        timeout = aiohttp.ClientTimeout(total=timeout_s + 60, connect=5.0, sock_read=silence_s)
        try:
            response = await self._send("GET", resource.path(), query=query, timeout=timeout)
            stream: aiohttp.ClientResponse = response.response
            try:
                if response.status >= 400:
                    raise error_from(response.status, await stream.read(), stream.headers.get("Retry-After"))
                async for line in stream.content:
                    if not line.strip():
                        continue
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise error_from_event(event["object"])
                    yield event["type"], event["object"]
            finally:
                _cut(stream)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(0, f"watch of {resource.plural} broke: {_words(error)}") from error

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        body: Json,
        *,
        force: bool = True,
        subresource: str | None = None,
    ) -> Json:
        """Server-side apply: the fields in `body`, and no others, are ours."""
        query = _query(fieldManager=FIELD_MANAGER, force="true" if force else "false")
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        return await self._json("PATCH", path, query=query, body=body, content_type=_APPLY_PATCH)

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Json:
        query = _query(fieldManager=FIELD_MANAGER)
        path = resource.path(namespace, name, subresource)
        return await self._json("PATCH", path, query=query, body=dict(patch), content_type=_MERGE_PATCH)

    async def create(self, resource: Resource, namespace: str | None, body: Json) -> Json:
        query = _query(fieldManager=FIELD_MANAGER)
        return await self._json("POST", resource.path(namespace), query=query, body=body, content_type=_JSON)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> Json:
        """Delete exactly the object with this uid; dependents go in the background."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        body["propagationPolicy"] = "Background"
        return await self._json("DELETE", resource.path(namespace, name), body=body, content_type=_JSON)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Json | None = None,
        content_type: str = _JSON,
    ) -> Json:
        try:
            response = await self._send(
                method, path, query=query, body=body, content_type=content_type, timeout=self._timeout
            )
            data: bytes = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(0, f"{method} {path}: {_words(error)}") from error
        if response.status >= 400:
            raise error_from(response.status, data, response.headers.get("Retry-After"))
        parsed: Json = json.loads(data)
        return parsed

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None,
        timeout: aiohttp.ClientTimeout,
        body: Json | None = None,
        content_type: str = _JSON,
    ) -> Any:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        serialized = await self._api.param_serialize(
            method, path, query_params=query or [], header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        return await self._api.call_api(*serialized, _request_timeout=timeout)


async def connect(kubeconfig: str | None = None, *, timeout_s: float = 15.0) -> KubernetesClient:
    """A client from, in this order: the argument, INFERENCEFLEET_KUBECONFIG, the pod's ServiceAccount, KUBECONFIG."""
    configuration = Configuration()
    path = kubeconfig or os.environ.get("INFERENCEFLEET_KUBECONFIG")
    if path is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        await asyncio.to_thread(kubernetes_config.load_incluster_config, configuration)
    else:
        path = path or os.environ.get("KUBECONFIG")
        await kubernetes_config.load_kube_config(config_file=path, client_configuration=configuration)
    api = ApiClient(configuration)
    api.user_agent = "inferencefleet"
    return KubernetesClient(api, timeout_s=timeout_s)


def _cut(stream: aiohttp.ClientResponse) -> None:
    """Drop the connection of a stream that is left early: a polite TLS farewell would wait for the peer."""
    if stream.connection is not None and stream.connection.transport is not None:
        stream.connection.transport.abort()
    stream.close()


def _query(**parameters: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in parameters.items() if value]


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
