"""/metrics, /healthz and /snapshot of the operator itself."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest

from inferencefleet.api.snapshot_codec import snapshot_from_json
from inferencefleet.domain.fleet import EngineTerms, FleetKey
from inferencefleet.domain.snapshot import Snapshot
from inferencefleet.telemetry.metrics import Telemetry
from inferencefleet.telemetry.server import TelemetryServer
from tests.builders import a_fleet, a_snapshot, a_state


@pytest.fixture
async def server() -> AsyncIterator[tuple[Telemetry, TelemetryServer, str]]:
    telemetry = Telemetry()
    served = TelemetryServer(telemetry=telemetry, host="127.0.0.1", port=0, stall_s=60.0)
    port = await served.start()
    yield telemetry, served, f"http://127.0.0.1:{port}"
    await served.close()


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_it_is_healthy_from_the_start_and_after_a_tick(server: tuple[Telemetry, TelemetryServer, str]) -> None:
    telemetry, _, url = server
    assert (await get(f"{url}/healthz"))[0] == 200
    with telemetry.tick():
        pass
    assert (await get(f"{url}/healthz"))[0] == 200


async def test_a_loop_that_stands_still_is_unhealthy(server: tuple[Telemetry, TelemetryServer, str]) -> None:
    telemetry, served, url = server
    with telemetry.tick():
        pass
    assert telemetry.last_tick_s is not None
    telemetry.last_tick_s -= 61
    status, text = await get(f"{url}/healthz")
    assert status == 503
    assert "stalled after 60 s" in text
    assert served.stall_s == 60


async def test_metrics_are_served_in_the_text_format(server: tuple[Telemetry, TelemetryServer, str]) -> None:
    telemetry, _, url = server
    telemetry.event_published("RampAhead")
    _, text = await get(f"{url}/metrics")
    assert 'inferencefleet_events_total{reason="RampAhead"} 1.0' in text
    assert "# HELP inferencefleet_tick_duration_seconds" in text


def test_a_tick_that_raises_is_not_counted_as_done() -> None:
    telemetry = Telemetry()

    def fail() -> None:
        with telemetry.tick():
            raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        fail()
    assert telemetry.last_tick_s is None


def test_two_operators_can_live_in_one_process() -> None:
    assert Telemetry().registry is not Telemetry().registry


async def test_the_snapshot_of_the_latest_tick_is_served_without_secrets_and_packed_when_asked() -> None:
    engine = EngineTerms(image="vllm/vllm-openai:v0.33.0", env=({"name": "HF_TOKEN", "value": "hf_leak"},))
    seen: list[Snapshot] = []
    served = TelemetryServer(
        Telemetry(), "127.0.0.1", 0, stall_s=60.0, snapshot=lambda: seen[-1] if seen else None
    )  # fmt: skip
    url = f"http://127.0.0.1:{await served.start()}/snapshot"
    try:
        assert (await get(url))[0] == 503, "before the first tick there is none"
        seen.append(a_snapshot(a_state(a_fleet(engine=engine))))
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            async with session.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.headers["Content-Encoding"] == "gzip"
                text = gzip.decompress(await answer.read()).decode()
            async with session.get(url, headers={"Accept-Encoding": "identity"}) as answer:
                assert "Content-Encoding" not in answer.headers
                assert await answer.text() == text
        assert "hf_leak" not in text
        assert snapshot_from_json(text).fleets[0].fleet.key == FleetKey("default", "chat")
    finally:
        await served.close()
