"""`snapshot` against an API server that passes on what an operator answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inferencefleet.adapters.kubernetes.errors import Forbidden, NotFound
from inferencefleet.adapters.kubernetes.resources import SERVICES, Resource
from inferencefleet.api.snapshot_codec import snapshot_to_json
from inferencefleet.cli.snapshots import read_snapshot
from tests.builders import a_fleet, a_snapshot, a_state
from tests.unit.cli.runner import refusal, run
from tests.unit.control.stage import Stage


class Server:
    """Services by namespace and name, and what stands behind them."""

    def __init__(self) -> None:
        self.services: list[tuple[str, str]] = [("inferencefleet-system", "inferencefleet-metrics")]
        self.answer: Any = json.loads(snapshot_to_json(a_snapshot(a_state(a_fleet()))))
        self.asked: list[tuple[str, str, str, str]] = []
        self.selectors: list[str] = []

    async def list_page(self, resource: Resource, *, namespace: str | None, label_selector: str) -> Any:
        assert resource is SERVICES
        self.selectors.append(label_selector)
        items = [
            {"metadata": {"namespace": where, "name": name}}
            for where, name in self.services
            if namespace in (None, where)
        ]
        return type("Page", (), {"items": items})

    async def proxied(self, *where: str) -> Any:
        self.asked.append(where)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()

    async def connect(context: str | None) -> tuple[Server, str]:
        return server, "default"

    monkeypatch.setattr("inferencefleet.adapters.kubernetes.kubeconfig.connect_as_user", connect)
    return server


def test_the_operator_is_found_by_its_labels_and_asked_through_the_proxy(server: Server, tmp_path: Path) -> None:
    for name in ("snapshot.json", "snapshot.json.gz"):
        path = tmp_path / name
        result = run("snapshot", "-o", path)
        assert result.exit_code == 0, result.output
        assert read_snapshot(path).fleets[0].fleet.key.name == "chat"
    assert server.asked[0] == ("inferencefleet-system", "inferencefleet-metrics", "metrics", "snapshot")
    assert "app.kubernetes.io/component=operator" in server.selectors[0]
    assert (tmp_path / "snapshot.json.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_it_goes_to_standard_output_for_a_pipe(server: Server, tmp_path: Path) -> None:
    assert json.loads(run("snapshot").stdout) == server.answer


def test_a_named_service_is_not_looked_for(server: Server) -> None:
    assert run("snapshot", "-n", "ops", "--service", "fleet-metrics").exit_code == 0
    assert server.asked == [("ops", "fleet-metrics", "metrics", "snapshot")]
    assert server.selectors == []


def test_what_is_missing_is_told_with_a_way_out(server: Server) -> None:
    server.services.append(("other", "inferencefleet-metrics"))
    assert "found: inferencefleet-system/inferencefleet-metrics, other/" in refusal("snapshot", exit_code=3)
    server.services.clear()
    assert "found: none" in refusal("snapshot", exit_code=3)
    assert "--service: needs --namespace" in refusal("snapshot", "--service", "x")


def test_a_proxy_that_refuses_names_the_right_to_ask_for(server: Server) -> None:
    server.answer = Forbidden(403, "cannot get services/proxy")
    assert "get on services/proxy" in refusal("snapshot", exit_code=3)
    server.answer = NotFound(404, "services not found")
    assert "see kubectl get services -A" in refusal("snapshot", "-n", "a", "--service", "b")


def test_an_answer_that_is_no_snapshot_is_not_saved(server: Server, tmp_path: Path) -> None:
    server.answer = {"kind": "Status"}
    path = tmp_path / "snapshot.json"
    assert "cannot be used: format=None" in refusal("snapshot", "-o", path, exit_code=3)
    assert not path.exists()


async def test_the_loop_keeps_what_the_latest_plan_was_made_from() -> None:
    stage = Stage()
    assert stage.loop.last is None
    await stage.tick()
    assert stage.loop.last is not None
    assert stage.loop.last.at_s == stage.clock.at_s
