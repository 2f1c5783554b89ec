"""The Kubernetes API as JSON over HTTPS: a twin of hundreds of pods needs few verbs and no object models."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Manifest = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Gone(Exception):
    """The watch is too far behind: list again."""


class Kube:
    """Use as an async context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = next(each["context"] for each in config["contexts"] if each["name"] == config["current-context"])
        cluster = next(each["cluster"] for each in config["clusters"] if each["name"] == context["cluster"])
        user = next(each["user"] for each in config["users"] if each["name"] == context["user"])
        self._server = str(cluster["server"]).rstrip("/")
        self._tls = _tls(cluster, user)
        self._headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Kube:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=32)
        # No total time-out: watches live long. Every other call passes its own.
        timeout = aiohttp.ClientTimeout(total=None, connect=10)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        patience_s: float = 120.0,
    ) -> Manifest:
        """Overload and a restarting API server are waited out; what the server says no to is raised."""
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                return await self._once(method, path, body, params, content_type)
            except ApiError as error:
                if (error.status < 500 and error.status != 429) or time.monotonic() > deadline_s:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                if time.monotonic() > deadline_s:
                    raise
            await asyncio.sleep(0.3)

    async def _once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, str] | None,
        content_type: str,
    ) -> Manifest:
        assert self._session is not None, "enter the client first"
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(
            method,
            self._server + path,
            data=data,
            params=params,
            headers={"Content-Type": content_type, "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=15),
        ) as response:
            text = await response.text()
            if response.status >= 400:
                raise ApiError(response.status, _message(text))
            return json.loads(text) if text else {}

    async def get(self, path: str, **params: str) -> Manifest:
        return await self.call("GET", path, params=params or None)

    async def create(self, path: str, body: Mapping[str, Any]) -> Manifest:
        return await self.call("POST", path, body)

    async def patch(
        self, path: str, body: Mapping[str, Any], content_type: str = STRATEGIC, *, patience_s: float = 120.0
    ) -> Manifest:
        return await self.call("PATCH", path, body, content_type=content_type, patience_s=patience_s)

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> bool:
        """Whether it was there."""
        try:
            await self.call("DELETE", path, body)
        except ApiError as error:
            if error.status in {404, 409}:
                return False
            raise
        return True

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[Manifest]:
        """Events after `resource_version` until the server ends the watch. Raises `Gone` when that is too old."""
        assert self._session is not None, "enter the client first"
        params = {
            "watch": "1",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "240",
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=300)
        async with self._session.get(self._server + path, params=params, timeout=timeout) as response:
            if response.status == 410:
                raise Gone
            if response.status >= 400:
                raise ApiError(response.status, _message(await response.text()))
            async for line in _lines(response.content):
                event: Manifest = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise Gone
                    raise ApiError(int(event["object"].get("code", 500)), str(event["object"].get("message")))
                yield event


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length (`readline` of the stream refuses long ones)."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text))
    except (ValueError, AttributeError):
        return text[:300]


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | bool:
    if not str(cluster["server"]).startswith("https"):
        return False
    authority = _bytes(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = _bytes(user, "client-certificate"), _bytes(user, "client-key")
    if certificate and key:
        # The ssl module reads client certificates from files only.
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _bytes(entry: Mapping[str, Any], name: str) -> bytes | None:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"])
    return Path(entry[name]).read_bytes() if name in entry else None
