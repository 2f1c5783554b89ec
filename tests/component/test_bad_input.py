"""Bad input is refused in words that help, by the API server or within a tick, and hurts nobody else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.errors import CommandError
from tests.component.stage import API, POOLS, RESERVED, SOON_S, Json, Stage, fleet

pytestmark = pytest.mark.cluster


@dataclass(frozen=True)
class Bad:
    """A fleet that the schema cannot refuse, and what is said of it."""

    name: str
    spec: Json
    reason: str
    says: tuple[str, ...]


BAD = (
    Bad(
        "unknown-model",
        {"model": {"id": "acme/unheard-of-7b"}},
        "UnknownModel",
        ("spec.model.id", "acme/unheard-of-7b", "spec.model.architecture"),
    ),
    Bad(
        "too-large",
        {"model": {"id": "meta-llama/Llama-3.1-405B-Instruct"}},
        "ModelDoesNotFit",
        ("spec.model.id", "meta-llama/Llama-3.1-405B-Instruct", "GiB", "fit"),
    ),
    Bad(
        "too-fast",
        {"slo": [{"metric": "itl", "percentile": 95, "target": "1ms"}]},
        "SLOUnreachable",
        ("spec.slo", "itl p95 <= 1ms", "cannot be met: one request alone already has itl p95 = ", "at least "),
    ),
    Bad(
        "unknown-pool",
        {"placement": {"pools": ["h100-on-the-moon"]}},
        "UnknownPool",
        ("spec.placement.pools", "h100-on-the-moon", "those that exist: ", RESERVED, "correct the name"),
    ),
    Bad(
        "empty-pool",
        {"placement": {"pools": ["nothing-left"]}},
        "PoolLimit",
        ("gpupool/nothing-left spec.limits.gpus", "'0'", "raise it or choose another pool"),
    ),
)


def test_the_api_server_refuses_what_the_schema_can_tell(stage: Stage) -> None:
    """One for each kind of rule; every rule is in the contract tests."""
    for changed, words in (
        ({"scaling": {"minReplicas": 9, "maxReplicas": 3}}, "minReplicas is 9, above maxReplicas, 3"),
        ({"slo": [{"metric": "ttft", "percentile": 94, "target": "2s"}]}, "Unsupported value: 94"),
    ):
        with pytest.raises(CommandError) as refused:
            stage.apply(fleet(spec=changed))
        assert words in str(refused.value)


def test_bad_fleets_are_told_within_a_tick_and_leave_others_alone(stage: Stage) -> None:
    empty: Json = {**POOLS[1], "metadata": {"name": "nothing-left"}}
    empty["spec"] = {**empty["spec"], "limits": {"gpus": 0}}
    stage.apply(empty)
    stage.apply(fleet("healthy", least=2))
    stage.until_ready(2, "healthy")
    before = [each["metadata"]["resourceVersion"] for each in stage.items("Deployment")]
    try:
        for bad in BAD:
            stage.apply(fleet(bad.name, spec=bad.spec))
        for bad in BAD:
            stalled = stage.until_condition("Stalled", "True", bad.reason, name=bad.name, timeout_s=SOON_S)
            told = stage.until_event(bad.reason, name=bad.name)
            for words in bad.says:
                assert words in stalled["message"]
                assert words in told
            assert stage.condition("Ready", bad.name)["status"] == "False"
            assert stage.columns(bad.name)["REASON"] == bad.reason
            assert bad.reason in stage.kubectl("describe", "ifleet", bad.name)
        stage.until_ticks(3)
        assert len(stage.items("Deployment")) == len(before), "nothing was made for them"
        assert [each["metadata"]["resourceVersion"] for each in stage.items("Deployment")] == before
        assert len(stage.ready(name="healthy")) == 2
    finally:
        stage.cluster.kubectl("delete", "gpool", "nothing-left")


def test_a_running_fleet_keeps_its_replicas_when_its_spec_turns_bad_and_goes_on_when_corrected(stage: Stage) -> None:
    stage.apply(fleet(least=3))
    stage.until_ready(3)
    pods = names(stage.pods())
    for model, reason in (("acme/unheard-of-7b", "UnknownModel"), ("Qwen/Qwen3-32B", "SLOUnreachable")):
        slo = [{"metric": "itl", "percentile": 95, "target": "1ms" if reason == "SLOUnreachable" else "60ms"}]
        stage.patch("chat", {"model": {"id": model}, "slo": slo})
        stage.until_condition("Stalled", "True", reason, timeout_s=SOON_S)
        stage.until_event(reason, "Replicas stay as they are")
        stage.until_ticks(2)
        assert names(stage.ready()) == pods
        assert stage.desired() == {RESERVED: 3}
        columns = stage.columns()
        assert (columns["DESIRED"], columns["READY"], columns["REASON"]) == ("3", "3", reason)
    stage.apply(fleet(least=4))
    stage.until_event("SpecAccepted")
    stage.until_condition("Stalled", "False", timeout_s=SOON_S)
    stage.until_ready(4)
    assert pods <= names(stage.pods()), "the same pods went on serving"


def test_a_pool_that_cannot_be_read_is_told_and_its_replicas_stay(stage: Stage) -> None:
    stage.apply(fleet(least=2))
    stage.until_ready(2)
    good = stage.get(f"{API}/gpupools/{RESERVED}")["spec"]["gpu"]["type"]
    change(stage, {"gpu": {"type": "Z80"}})
    try:
        told = stage.until(
            lambda: (now := stage.pool_condition("Stalled", RESERVED)).get("status") == "True" and now, "told", SOON_S
        )
        assert "Z80" in told["message"]
        assert "closest: RTX-4090" in told["message"], "types that there are"
        stage.until(lambda: stage.pool_events(told["reason"], RESERVED) > 0, "an Event of the pool", SOON_S)
        stage.until_ticks(2)
        assert len(stage.ready(RESERVED)) == 2
    finally:
        change(stage, {"gpu": {"type": good}})
    stage.until(lambda: stage.pool_condition("Stalled", RESERVED).get("status") == "False", "accepted", SOON_S)
    stage.until(lambda: stage.desired() == {RESERVED: 2}, "all replicas are on reserved GPUs")


def change(stage: Stage, spec: dict[str, Any]) -> None:
    stage.cluster.kubectl("patch", "gpool", RESERVED, "--type=merge", "-p", json.dumps({"spec": spec}))


def names(pods: list[Json]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}
