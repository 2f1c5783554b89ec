"""`plan()`: fleets beside each other, ledgers, defects, odd worlds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.fleet import FleetKey, Mode, Problem, ScalingTerms
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import Histogram, Phase
from inferencefleet.domain.plan import FleetPlan, Reason
from inferencefleet.domain.pool import CapacityType, Exhaustion
from inferencefleet.domain.snapshot import BrokenFleet, FleetMemory, FleetState, Snapshot
from inferencefleet.planning import plan as plan_module
from inferencefleet.planning import size
from inferencefleet.planning.ask import Asked, Surroundings, ask
from inferencefleet.planning.plan import plan
from tests.builders import (
    GAP,
    NOW_S,
    a_mix,
    a_pool,
    a_pool_state,
    a_snapshot,
    a_state,
    a_workload,
    metrics,
    replicas,
    three_pools,
)
from tests.unit.planning.world import a_tp2_fleet

pytestmark = pytest.mark.usefixtures("a_replica_is_worth_four")


def by_pool(decided: FleetPlan) -> dict[str, int]:
    return {pool.pool: pool.replicas for pool in decided.pools if pool.replicas}


def one(snapshot: Snapshot, name: str = "chat") -> FleetPlan:
    return next(decided for decided in plan(snapshot).fleets if decided.key.name == name)


def running(name: str = "chat", count: int = 3, rps: float = 10.0, **overrides: object) -> FleetState:
    return a_state(a_tp2_fleet(name, **overrides), replicas("reserved", count), seen=metrics(rps=rps))


def broken(name: str, *, pool: str = "reserved", count: int = 6) -> BrokenFleet:
    return BrokenFleet(
        key=FleetKey("default", name),
        uid=f"uid-{name}",
        generation=2,
        problems=(Problem(code="UnknownModel", field="spec.model.id", value="x", sentence="not known"),),
        workloads=(a_workload(pool, count),),
        replicas=replicas(pool, count),
    )


def test_an_empty_cluster_has_an_empty_plan() -> None:
    empty = plan(a_snapshot(pools=()))
    assert (empty.fleets, empty.pools, dict(empty.memory)) == ((), (), {})


def test_a_broken_fleet_keeps_its_gpus_and_the_other_one_is_planned_around_it() -> None:
    world = replace(a_snapshot(running(count=2, rps=25)), broken_fleets=(broken("bad"),))
    decided = one(world)
    assert by_pool(decided) == {"reserved": 2, "spot": 3, "on-demand": 2}
    reserved = next(pool for pool in plan(world).pools if pool.pool == "reserved")
    assert reserved.gpus_planned == 16


def test_a_crash_in_one_fleet_leaves_the_others_planned_and_its_own_replicas_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fragile(state: FleetState, memory: FleetMemory, around: Surroundings) -> Asked | FleetPlan:
        if state.fleet.key.name == "bad":
            raise ZeroDivisionError("float division by zero")
        return ask(state, memory, around)

    monkeypatch.setattr(plan_module, "ask", fragile)
    world = a_snapshot(running("bad", count=5), running("good", count=1, rps=30))
    failed, good = one(world, "bad"), one(world, "good")
    assert (failed.act, failed.pools) == (False, ())
    assert failed.reason is Reason.PLANNING_FAILED
    assert "ZeroDivisionError: float division by zero" in failed.sentence
    assert good.act
    assert by_pool(good)["reserved"] == 3, "the failed fleet still holds its five"
    assert good.replicas >= 8


def test_a_fleet_that_only_recommends_takes_no_gpus_from_others() -> None:
    shown = a_state(a_tp2_fleet("a", rps=60, scaling=ScalingTerms(mode=Mode.RECOMMEND, horizon_s=60)))
    acting = a_state(a_tp2_fleet("b", rps=30))
    decided = one(a_snapshot(shown, acting), "b")
    assert by_pool(decided) == {"reserved": 8}


def test_a_fleet_that_would_shrink_but_only_recommends_gives_no_gpus_to_others() -> None:
    shown = a_state(
        a_tp2_fleet("a", scaling=ScalingTerms(mode=Mode.OFF, scale_down_stabilization_s=0, horizon_s=60)),
        replicas("reserved", 7),
        seen=metrics(rps=1),
    )
    acting = a_state(a_tp2_fleet("b", rps=30))
    assert one(a_snapshot(shown, acting), "a").replicas == 1
    assert by_pool(one(a_snapshot(shown, acting), "b"))["reserved"] == 1


def test_gpus_used_by_pods_of_nobody_count_against_the_limit() -> None:
    crowded = replace(a_pool_state(a_pool()), gpus_used_by_others=10)
    decided = one(a_snapshot(a_state(a_tp2_fleet(rps=30)), pools=(crowded,)))
    assert (decided.replicas, decided.reason) == (3, Reason.NOT_ENOUGH_GPUS)


def test_a_limit_lowered_under_a_loaded_fleet_does_not_kill_what_serves() -> None:
    tight = a_pool_state(a_pool(max_gpus=4))
    decided = one(a_snapshot(running(count=8, rps=30), pools=(tight,)))
    assert decided.reason is Reason.NOT_ENOUGH_GPUS
    assert by_pool(decided) == {"reserved": 8}
    assert decided.pools[0].reason is Reason.WAITING_FOR_REPLACEMENT


def test_pools_without_nodes_are_used_because_nodes_come_when_asked_for() -> None:
    pools = tuple(replace(state, nodes=()) for state in three_pools())
    assert by_pool(one(a_snapshot(a_state(a_tp2_fleet(rps=10)), pools=pools))) == {"reserved": 3}


def test_a_free_spot_pool_is_taken_first_within_its_share() -> None:
    gift = a_pool_state(a_pool("gift", CapacityType.SPOT, price_per_gpu_hour=0.0))
    paid = a_pool_state(a_pool("paid", CapacityType.ON_DEMAND))
    decided = one(a_snapshot(a_state(a_tp2_fleet(rps=16)), pools=(gift, paid)))
    assert by_pool(decided) == {"gift": 2, "paid": 2}


def test_when_every_replica_fails_nothing_is_taken_away() -> None:
    pods = replicas("reserved", 3, phase=Phase.FAILED, message="CrashLoopBackOff")
    decided = one(a_snapshot(a_state(a_tp2_fleet(rps=10), pods, seen=GAP)))
    assert by_pool(decided) == {"reserved": 3}


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf])
def test_a_rate_that_is_no_number_holds_the_fleet(rate: float) -> None:
    state = a_state(a_tp2_fleet(rps=1), replicas("reserved", 6), seen=metrics(rps=1.0, completions_per_s=rate))
    decided = one(a_snapshot(state))
    assert decided.reason is Reason.METRICS_MISSING
    assert by_pool(decided) == {"reserved": 6}


def test_engines_that_tell_no_rate_hold_the_fleet_even_when_the_window_is_over() -> None:
    state = a_state(a_tp2_fleet(rps=1), replicas("reserved", 6), seen=metrics(rps=1.0, completions_per_s=None))
    old = FleetMemory(recommendations=((NOW_S - 20, 1),), placed=6)
    decided = one(a_snapshot(state, memory={state.fleet.key: old}))
    assert (decided.replicas, decided.reason) == (6, Reason.METRICS_MISSING)


def test_a_doomed_pod_that_terminates_already_is_not_missed_twice_in_a_gap() -> None:
    state = replace(
        a_state(
            a_tp2_fleet(),
            replicas("spot", 4),
            replicas("spot", 2, phase=Phase.TERMINATING, doomed=True),
            seen=GAP,
        ),
        workloads=(a_workload("spot", 4),),
    )
    decided = one(a_snapshot(state, memory={state.fleet.key: FleetMemory(placed=4)}))
    assert by_pool(decided) == {"spot": 4}


def test_replicas_on_their_way_are_counted_and_not_asked_for_again() -> None:
    state = a_state(
        a_tp2_fleet(rps=10),
        replicas("reserved", 1, phase=Phase.STARTING, since_s=NOW_S - 5),
        replicas("reserved", 2, phase=Phase.UNSCHEDULED, since_s=NOW_S - 5),
    )
    decided = one(a_snapshot(state))
    assert by_pool(decided) == {"reserved": 3}
    pool = next(pool for pool in decided.pools if pool.pool == "reserved")
    assert (pool.ready, pool.starting, pool.blocked) == (0, 3, 0)


def test_blocked_replicas_are_withdrawn_and_spilled_in_the_tick_that_finds_them() -> None:
    stuck = replicas("spot", 3, phase=Phase.UNSCHEDULED, since_s=NOW_S - 500, created_s=NOW_S - 500)
    state = a_state(a_tp2_fleet(), replicas("reserved", 8), stuck, seen=metrics(rps=40))
    world = a_snapshot(state)
    assert by_pool(one(world)) == {"reserved": 8, "on-demand": 3}
    spot = next(pool for pool in plan(world).pools if pool.pool == "spot")
    assert spot.exhaustion == Exhaustion(since_s=NOW_S, until_s=NOW_S + 180, strikes=1)
    assert spot.sentence.startswith("did not deliver nodes, or took them back, 1 time(s); next probe in 180 s")


def test_one_fleets_blocked_replica_spares_another_the_wait() -> None:
    stuck = replicas("spot", 1, phase=Phase.UNSCHEDULED, since_s=NOW_S - 500, created_s=NOW_S - 500)
    first = a_state(a_tp2_fleet("a"), stuck, seen=GAP)
    second = a_state(a_tp2_fleet("b", rps=40))
    pools = tuple(state for state in three_pools() if state.pool.name != "reserved")
    assert "spot" not in by_pool(one(a_snapshot(first, second, pools=pools), "b"))


def test_the_outlook_of_a_pool_adds_up() -> None:
    outlook = next(pool for pool in plan(a_snapshot(running())).pools if pool.pool == "reserved")
    assert (outlook.gpus_total, outlook.gpus_used, outlook.gpus_planned) == (16, 6, 6)
    assert outlook.sentence == "6 of 16 GPUs in use, 6 planned by fleets, limit 16"


def test_requests_too_long_for_the_slo_warn_and_the_fleet_is_planned_as_it_was_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = a_mix()

    def only_declared(shape: ReplicaShape, lengths: LengthMix, *_: object) -> ReplicaCapacity:
        rps = 8.0 if lengths is declared else 0.0
        return ReplicaCapacity(requests_per_s=rps, binding=Limit.SLO_UNREACHABLE, sentence="ttft p95 is 9 s alone")

    monkeypatch.setattr(size, "replica_capacity", only_declared)
    long = Histogram(bounds=(30_000, math.inf), counts=(500, 0), total=500, sum=500 * 20_000)
    seen = metrics(rps=10, prompt_tokens=long, output_tokens=long)
    decided = one(a_snapshot(a_state(a_tp2_fleet(), replicas("reserved", 3), seen=seen)))
    assert decided.act
    assert decided.replicas >= 3
    assert [problem.code for problem in decided.problems] == [Reason.SLO_UNREACHABLE]


def test_memory_stays_small_however_long_the_fleet_lives() -> None:
    state = running()
    memory: dict[FleetKey, FleetMemory] = {}
    for tick in range(300):
        at_s = NOW_S + 15 * tick
        seen = metrics(rps=10 + tick % 3, at_s=at_s - 2)
        memory = dict(plan(a_snapshot(replace(state, metrics=seen), memory=memory, at_s=at_s)).memory)
    kept = memory[state.fleet.key]
    assert len(kept.arrivals) <= 120
    assert len(kept.skill.due) <= 40
    assert len(kept.recommendations) <= 21


def test_a_clock_that_steps_back_does_not_break_the_memory() -> None:
    state = running()
    later = plan(a_snapshot(state, at_s=NOW_S + 600))
    earlier = plan(a_snapshot(state, memory=dict(later.memory)))
    assert earlier.fleets[0].replicas == 3
    assert [at_s for at_s, _ in earlier.memory[state.fleet.key].arrivals] == [NOW_S]


def test_a_fleet_that_is_gone_is_forgotten() -> None:
    first = plan(a_snapshot(running("a"), running("b", count=1)))
    assert set(plan(a_snapshot(running("b", count=1), memory=dict(first.memory))).memory) == {FleetKey("default", "b")}


PROBING = Exhaustion(since_s=NOW_S - 700, until_s=NOW_S - 10, strikes=1)
ONE_A_NODE = a_pool_state(a_pool("on-demand", CapacityType.ON_DEMAND, gpus_per_node=2))


def test_fleets_that_try_a_pool_again_do_it_on_top_of_what_they_need_and_within_its_limit() -> None:
    """The spot pool has room for one replica: one of two fleets tries it, and both have what they need elsewhere."""
    dry = a_pool_state(a_pool("spot", CapacityType.SPOT, max_gpus=2), exhaustion=PROBING, nodes=0)
    fleets = [a_state(a_tp2_fleet(name, rps=10)) for name in ("a", "b")]
    world = a_snapshot(*fleets, pools=(ONE_A_NODE, dry))
    assert by_pool(one(world, "a")) == {"on-demand": 3, "spot": 1}
    assert by_pool(one(world, "b")) == {"on-demand": 3}
    assert Reason.POOL_EXHAUSTED is one(world, "a").reason is one(world, "b").reason


def test_replicas_on_doomed_nodes_hold_their_gpus_against_other_fleets_until_they_are_gone() -> None:
    """8 fit: 2 that serve, 3 that are doomed, and 3 in their place, of which the other fleet gets one to start with."""
    doomed = a_state(
        a_tp2_fleet("b"), replicas("reserved", 2), replicas("reserved", 3, prefix="lost", doomed=True),
        seen=metrics(rps=18),
    )  # fmt: skip
    world = a_snapshot(a_state(a_tp2_fleet("a")), doomed, pools=(a_pool_state(a_pool(max_gpus=16)),))
    kept, new = one(world, "b"), one(world, "a")
    assert (by_pool(new), by_pool(kept)) == ({"reserved": 1}, {"reserved": 7})
    assert (kept.pools[0].placed, kept.pools[0].reason) == (4, Reason.REPLACING_DOOMED)
    assert new.reason is Reason.NOT_ENOUGH_GPUS


def test_a_fleet_of_higher_priority_takes_gpus_of_a_lower_one_as_soon_as_they_have_been_let_go() -> None:
    low = a_state(a_tp2_fleet("low"), replicas("reserved", 8), seen=metrics(rps=30))
    high = a_state(a_tp2_fleet("high", rps=14, priority=100))
    full = (a_pool_state(a_pool(max_gpus=16)),)
    world = a_snapshot(low, high, pools=full)
    asked, gives = one(world, "high"), one(world, "low")
    assert (by_pool(gives), gives.reason) == ({"reserved": 4}, Reason.PRIORITY)
    assert "8 of 16 GPUs of reserved serve 1 fleet(s) of higher priority, default/high first" in gives.sentence
    assert (by_pool(asked), asked.pools[0].placed, asked.reason) == ({}, 4, Reason.WAITING_FOR_GPUS)
    assert asked.sentence == "4 replicas belong in reserved, 0 fit until its GPUs have been let go"
    gone = a_snapshot(replace(low, replicas=low.replicas[:4], workloads=(a_workload("reserved", 4),)), high, pools=full)
    assert by_pool(one(gone, "high")) == {"reserved": 4}


def test_a_fleet_of_higher_priority_moves_nobody_while_there_is_room_elsewhere() -> None:
    low = a_state(a_tp2_fleet("low"), replicas("reserved", 8), seen=metrics(rps=30))
    high = a_state(a_tp2_fleet("high", rps=14, priority=100))
    world = a_snapshot(low, high, pools=(ONE_A_NODE, a_pool_state(a_pool(max_gpus=16))))
    assert by_pool(one(world, "high")) == {"on-demand": 4}
    assert by_pool(one(world, "low"))["reserved"] == 8
