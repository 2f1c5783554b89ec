"""Snapshots as JSON: exact there and back, readable for years, and refused with a path when they are wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.api.snapshot_codec import BadSnapshot, redacted, snapshot_from_json, snapshot_to_json
from inferencefleet.api.typed_encode import encode
from inferencefleet.domain.fleet import EngineTerms, Problem
from inferencefleet.domain.plan import Plan
from inferencefleet.domain.pool import CapacityType, Exhaustion
from inferencefleet.domain.snapshot import BrokenFleet, BrokenPool, Part, Snapshot
from inferencefleet.planning.plan import plan
from tests.builders import (
    NOW_S,
    a_fleet,
    a_histogram,
    a_pool,
    a_pool_state,
    a_snapshot,
    a_state,
    metrics,
    replicas,
)
from tests.unit.planning.world import World, a_tp2_fleet


def a_served_snapshot() -> Snapshot:
    """A fleet that has served for three minutes, with all its memory."""
    world = World(
        fleets=[a_tp2_fleet()],
        pools=[a_pool(), a_pool("spot", CapacityType.SPOT)],
        offered={"chat": 10.0},
    )
    world.settle(3)
    return world.snapshot()


def an_odd_snapshot() -> Snapshot:
    """One of everything that is seldom there."""
    fleet = a_fleet(annotations=MappingProxyType({"inferencefleet.io/paused": "true"}))
    broken = BrokenFleet(
        key=a_fleet("broken").key,
        uid="uid-broken",
        generation=3,
        problems=(Problem(code="InvalidSpec", field="spec.model.id", value="x", sentence="is unknown"),),
    )
    tainted = a_pool(
        "spot",
        CapacityType.SPOT,
        node_selector=MappingProxyType({"pool": "spot"}),
        tolerations=({"key": "gpu", "operator": "Exists", "tolerationSeconds": 300},),
    )
    seen = metrics(rps=3, prompt_tokens=a_histogram(900), output_tokens=a_histogram(200), prefix_hit_ratio=math.nan)
    return replace(
        a_snapshot(
            a_state(fleet, replicas("spot", 2), seen=seen),
            pools=(a_pool_state(tainted, exhaustion=Exhaustion(since_s=NOW_S, until_s=NOW_S + 60, strikes=2)),),
            without=frozenset({Part.HEDGE, Part.FORECAST}),
        ),
        broken_fleets=(broken,),
        broken_pools=(BrokenPool(name="old", generation=1, problems=broken.problems),),
    )


SNAPSHOTS: dict[str, Callable[[], Snapshot]] = {
    "served": a_served_snapshot,
    "odd": an_odd_snapshot,
    "empty": lambda: a_snapshot(pools=()),
    "blind": lambda: a_snapshot(a_state(a_fleet())),
}


def planned(snapshot: Snapshot) -> Any:
    """The whole plan as values: length mixes are compared by what they hold."""
    return encode(plan(snapshot), Plan)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_decoded_snapshot_is_planned_as_the_original(name: str) -> None:
    original = SNAPSHOTS[name]()
    text = snapshot_to_json(original)
    decoded = snapshot_from_json(text)
    assert snapshot_to_json(decoded) == text, "nothing is lost in the second round"
    assert planned(decoded) == planned(original)


@settings(max_examples=8, deadline=None)
@given(
    rates=st.lists(st.floats(0.0, 60.0), min_size=1, max_size=3),
    limit=st.one_of(st.none(), st.integers(0, 32)),
    minutes=st.integers(1, 4),
    dark=st.booleans(),
)
def test_any_world_survives_the_round_trip(rates: list[float], limit: int | None, minutes: int, dark: bool) -> None:
    names = ["chat", "code", "mail"][: len(rates)]
    world = World(
        fleets=[a_tp2_fleet(name) for name in names],
        pools=[a_pool(max_gpus=limit), a_pool("spot", CapacityType.SPOT)],
        offered=dict(zip(names, rates, strict=True)),
    )
    world.settle(minutes)
    world.dark = dark
    decoded = snapshot_from_json(snapshot_to_json(world.snapshot()))
    assert planned(decoded) == planned(world.snapshot())


def document(snapshot: Snapshot | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(snapshot_to_json(snapshot or a_snapshot(a_state(a_fleet()))))
    return found


def refused(found: object) -> str:
    with pytest.raises(BadSnapshot) as caught:
        snapshot_from_json(json.dumps(found))
    return str(caught.value)


def test_a_file_from_before_a_field_was_there_gets_its_default() -> None:
    old = document()
    del old["snapshot"]["broken_pools"], old["snapshot"]["fleets"][0]["fleet"]["priority"]
    decoded = snapshot_from_json(json.dumps(old))
    assert decoded.broken_pools == ()
    assert decoded.fleets[0].fleet.priority == 0


def test_an_unknown_field_is_refused_and_the_closest_is_named() -> None:
    wrong = document()
    wrong["snapshot"]["fleets"][0]["fleet"]["prioritty"] = 3
    assert "snapshot.fleets[0].fleet.prioritty=3: unknown field of Fleet, closest: priority" in refused(wrong)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("at_s"), "snapshot.at_s=None: is missing, and Snapshot has no default for it"),
        (lambda s: s.update(at_s="soon"), "snapshot.at_s='soon': must be a number"),
        (lambda s: s.update(at_s=10**400), "must be a number that fits a float"),
        (lambda s: s.update(at_s=True), "snapshot.at_s=True: must be a number"),
        (lambda s: s.update(fleets={}), "snapshot.fleets={}: must be a list"),
        (
            lambda s: s["pools"][0]["pool"].update(capacity_type="Rented"),
            "snapshot.pools[0].pool.capacity_type='Rented': must be one of Reserved, OnDemand, Spot",
        ),
        (lambda s: s["pools"][0]["pool"].update(gpus_per_node=8.5), "gpus_per_node=8.5: must be a whole number"),
        (lambda s: s["fleets"][0]["metrics"].pop("$type"), "$type=None: must be one of FleetMetrics, MetricsGap"),
        (
            lambda s: s["fleets"][0]["fleet"]["expected"]["lengths"].update(prompt_tokens=[]),
            "snapshot.fleets[0].fleet.expected.lengths",
        ),
        (lambda s: s.update(memory=[{"key": 1}]), "snapshot.memory=[{'key': 1}]: must be a list of objects with"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_path_value_and_rule(change: Callable[[Any], Any], says: str) -> None:
    wrong = document()
    change(wrong["snapshot"])
    assert says in refused(wrong)
    assert "kubectl fleet snapshot" in refused(wrong), "the way out is told"


def test_what_is_no_snapshot_at_all_is_told_apart() -> None:
    assert "format=None: must be 'inferencefleet.io/snapshot'" in refused({"kind": "List"})
    assert "version=99: this program reads 1 to 1" in refused({**document(), "version": 99})
    with pytest.raises(BadSnapshot, match="is not JSON"):
        snapshot_from_json("{")
    with pytest.raises(BadSnapshot, match="NaN is no number"):
        snapshot_from_json('{"format": NaN}')


def test_a_redacted_snapshot_holds_no_secret_and_is_planned_the_same() -> None:
    engine = EngineTerms(
        image="vllm/vllm-openai:v0.33.0",
        env=({"name": "HF_TOKEN", "value": "hf_leak"}, {"name": "OTHER", "valueFrom": {"secretKeyRef": {"name": "s"}}}),
        extra_args=("--api-key", "sk-leak", "--api-key=sk-leak", "--max-num-batched-tokens=4096", "--swap-space", "8"),
    )
    leaky = {"inferencefleet.io/paused": "true", "kubectl.kubernetes.io/last-applied-configuration": "hf_leak"}
    fleet = a_fleet(engine=engine, annotations=leaky)
    problem = Problem(code="InvalidSpec", field="spec.engine.env[0].value", value="hf_leak", sentence="is too long")
    broken = BrokenFleet(key=a_fleet("b").key, uid="b", generation=1, problems=(problem,))
    snapshot = replace(a_snapshot(a_state(fleet)), broken_fleets=(broken,))
    safe = redacted(snapshot)
    text = snapshot_to_json(safe)
    assert "leak" not in text
    kept = safe.fleets[0].fleet
    assert kept.engine.extra_args == (
        "--api-key", "(redacted)", "--api-key=(redacted)", "--max-num-batched-tokens=4096", "--swap-space", "8",
    )  # fmt: skip
    assert dict(kept.annotations) == {"inferencefleet.io/paused": "true"}
    assert kept.engine.env[1] == {"name": "OTHER", "valueFrom": {"secretKeyRef": {"name": "s"}}}
    assert planned(safe) == planned(snapshot)
