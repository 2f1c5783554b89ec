"""A Prometheus that hangs, refuses or talks nonsense gives a gap with its reason, in time."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from inferencefleet.adapters.prometheus.source import PrometheusMetricsSource
from inferencefleet.domain.observation import MetricsGap
from tests.fakes.worlds import a_fleet

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]


class Server:
    """A server on the loopback that answers as a test says."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: (200, b'{"data":{"result":[]}}')
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = outer.answer(self)
                with contextlib.suppress(OSError):  # who lost patience has hung up
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.released.set()
    made.http.shutdown()
    thread.join()
    made.http.server_close()


async def gap_of(source: PrometheusMetricsSource) -> MetricsGap:
    fleet = a_fleet()
    found = (await source.read([fleet]))[fleet.key]
    source.close()
    assert isinstance(found, MetricsGap)
    return found


async def test_a_server_that_never_answers_costs_no_more_than_the_time_out(server: Server) -> None:
    def hang(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        server.released.wait(20)
        return 500, b""

    server.answer = hang
    started = time.monotonic()
    gap = await gap_of(PrometheusMetricsSource(server.url, timeout_s=0.3))
    assert time.monotonic() - started < 3
    assert gap.code == "PrometheusUnreachable"
    assert "timed out" in gap.sentence
    assert server.url in gap.sentence


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b"Service Unavailable", "503"),
        (401, b"who are you", "who are you"),
        (422, json.dumps({"error": "query processing would load too many samples"}).encode(), "too many samples"),
        (200, b"<html>a login page</html>", "cannot be queried"),
        (200, b'{"data":{}}', "cannot be queried"),
        (200, b'{"data":{"result":"scalar"}}', "unexpected answer"),
    ],
)
async def test_whatever_else_it_says_is_told(server: Server, status: int, body: bytes, words: str) -> None:
    server.answer = lambda request: (status, body)
    gap = await gap_of(PrometheusMetricsSource(server.url, timeout_s=2))
    assert gap.code == "PrometheusUnreachable"
    assert words in gap.sentence


async def test_a_refused_long_window_does_not_cost_the_short_one(server: Server) -> None:
    def short_only(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        return (422, b"too many samples") if "3600s" in request.path else (200, b'{"data":{"result":[]}}')

    server.answer = short_only
    assert (await gap_of(PrometheusMetricsSource(server.url, timeout_s=2))).code == "NoSamples"


async def test_the_bearer_token_is_read_again_for_every_round_and_never_shown(server: Server, tmp_path: Path) -> None:
    seen: set[str | None] = set()

    def note(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        seen.add(request.headers.get("Authorization"))
        return 403, b"no"

    server.answer = note
    token = tmp_path / "token"
    source = PrometheusMetricsSource(server.url, bearer_token_file=token, timeout_s=2)
    fleet = a_fleet()
    for secret in ("first", "second"):
        token.write_text(f"{secret}\n")
        gap = (await source.read([fleet]))[fleet.key]
        assert isinstance(gap, MetricsGap)
        assert secret not in gap.sentence
    assert seen == {"Bearer first", "Bearer second"}
    token.unlink()
    gap = await gap_of(source)
    assert "bearer token file" in gap.sentence


async def test_no_fleets_no_queries(server: Server) -> None:
    asked: list[str] = []

    def note(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        asked.append(request.path)
        return 200, b"{}"

    server.answer = note
    source = PrometheusMetricsSource(server.url)
    assert await source.read([]) == {}
    source.close()
    assert asked == []
