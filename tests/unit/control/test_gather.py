"""Gather: one snapshot from what the ports say."""

from __future__ import annotations

import pytest

from inferencefleet.catalog import built_in
from inferencefleet.control.gather import Gathered
from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.history import History
from inferencefleet.domain.observation import MetricsGap
from inferencefleet.domain.pool import Exhaustion, NodeState
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.ports import ClusterUnavailable
from tests.builders import NOW_S
from tests.unit.control.stage import Stage, a_fleet_manifest, a_pool_manifest


async def gathered(stage: Stage) -> Gathered:
    return await stage.gatherer.gather(NOW_S, {})


async def test_a_new_pool_is_read_again_in_the_same_tick_so_that_its_nodes_are_seen() -> None:
    stage = Stage()
    stage.reader.nodes = (NodeState(name="n1", pool="spot", gpus=8, ready=True, doomed=False),)
    snapshot = (await gathered(stage)).snapshot
    assert stage.reader.asked_with == [(), ("reserved", "spot")]
    assert [len(state.nodes) for state in snapshot.pools] == [0, 1]
    await gathered(stage)
    assert len(stage.reader.asked_with) == 3, "one reading is enough while pools stay as they are"


async def test_fleets_and_pools_are_sorted_whatever_the_order_of_the_cache() -> None:
    stage = Stage()
    stage.reader.fleets = [a_fleet_manifest("z"), a_fleet_manifest("a")]
    stage.reader.pools.reverse()
    snapshot = (await gathered(stage)).snapshot
    assert [state.fleet.key.name for state in snapshot.fleets] == ["a", "z"]
    assert [state.pool.name for state in snapshot.pools] == ["reserved", "spot"]


async def test_a_fleet_that_the_metrics_source_forgot_has_a_gap() -> None:
    (state,) = (await gathered(Stage())).snapshot.fleets
    assert isinstance(state.metrics, MetricsGap)
    assert state.metrics.code == "NoSamples"


async def test_bad_specs_are_set_aside_with_their_problems() -> None:
    stage = Stage()
    stage.reader.fleets.append(a_fleet_manifest("bad", spec__model__id="nobody/knows-this"))
    broken_pool = a_pool_manifest("odd", "Spot")
    broken_pool["spec"]["gpu"] = {"type": "RTX-9090"}
    stage.reader.pools.append(broken_pool)
    snapshot = (await gathered(stage)).snapshot
    assert [state.fleet.key.name for state in snapshot.fleets] == ["chat"]
    assert [(broken.key.name, broken.problems[0].code) for broken in snapshot.broken_fleets] == [
        ("bad", "UnknownModel")
    ]
    assert [(broken.name, broken.problems[0].code) for broken in snapshot.broken_pools] == [("odd", "UnknownGPU")]


async def test_a_pool_that_claims_the_nodes_of_an_elder_one_is_set_aside() -> None:
    stage = Stage()
    late = a_pool_manifest("a-late-one", "OnDemand")
    late["spec"]["nodes"] = {"selector": {"inferencefleet.io/pool": "spot"}}
    late["metadata"]["creationTimestamp"] = "2026-02-01T12:00:00Z"
    stage.reader.pools.insert(0, late)
    snapshot = (await gathered(stage)).snapshot
    assert [state.pool.name for state in snapshot.pools] == ["reserved", "spot"]
    (problem,) = snapshot.broken_pools[0].problems
    assert (snapshot.broken_pools[0].name, problem.code) == ("a-late-one", "NodesOfAnotherPool")
    assert "the nodes of GPUPool spot" in problem.sentence


async def test_slices_of_the_same_nodes_under_another_resource_are_a_pool_of_their_own() -> None:
    stage = Stage()
    slices = a_pool_manifest("slices", "OnDemand")
    slices["spec"]["nodes"] = {"selector": {"inferencefleet.io/pool": "spot"}}
    slices["spec"]["gpu"]["resourceName"] = "nvidia.com/mig-3g.40gb"
    stage.reader.pools.append(slices)
    assert [state.pool.name for state in (await gathered(stage)).snapshot.pools] == ["reserved", "slices", "spot"]


