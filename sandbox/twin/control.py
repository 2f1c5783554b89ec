"""The twin's own HTTP endpoint: its status for the terminal view, and levers for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from sandbox.scenario import TimelineEntry
from sandbox.twin.world import World

_LEVERS = {"/interrupt": "interrupt", "/stockout": "stockout", "/demand": "demand", "/fault": "fault"}


class Control:
    """`GET /status`; `POST /start`, `/finish`, `/write`; and every kind of timeline entry as a POST of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def open(self, port: int = 0) -> str:
        app = web.Application()
        app.router.add_get("/status", self._status)
        app.router.add_get("/healthz", self._healthz)
        for path, action in (
            ("/start", self._world.start),
            ("/finish", self._world.finish),
            ("/write", self._world.write),
        ):
            app.router.add_post(path, _plain(action))
        for path, field in _LEVERS.items():
            app.router.add_post(path, self._lever(field))
        for kind in ("crash", "hang", "freeze"):
            app.router.add_post(f"/{kind}", self._lever("fault", kind=kind))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{bound}"
        return self.url

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._world.status())

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._world.store.synced.is_set() else 503)

    def _lever(self, field: str, **fixed: Any) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                body = json.loads(await request.text() or "{}")
                entry = TimelineEntry.model_validate({"at": 0.0, field: {**body, **fixed}})
                hit = await self._world.perform(entry)
            except (ValueError, ValidationError) as error:
                return web.json_response({"error": str(error)}, status=400)
            return web.json_response({"hit": hit})

        return handle


def _plain(action: Callable[[], None]) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        action()
        return web.json_response({"done": True})

    return handle
