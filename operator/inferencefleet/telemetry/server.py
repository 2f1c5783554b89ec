"""`/metrics`, `/healthz` and `/snapshot`.

`/healthz` fails when the loop stands still, so that the kubelet restarts it. `/snapshot` is what the latest plan was
made from; it is written out only when somebody asks.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from inferencefleet.api.snapshot_codec import redacted, snapshot_to_json
from inferencefleet.domain.snapshot import Snapshot
from inferencefleet.telemetry.metrics import Telemetry


@dataclass(slots=True)
class TelemetryServer:
    """Serves until closed. `stall_s` is the age of the last tick after which /healthz answers 503."""

    telemetry: Telemetry
    host: str
    port: int
    stall_s: float
    snapshot: Callable[[], Snapshot | None] = lambda: None
    """The latest one; None before the first tick."""
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _runner: web.AppRunner | None = None
    _started_s: float = 0.0

    async def start(self) -> int:
        """Listen; returns the port (useful when 0 was asked for)."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/snapshot", self._snapshot),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self._started_s = time.monotonic()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self.telemetry.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _healthz(self, _: web.Request) -> web.Response:
        last_s = self.telemetry.last_tick_s or self._started_s
        age_s = time.monotonic() - last_s
        text = f"last tick {age_s:.1f} s ago, stalled after {self.stall_s:.0f} s\n"
        return web.Response(text=text, status=503 if age_s > self.stall_s else 200)

    async def _snapshot(self, request: web.Request) -> web.Response:
        found = self.snapshot()
        if found is None:
            return web.Response(text="no tick is done yet; ask again in a few seconds\n", status=503)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        async with self._writing:  # one at a time: many who ask at once must not slow the loop down
            body = await asyncio.to_thread(_written, found, packed)
        headers = {"Content-Encoding": "gzip"} if packed else {}
        return web.Response(body=body, content_type="application/json", charset="utf-8", headers=headers)


def _written(snapshot: Snapshot, packed: bool) -> bytes:
    body = snapshot_to_json(redacted(snapshot)).encode()
    return gzip.compress(body, compresslevel=5) if packed else body
