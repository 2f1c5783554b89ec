"""`what-if` and its changes: what is observed and remembered moves with what is declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferencefleet.api.snapshot_codec import snapshot_to_json
from inferencefleet.api.typed_encode import encode
from inferencefleet.cli.whatif import changes
from inferencefleet.cli.whatif.traffic import at_rates, with_longer_prompts, without_lessons
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import FleetMetrics
from inferencefleet.domain.plan import Plan
from inferencefleet.domain.pool import CapacityType
from inferencefleet.domain.snapshot import Snapshot
from inferencefleet.planning.plan import plan
from tests.builders import a_histogram, a_pool
from tests.unit.cli.runner import answer, refusal, run
from tests.unit.planning.world import World, a_tp2_fleet

CHAT = FleetKey("default", "chat")
CODE = FleetKey("default", "code")


def a_world(chat: float = 14.0, code: float = 5.0) -> Snapshot:
    """Two fleets on a reserved, a spot and an on-demand pool, settled; lengths are observed."""
    world = World(
        fleets=[a_tp2_fleet("chat"), a_tp2_fleet("code")],
        pools=[
            a_pool("on-demand", CapacityType.ON_DEMAND),
            a_pool("reserved"),
            a_pool("spot", CapacityType.SPOT),
        ],
        offered={"chat": chat, "code": code},
    )
    world.settle(20)
    return world.snapshot()


@pytest.fixture(scope="module")
def settled() -> Snapshot:
    return a_world()


@pytest.fixture
def saved(settled: Snapshot, tmp_path: Path) -> Path:
    path = tmp_path / "snapshot.json"
    path.write_text(snapshot_to_json(settled))
    return path


def of(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(fleet for fleet in document["fleets"] if fleet["fleet"] == f"default/{name}")


def test_doubled_traffic_wants_what_a_world_with_that_traffic_wants(settled: Snapshot) -> None:
    scaled = plan(at_rates({CHAT: 2.0, CODE: 2.0})(settled))
    true = plan(a_world(chat=28.0, code=10.0))
    assert [fleet.key for fleet in scaled.fleets] == [CHAT, CODE]
    for of_scaled, of_true in zip(scaled.fleets, true.fleets, strict=True):
        assert of_scaled.forecast is not None
        assert of_true.forecast is not None
        assert of_scaled.demand is not None
        assert of_scaled.demand.arrivals_per_s == pytest.approx(of_true.forecast.level_per_s)
        assert of_scaled.forecast.upper_per_s == pytest.approx(of_true.forecast.upper_per_s, rel=0.1)
        assert sum(pool.placed for pool in of_scaled.pools) == sum(pool.placed for pool in of_true.pools)


def test_a_rate_changes_memory_too_so_that_no_forecast_sees_a_jump(settled: Snapshot) -> None:
    changed = at_rates({CHAT: 3.0})(settled)
    for before, after in zip(settled.memory[CHAT].arrivals, changed.memory[CHAT].arrivals, strict=True):
        assert after == (before[0], pytest.approx(3 * before[1]))
    [decided, _] = plan(changed).fleets
    assert decided.forecast is not None
    assert decided.forecast.trend_per_s2 == 0
    assert changed.memory[CODE] is settled.memory[CODE], "the other fleet is as it was"


def test_a_factor_of_one_changes_no_plan(settled: Snapshot) -> None:
    def said(snapshot: Snapshot) -> Any:
        return encode(plan(snapshot), Plan)["fleets"]

    assert said(at_rates({CHAT: 1.0, CODE: 1.0})(settled)) == said(settled)
    assert said(with_longer_prompts((CHAT, CODE), 1.0)(settled)) == said(settled)


def test_longer_prompts_stretch_buckets_and_the_mix_alike_and_stay_within_the_model(settled: Snapshot) -> None:
    [chat, code] = settled.fleets
    assert isinstance(chat.metrics, FleetMetrics)
    seen = replace(chat.metrics, prompt_tokens=a_histogram(1000), output_tokens=a_histogram(200))
    changed = with_longer_prompts((CHAT,), 4.0)(
        replace(settled, fleets=(replace(chat, metrics=seen), code))
    )  # fmt: skip
    metrics = changed.fleets[0].metrics
    assert isinstance(metrics, FleetMetrics)
    assert metrics.prompt_tokens is not None
    assert metrics.prompt_tokens.mean == pytest.approx(4000)
    assert metrics.prompt_tokens.quantile(0.5) == pytest.approx(4000)
    lengths, before = changed.fleets[0].fleet.expected.lengths, chat.fleet.expected.lengths
    most = chat.fleet.engine.limits.max_model_len_tokens
    assert np.median(lengths.prompt_tokens) == pytest.approx(4 * np.median(before.prompt_tokens))
    assert (lengths.prompt_tokens + lengths.output_tokens <= most + 1e-6).all()
    assert changed.fleets[1] == code


def test_nothing_is_learnt_from_a_window_that_does_not_fit_the_change(settled: Snapshot) -> None:
    metrics = without_lessons(settled).fleets[0].metrics
    assert isinstance(metrics, FleetMetrics)
    assert all(pool.window is None for pool in metrics.pools.values())


def test_a_pool_that_is_gone_is_planned_around_and_no_interruption_is_seen(settled: Snapshot) -> None:
    decided = plan(changes.without_pool("reserved")(settled))
    for fleet in decided.fleets:
        assert {pool.pool: pool.placed for pool in fleet.pools}.get("reserved", 0) == 0
        assert sum(pool.placed for pool in fleet.pools) > 0
    gone = next(outlook for outlook in decided.pools if outlook.pool == "reserved")
    assert gone.interruptions.events == 0
    assert "limit 0" in gone.sentence


def test_the_document_says_what_moves_and_what_is_said_differently(saved: Path) -> None:
    document = answer("what-if", "--snapshot", saved, "--rate", "x2", "--fleet", "chat")
    chat, code = of(document, "chat"), of(document, "code")
    assert document["changes"] == ["traffic of default/chat: x2"]
    assert chat["after"]["wanted"] > chat["before"]["wanted"]
    assert chat["after"]["usdPerHour"] > chat["before"]["usdPerHour"]
    assert any(line.startswith("Sized: ") for line in chat["newly"])
    assert code["before"]["wanted"] == code["after"]["wanted"], "its traffic stays"
    assert document["usdPerHour"]["before"] == pytest.approx(
        sum(fleet["before"]["usdPerHour"] for fleet in document["fleets"])
    )


def test_a_rate_in_requests_per_second_is_what_then_arrives(saved: Path) -> None:
    document = answer("what-if", "--snapshot", saved, "--rate", "30", "--fleet", "default/chat")
    planned = of(document, "chat")["after"]["plannedForRequestsPerSecond"]
    assert 30 <= planned < 40


@pytest.mark.parametrize(
    ("flags", "holds"),
    [
        (("--limit", "reserved=4"), lambda d: d["usdPerHour"]["after"] > d["usdPerHour"]["before"]),
        (("--price", "reserved=4.2"), lambda d: d["usdPerHour"]["after"] == 2 * d["usdPerHour"]["before"]),
        (("--min", "6", "--fleet", "code"), lambda d: of(d, "code")["after"]["wanted"] == 6),
        (("--max", "1", "--fleet", "chat"), lambda d: of(d, "chat")["after"]["reason"] == "MaxReplicas"),
        (("--slo", "itl:p95=25ms"), lambda d: of(d, "chat")["after"]["wanted"] > of(d, "chat")["before"]["wanted"]),
        (("--routing", "LoadAware"), lambda d: capacity_of_one(d, "after") > capacity_of_one(d, "before")),
        (("--prompt", "x3"), lambda d: capacity_of_one(d, "after") < capacity_of_one(d, "before")),
    ],
)
def test_every_flag_changes_what_it_names(saved: Path, flags: tuple[str, ...], holds: Any) -> None:
    assert holds(answer("what-if", "--snapshot", saved, *flags))


def capacity_of_one(document: dict[str, Any], when: str) -> float:
    one: float = max(pool["requestsPerSecondOfOne"] for pool in of(document, "chat")[when]["pools"])
    return one


def test_the_table_shows_before_and_after_and_a_conclusion(saved: Path) -> None:
    said = run("what-if", "--snapshot", saved, "--pool-gone", "reserved").stdout
    assert "pool reserved: gone" in said
    assert "an hour, +$" in said
    assert "HiGHS" not in said


def test_a_fleet_that_cannot_be_planned_is_not_counted_as_a_saving(saved: Path) -> None:
    said = run("what-if", "--snapshot", saved, "--slo", "ttft:p95=1ms", "--fleet", "chat").stdout
    assert "default/chat cannot be planned then" in said
    assert "-> refused" in said


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "nothing is changed"),
        (("--rate", "x2", "--fleet", "cat"), "--fleet=cat: is not in the snapshot; closest: default/chat"),
        (("--pool-gone", "sport"), "--pool-gone=sport: is not in the snapshot; closest: spot"),
        (("--rate", "xx"), "give a factor"),
        (("--prompt", "4"), "write a factor"),
        (("--price", "spot"), "write POOL=NUMBER"),
        (("--limit", "spot=1.5"), "GPUs are whole"),
        (("--min", "9", "--max", "2"), "at least 9 and at most 2"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(saved: Path, flags: tuple[str, ...], says: str) -> None:
    assert says in refusal("what-if", "--snapshot", saved, *flags)


def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.json"
    path.write_text('{"kind": "List"}')
    assert "kubectl fleet snapshot" in refusal("what-if", "--snapshot", path, "--rate", "x2")
    assert "cannot be read" in refusal("what-if", "--snapshot", tmp_path / "none", "--rate", "x2")
