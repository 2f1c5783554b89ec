"""A genuine Prometheus that scrapes what a test serves: real exposition files, as they are or with moved numbers."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from sandbox.toolchain import resolve
from sandbox.waiting import wait_until
from sandbox.web import call

SCRAPES = Path(__file__).parents[1] / "fixtures" / "vllm_metrics"
INTERVAL_S = 0.2


def scrape(name: str) -> str:
    """The real exposition whose file name starts like this; some were recorded without a final newline."""
    [path] = SCRAPES.glob(f"{name}*.txt")
    return path.read_text().rstrip("\n") + "\n"


def zeroed(text: str) -> str:
    """The same server before its first request: every series is there, every value is 0."""
    return re.sub(r"^([^#\n].*) \S+$", r"\1 0", text, flags=re.MULTILINE)


def with_value(text: str, metric: str, value: float | str, at_ms: int | None = None) -> str:
    """A variant made by hand: one metric with another value, and if wanted with a time of its own."""
    stamp = "" if at_ms is None else f" {at_ms}"
    changed, count = re.subn(
        rf"^({re.escape(metric)}(?:\{{.*\}})?) \S+$", rf"\g<1> {value}{stamp}", text, flags=re.MULTILINE
    )
    assert count, metric
    return changed


def without(text: str, metric: str) -> str:
    """A variant made by hand: a server that does not have this metric."""
    return re.sub(rf"^{re.escape(metric)}[{{ ].*\n", "", text, flags=re.MULTILINE)


@dataclass
class Engine:
    """One scrape target with the labels of a pod."""

    fleet: str
    pool: str
    text: str
    namespace: str = "prod"
    instance: str = ""
    scrapes: int = field(default=0)


class Engines:
    """Serves the expositions, each under its own path; texts can change while Prometheus scrapes."""

    def __init__(self) -> None:
        self.by_path: dict[str, Engine] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                engine = outer.by_path.get(self.path)
                body = engine.text.encode() if engine is not None else b""
                self.send_response(200 if body else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if engine is not None:
                    engine.scrapes += 1

            def log_message(self, format: str, *args: object) -> None:
                """Scrapes are no news."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def add(self, engine: Engine) -> Engine:
        self.by_path[f"/metrics/{len(self.by_path)}"] = engine
        return engine

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()

    def scrape_configs(self, extra_labels: Mapping[str, str]) -> list[dict[str, object]]:
        return [
            {
                "job_name": f"engine{path.replace('/', '-')}",
                "metrics_path": path,
                "static_configs": [
                    {
                        "targets": [self.address],
                        "labels": {
                            "namespace": engine.namespace,
                            "inferencefleet_io_fleet": engine.fleet,
                            "inferencefleet_io_pool": engine.pool,
                            "instance": engine.instance or f"{engine.fleet}{path}",
                            **extra_labels,
                        },
                    }
                ],
            }
            for path, engine in self.by_path.items()
        ]


@contextlib.contextmanager
def prometheus(folder: Path, engines: Engines, extra_labels: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a genuine Prometheus that scrapes these engines five times a second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    interval = f"{int(INTERVAL_S * 1000)}ms"
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": engines.scrape_configs(extra_labels or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        *resolve().prometheus,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    with (folder / "prometheus.log").open("wb") as log, engines.serving():
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: call(f"{url}/-/ready", timeout_s=2).ok, "Prometheus to be ready", timeout_s=60)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)
