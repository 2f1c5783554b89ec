"""Composition root: settings -> adapters -> control loop + kopf + telemetry, supervised as one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time

import kopf

from inferencefleet.adapters.kubernetes.actuator import ServerSideActuator
from inferencefleet.adapters.kubernetes.client import connect
from inferencefleet.adapters.kubernetes.cluster import ClusterCache
from inferencefleet.adapters.kubernetes.events import KubernetesEventSink
from inferencefleet.adapters.kubernetes.reader import CachedFleetReader
from inferencefleet.adapters.kubernetes.status import CachedStatusWriter
from inferencefleet.adapters.prometheus.source import PrometheusMetricsSource
from inferencefleet.catalog import Catalogue, InvalidCatalogue
from inferencefleet.control.apply import Applier
from inferencefleet.control.gather import Gatherer
from inferencefleet.control.loop import ControlLoop
from inferencefleet.control.report import Reporter
from inferencefleet.domain.snapshot import PlannerSettings
from inferencefleet.handlers.ear import build_registry, build_settings
from inferencefleet.ports import ClusterUnavailable
from inferencefleet.settings import InvalidSettings, Settings, load_catalogue
from inferencefleet.telemetry.log import configure_logging
from inferencefleet.telemetry.metrics import Telemetry
from inferencefleet.telemetry.server import TelemetryServer

log = logging.getLogger("inferencefleet")

STALLED_PERIODS = 8
"""Periods without a completed tick after which /healthz fails."""


class SystemClock:
    def now(self) -> float:
        return time.time()


async def run(settings: Settings, catalogue: Catalogue, stop: asyncio.Event) -> None:
    """Run until `stop`; a part that dies takes the process down, and Kubernetes starts it afresh."""
    client = await connect(settings.kubeconfig or None)
    loop: ControlLoop | None = None

    def wake() -> None:
        if loop is not None:
            loop.wake()

    cluster = ClusterCache(client, on_change=wake)
    telemetry = Telemetry()
    metrics = PrometheusMetricsSource(
        settings.prometheus_url,
        window_s=settings.metrics_window_seconds,
        attainment_window_s=settings.attainment_window_seconds,
        max_age_s=settings.metrics_max_age_seconds,
    )
    loop = ControlLoop(
        clock=SystemClock(),
        gatherer=Gatherer(
            reader=CachedFleetReader(cluster),
            metrics=metrics,
            settings=PlannerSettings(
                period_s=settings.period_seconds,
                exhausted_backoff_s=settings.exhausted_backoff_seconds,
                starting_s=settings.starting_seconds,
            ),
            catalogue=catalogue,
        ),
        applier=Applier(ServerSideActuator(cluster)),
        reporter=Reporter(CachedStatusWriter(cluster), KubernetesEventSink(client), telemetry),
        telemetry=telemetry,
        period_s=settings.period_seconds,
    )
    ticking = loop
    server = TelemetryServer(
        telemetry,
        settings.metrics_host,
        settings.metrics_port,
        stall_s=STALLED_PERIODS * settings.period_seconds,
        snapshot=lambda: ticking.last,
    )
    port = await server.start()
    log.info("metrics and health on port %d", port)
    try:
        async with cluster:
            await cluster.wait_synced(timeout_s=60)
            await _until_stopped(loop, stop)
    finally:
        metrics.close()
        await server.close()
        await client.close()


async def _until_stopped(loop: ControlLoop, stop: asyncio.Event) -> None:
    # Our task is made before kopf's: kopf takes every later one for its own and cancels it (slowly) on exit.
    ticking = asyncio.create_task(loop.run(), name="control loop")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    ear_stop = asyncio.Event()
    listening = asyncio.create_task(
        kopf.operator(
            registry=build_registry(loop.wake),
            settings=build_settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=ear_stop,
        ),
        name="kopf",
    )
    done, _ = await asyncio.wait({ticking, stopping, listening}, return_when=asyncio.FIRST_COMPLETED)
    ticking.cancel()
    ear_stop.set()
    await asyncio.wait({ticking, listening}, timeout=5)
    stopping.cancel()
    for task in done - {stopping}:
        task.result()  # what killed the loop or the watch ends the process
    # kopf takes over the signal handlers: its clean end is how a SIGTERM usually arrives here.
    log.info("stopped on request")


def main() -> int:
    """Entry point of the container: settings from the environment, exit code 2 when they are wrong."""
    try:
        settings = Settings.from_env(os.environ)
        catalogue = load_catalogue(settings)
    except (InvalidSettings, InvalidCatalogue) as invalid:
        print(invalid, file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    if settings.kubeconfig:
        os.environ["KUBECONFIG"] = settings.kubeconfig  # kopf reads it from there

    async def supervised() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(settings, catalogue, stop)

    try:
        asyncio.run(supervised())
    except ClusterUnavailable as unavailable:
        log.critical("%s; are the CRDs installed, and may this ServiceAccount read them?", unavailable)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
