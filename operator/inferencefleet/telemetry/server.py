"""`/metrics` and `/healthz`: the second fails when the loop stands still, so that the kubelet restarts it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from inferencefleet.telemetry.metrics import Telemetry


@dataclass(slots=True)
class TelemetryServer:
    """Serves until closed. `stall_s` is the age of the last tick after which /healthz answers 503."""

    telemetry: Telemetry
    host: str
    port: int
    stall_s: float
    _runner: web.AppRunner | None = None
    _started_s: float = 0.0

    async def start(self) -> int:
        """Listen; returns the port (useful when 0 was asked for)."""
        app = web.Application()
        app.add_routes([web.get("/metrics", self._metrics), web.get("/healthz", self._healthz)])
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
