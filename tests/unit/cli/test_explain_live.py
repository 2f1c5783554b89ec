"""`explain` against an API server: here a few lines of HTTP that answer as it does."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.runner import answer, refusal
from tests.unit.control.stage import Stage

FLEETS = "/apis/inferencefleet.io/v1alpha1/namespaces/{}/inferencefleets/{}"
POOLS = "/apis/inferencefleet.io/v1alpha1/gpupools"


class ApiServer(ThreadingHTTPServer):
    """Answers what `objects` holds by path, 404 for the rest, 403 for `forbidden`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.objects: dict[str, Any] = {}
        self.forbidden: set[str] = set()
        self.tokens: list[str | None] = []


class _Answer(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.tokens.append(self.headers.get("Authorization"))
        found = self.server.objects.get(path)
        if path in self.server.forbidden:
            code, found = 403, {"kind": "Status", "reason": "Forbidden", "message": "cannot list gpupools"}
        else:
            code = 404 if found is None else 200
        body = json.dumps(
            found or {"kind": "Status", "reason": "NotFound", "message": f"{path} not found"}, default=str
        )
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
async def objects() -> tuple[dict[str, Any], list[Any]]:
    """A fleet that the control loop has planned, and its pools."""
    stage = Stage()
    for _ in range(4):
        await stage.tick()
        stage.serve()
    return copy.deepcopy(dict(stage.reader.fleets[0])), list(stage.reader.pools)


@pytest.fixture
def server(
    objects: tuple[dict[str, Any], list[Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ApiServer]:
    server = ApiServer()
    fleet, pools = objects
    server.objects = {FLEETS.format("prod", "chat"): fleet, POOLS: {"kind": "GPUPoolList", "items": pools}}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "prod"}},
            {"name": "elsewhere", "context": {"cluster": "c", "user": "u"}},
        ],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_fleet_is_read_from_the_namespace_of_the_context(server: ApiServer) -> None:
    document = answer("explain", "chat")
    assert document["agrees"] is True
    assert document["source"] == "namespace prod"
    assert {replica["pool"] for replica in document["recomputed"]} == {"reserved", "spot"}
    assert set(server.tokens) == {"Bearer secret"}


def test_a_namespace_or_another_context_is_asked_when_it_is_named(server: ApiServer) -> None:
    assert "default/inferencefleets/chat not found" in refusal("explain", "chat", "--context", "elsewhere", exit_code=3)
    assert answer("explain", "chat", "--context", "elsewhere", "-n", "prod")["fleet"].endswith("/chat")
    assert "stage/inferencefleets/chat" in refusal("explain", "chat", "-n", "stage", exit_code=3)


def test_a_tenant_who_may_not_list_pools_still_gets_an_answer(server: ApiServer) -> None:
    server.forbidden.add(POOLS)
    assert answer("explain", "chat")["agrees"] is True


def test_a_fleet_that_may_not_be_read_says_what_to_ask_for(server: ApiServer) -> None:
    server.forbidden.add(FLEETS.format("prod", "chat"))
    assert "ask for get on inferencefleets" in refusal("explain", "chat", exit_code=3)


def test_a_context_that_is_not_there_is_named(server: ApiServer) -> None:
    assert "nope" in refusal("explain", "chat", "--context", "nope", exit_code=3)


@pytest.mark.parametrize("text", [b"clusters: {", b"\xff\xfe", b""], ids=["broken", "no text", "empty"])
def test_a_kubeconfig_that_is_none_is_refused_with_its_path(
    text: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "broken"
    path.write_bytes(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    says = refusal("explain", "chat", exit_code=3)
    assert f"the kubeconfig at {path} cannot be used" in says
    assert says.count("\n") == 1


def test_a_server_that_does_not_answer_is_told_from_a_fleet_that_is_missing(server: ApiServer) -> None:
    server.shutdown()
    server.server_close()
    assert "the cluster cannot be asked" in refusal("explain", "chat", exit_code=3)