async def test_what_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    stage = Stage()
    stage.reader.fleets[0]["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    stage.reader.pools[0]["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    snapshot = (await gathered(stage)).snapshot
    assert snapshot.fleets == ()
    assert [state.pool.name for state in snapshot.pools] == ["spot"]


async def test_exhaustion_is_remembered_by_the_status_of_the_pool() -> None:
    stage = Stage()
    stage.reader.pools[1]["status"] = {
        "exhaustion": {"since": "2027-01-15T08:00:00Z", "until": "2027-01-15T08:03:00Z", "strikes": 2}
    }
    spot = (await gathered(stage)).snapshot.pools[1]
    assert spot.exhaustion == Exhaustion(since_s=NOW_S, until_s=NOW_S + 180, strikes=2)


async def test_an_unreadable_cluster_is_raised_and_not_taken_for_an_empty_one() -> None:
    stage = Stage()
    stage.reader.unavailable = True
    with pytest.raises(ClusterUnavailable):
        await gathered(stage)


async def test_gpus_and_models_are_looked_up_in_the_catalogue_of_the_installation() -> None:
    stage = Stage()
    stage.reader.fleets = [a_fleet_manifest("own", spec__model__id="acme/own")]
    assert [broken.key.name for broken in (await gathered(stage)).snapshot.broken_fleets] == ["own"]
    mine = "gpus: {H100-SXM: {bandwidthGBps: 3000}}\nmodels: {acme/own: {like: Qwen/Qwen3-32B}}"
    stage.gatherer.catalogue = built_in().extended(mine, "mine.yaml")
    snapshot = (await gathered(stage)).snapshot
    assert [state.fleet.model.id for state in snapshot.fleets] == ["acme/own"]
    assert {state.pool.gpu.bandwidth_bytes_per_s for state in snapshot.pools} == {3e12}


PAST = History(recent=((NOW_S - 30, 7.0), (NOW_S - 15, 8.0)), blocks=((NOW_S - 600, 6.0), (NOW_S - 300, 7.0)))


async def test_after_a_restart_the_past_is_asked_for_once_and_becomes_the_memory_of_its_fleet() -> None:
    stage = Stage()
    stage.reader.fleets.append(a_fleet_manifest("new"))
    stage.metrics.past["chat"] = PAST
    memory = (await gathered(stage)).snapshot.memory
    chat, new = (memory[FleetKey("default", name)] for name in ("chat", "new"))
    assert chat.arrivals == PAST.recent
    assert chat.blocks.means == (6.0, 7.0)
    assert new.arrivals == ()
    again = (await stage.gatherer.gather(NOW_S + 15, memory)).snapshot.memory
    assert again[FleetKey("default", "chat")] is chat
    assert stage.metrics.asked_for_history == [("chat", "new")], "who is known to have no past is not asked again"


async def test_a_store_that_cannot_tell_the_past_is_asked_again_a_minute_later() -> None:
    stage = Stage()
    stage.metrics.past["chat"] = PAST
    stage.metrics.forgetful = True
    for after_s in (0, 15, 30):
        snapshot = (await stage.gatherer.gather(NOW_S + after_s, {})).snapshot
        assert snapshot.memory[FleetKey("default", "chat")].arrivals == ()
    assert len(stage.metrics.asked_for_history) == 1
    stage.metrics.forgetful = False
    own = FleetMemory(arrivals=((NOW_S + 45, 9.0),))
    snapshot = (await stage.gatherer.gather(NOW_S + 60, {FleetKey("default", "chat"): own})).snapshot
    assert snapshot.memory[FleetKey("default", "chat")].arrivals == (*PAST.recent, *own.arrivals)


async def test_a_fleet_that_is_made_later_is_asked_about_when_it_comes() -> None:
    stage = Stage()
    await gathered(stage)
    stage.reader.fleets.append(a_fleet_manifest("late"))
    await gathered(stage)
    assert stage.metrics.asked_for_history == [("chat",), ("late",)]


async def test_a_schedule_is_announced_by_the_clock_of_the_tick() -> None:
    stage = Stage()
    window = {"cron": "0 * * * *", "duration": "10m", "requestsPerSecond": 9}
    stage.reader.fleets = [a_fleet_manifest("busy", spec__traffic__schedule=[window]), a_fleet_manifest("calm")]
    busy, calm = (await gathered(stage)).snapshot.fleets
    assert calm.schedule == ()
    assert [floor.requests_per_s for floor in busy.schedule] == [9.0] * 25, "this hour's and a day of hours ahead"
    assert busy.schedule[0].start_s <= NOW_S < busy.schedule[0].end_s
    assert busy.schedule[-1].start_s <= NOW_S + 86_400


async def test_a_restart_remembers_the_last_changes_from_the_status_and_leaves_out_what_it_cannot_read() -> None:
    stage = Stage()
    stage.reader.fleets[0]["status"] = {
        "history": [
            {"at": "2027-01-15T08:00:00Z", "from": 6, "to": 4, "reason": "ScaledDown"},
            {"at": "yesterday", "from": 2, "to": 6, "reason": "ScaledUp"},
            {"at": "2027-01-15T07:58:00Z", "from": 2, "to": 6, "reason": "ScaledUp"},
        ]
    }
    snapshot = (await gathered(stage)).snapshot
    (memory,) = snapshot.memory.values()
    assert memory.scale_events == ((NOW_S - 120, 4), (NOW_S, -2))
