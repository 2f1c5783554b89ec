"""Whole stories over many ticks: what an SRE would see happen, and not happen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from inferencefleet.domain.fleet import Fleet, Mode, ScalingTerms, SpotPolicy, SpotTerms
from inferencefleet.domain.plan import FleetPlan, Reason
from inferencefleet.domain.pool import CapacityType, Exhaustion, Pool
from tests.builders import a_pool, three_pools
from tests.unit.planning.world import PERIOD_S, World, a_tp2_fleet

pytestmark = pytest.mark.usefixtures("a_replica_is_worth_four")

SPOT_LOVER = SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=1.0)


def pools(**limits: int) -> list[Pool]:
    """Nodes of one replica each: what a started node has left over is another story."""
    return [replace(state.pool, gpus_per_node=2) for state in three_pools(**limits)]


def a_world(rps: float = 10.0, fleet: Fleet | None = None, **limits: int) -> World:
    return World([fleet or a_tp2_fleet(rps=rps)], pools(**limits), {"chat": rps})


def codes(decided: FleetPlan) -> list[Reason]:
    return [verdict.code for verdict in decided.verdicts]


def test_a_new_fleet_starts_at_its_declared_traffic_on_reserved_gpus() -> None:
    world = a_world(rps=10)
    first = world.tick()
    assert first.reason is Reason.DECLARED_TRAFFIC
    assert world.wanted() == {"reserved": 3}
    settled = world.settle()
    assert settled.reason is Reason.DEMAND_MET
    assert world.ready() == {"reserved": 3}


def test_rising_demand_fills_reserved_then_spot_then_on_demand() -> None:
    fleet = a_tp2_fleet(spot=SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=0.25))
    world = a_world(fleet=fleet)
    world.settle()
    world.offered["chat"] = 45
    grown = world.tick()
    assert grown.reason in {Reason.SCALED_UP, Reason.RAMP_AHEAD}
    assert world.wanted() == {"reserved": 8, "spot": 3, "on-demand": 1}
    assert [code for code in codes(grown) if code in {Reason.POOL_LIMIT, Reason.SPOT_LIMIT}] == [
        Reason.POOL_LIMIT,
        Reason.SPOT_LIMIT,
    ]
    world.settle()
    assert world.ready() == world.wanted()


def test_nodes_are_bought_whole_so_what_is_left_over_on_one_comes_before_another_node() -> None:
    """Four replicas fill one node of 8 GPUs on demand at 31.20 an hour; three on spot and one beside them are two."""
    fleet = a_tp2_fleet(rps=45, spot=SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=0.25))
    world = World([fleet], [state.pool for state in three_pools()], {"chat": 45})
    world.settle()
    assert world.wanted() == {"reserved": 8, "on-demand": 4}


def test_falling_demand_gives_back_the_dearest_first_and_only_after_the_window() -> None:
    fleet = a_tp2_fleet(spot=SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=0.25))
    world = a_world(rps=45, fleet=fleet)
    world.settle()
    full = world.wanted()
    assert full == {"reserved": 8, "spot": 3, "on-demand": 1}

    world.offered["chat"] = 33
    within = world.tick(19)
    assert within.reason is Reason.STABILIZING
    assert world.wanted() == full
    world.settle(5)
    assert "on-demand" not in world.wanted()
    assert world.wanted()["reserved"] == 8
    assert world.ready() == world.wanted()


def test_demand_that_dips_and_returns_within_the_window_takes_nothing_away() -> None:
    world = a_world(rps=30)
    world.settle()
    assert world.wanted() == {"reserved": 8}
    for _ in range(6):
        world.offered["chat"] = 5
        world.tick(8)
        world.offered["chat"] = 30
        world.tick(4)
        assert world.wanted()["reserved"] == 8
        assert sum(world.wanted().values()) <= 14, "swings of 25 req/s are worth 25 more on top of 30, at 4 a replica"


@pytest.mark.parametrize("policy", [SpotPolicy.PREFERRED, SpotPolicy.HEDGED])
def test_replicas_on_a_doomed_spot_node_are_replaced_first_let_go_after_and_nothing_flaps(policy: SpotPolicy) -> None:
    world = a_world(rps=45, fleet=a_tp2_fleet(spot=SpotTerms(policy=policy, max_fraction=0.5)))
    world.settle()
    before, serving = world.wanted(), world.serving()
    doomed = world.doom("spot", 2)

    noticed = world.tick()
    assert noticed.reason is Reason.REPLACING_DOOMED
    assert sum(world.wanted().values()) == sum(before.values()) + 2
    assert world.serving() == serving, "nothing is let go before its replacement serves"

    least = serving
    for _ in range(12):
        world.tick()
        least = min(least, world.serving())
    assert least >= serving
    assert not {pod.name for pods in world.pods.values() for pod in pods} & set(doomed), "drained before the node dies"
    assert world.wanted() == before
    for _ in range(40):
        assert world.tick().reason is Reason.DEMAND_MET
        assert world.wanted() == before


def test_a_node_that_dies_before_the_replacement_serves_is_made_up_for_once() -> None:
    world = a_world(rps=45)
    world.settle()
    before = world.wanted()
    world.doom("spot", 2)
    world.tick(2)
    world.lose_doomed()
    most = 0
    for _ in range(40):
        world.tick()
        most = max(most, sum(world.wanted().values()))
    assert most == sum(before.values()), "the lost replicas are not asked for twice"
    assert world.ready() == before


def test_a_pool_that_never_delivers_is_left_after_its_p95_and_the_fleet_spills_to_the_next_cheapest() -> None:
    world = a_world(rps=25)
    world.settle()
    world.dry.add("spot")
    world.offered["chat"] = 45
    world.tick()
    assert world.wanted()["spot"] > 0
    world.tick(11)  # 180 s p95 have not passed
    assert "on-demand" not in world.wanted()
    spilled = world.tick(2)
    assert spilled.reason is Reason.POOL_EXHAUSTED
    assert "spot" not in world.wanted()
    assert world.wanted()["on-demand"] == 4
    world.tick(8)
    assert world.serving() == 12


def strikes(world: World, ticks: int) -> list[Exhaustion]:
    found: list[Exhaustion] = []
    for _ in range(ticks):
        world.tick()
        now = world.exhaustion.get("spot")
        if isinstance(now, Exhaustion) and (not found or found[-1].strikes != now.strikes):
            found.append(now)
    return found


def test_the_back_off_of_a_dry_pool_doubles_with_each_failed_probe_and_ends_when_one_is_delivered() -> None:
    world = a_world(rps=45)
    world.settle()
    world.dry.add("spot")
    world.offered["chat"] = 58
    seen = strikes(world, 120)
    assert [strike.strikes for strike in seen][:3] == [1, 2, 3]
    waits = [strike.until_s - strike.since_s for strike in seen[:1]]
    assert waits == [180.0]
    gaps = [later.until_s - earlier.until_s for earlier, later in pairwise(seen)]
    assert gaps[1] > gaps[0] > 360.0

    world.dry.clear()
    world.settle(60)
    assert world.exhaustion["spot"] is None
    assert "on-demand" not in world.wanted(), "back in the cheaper pool"
    assert world.ready() == world.wanted()


def test_a_probe_of_a_dry_pool_costs_no_replica_that_serves_or_starts() -> None:
    world = a_world(rps=30)
    world.settle()
    world.dry.add("spot")
    world.offered["chat"] = 45
    world.tick(25)
    served = world.serving()
    for _ in range(100):
        world.tick()
        assert world.serving() >= served
        served = world.serving()
    assert served == 12


def test_a_metrics_gap_holds_what_runs_however_long_it_lasts() -> None:
    world = a_world(rps=45)
    world.settle()
    before = world.wanted()
    world.dark = True
    for _ in range(80):
        held = world.tick()
        assert held.reason is Reason.METRICS_MISSING
        assert world.wanted() == before
    world.dark = False
    assert world.tick().reason is Reason.DEMAND_MET
    assert world.wanted() == before


def test_after_a_gap_a_lower_demand_still_waits_for_the_whole_window() -> None:
    world = a_world(rps=45)
    world.settle()
    before = world.wanted()
    world.dark = True
    world.tick(60)
    world.dark, world.offered["chat"] = False, 5
    assert world.tick(19).reason is Reason.STABILIZING
    assert world.wanted() == before


def test_a_doomed_node_during_a_metrics_gap_is_replaced_and_nothing_else_moves() -> None:
    world = a_world(rps=45)
    world.settle()
    before, serving = world.wanted(), world.serving()
    world.dark = True
    world.tick(3)
    world.doom("spot", 2)
    held = world.tick()
    assert Reason.REPLACING_DOOMED in codes(held)
    assert held.reason is Reason.METRICS_MISSING
    least, most = serving, 0
    for _ in range(40):
        world.tick()
        least, most = min(least, world.serving()), max(most, sum(world.wanted().values()))
    assert least >= serving
    assert most <= sum(before.values()) + 2
    assert world.wanted() == before


def test_a_restart_of_the_operator_does_not_shrink_the_fleet_at_once() -> None:
    world = a_world(rps=45)
    world.settle()
    before = world.wanted()
    world.offered["chat"] = 5
    world.tick(3)
    world.forget()
    assert world.tick(19).reason is Reason.STABILIZING
    assert world.wanted() == before
    world.settle(10)
    assert sum(world.wanted().values()) < sum(before.values())


def test_a_restart_during_a_metrics_gap_holds_although_the_declared_traffic_is_lower() -> None:
    fleet = a_tp2_fleet(rps=1)
    world = World([fleet], pools(), {"chat": 45})
    world.settle()
    before = world.wanted()
    world.dark = True
    world.forget()
    for _ in range(80):
        assert world.tick().reason is Reason.METRICS_MISSING
        assert world.wanted() == before


def test_after_a_long_absence_of_the_api_server_the_window_starts_anew() -> None:
    world = a_world(rps=45)
    world.settle()
    before = world.wanted()
    world.offered["chat"] = 5
    world.at_s += 3600
    assert world.tick(19).reason is Reason.STABILIZING
    assert world.wanted() == before


def test_a_fleet_taken_off_a_pool_is_made_elsewhere_before_it_is_broken_there() -> None:
    world = a_world(rps=45)
    world.settle()
    serving = world.serving()
    world.fleets = [replace(world.fleets[0], pools=("reserved", "on-demand"))]
    moving = world.tick()
    assert moving.reason is Reason.WAITING_FOR_REPLACEMENT
    assert world.wanted()["spot"] == 4
    assert world.wanted()["on-demand"] == 4
    for _ in range(30):
        world.tick()
        assert world.serving() >= serving
    assert world.wanted() == {"reserved": 8, "on-demand": 4}


def test_a_fleet_taken_off_a_pool_keeps_serving_there_while_no_other_pool_has_room() -> None:
    world = a_world(rps=45, on_demand=0)
    world.settle()
    serving = world.serving()
    world.fleets = [replace(world.fleets[0], pools=("reserved",))]
    for _ in range(80):
        stuck = world.tick()
        assert stuck.reason is Reason.NOT_ENOUGH_GPUS
        assert world.serving() == serving


def test_a_deleted_pool_is_retired_only_when_the_others_serve() -> None:
    world = a_world(rps=45)
    world.settle()
    world.pools = [pool for pool in world.pools if pool.name != "spot"]
    assert world.tick().retire == ()
    assert world.asked[world.fleets[0].key, "spot"] == 4
    world.settle(10)
    assert world.wanted() == {"reserved": 8, "on-demand": 4}
    assert world.serving() == 12


def test_two_fleets_that_share_pools_never_exceed_a_limit_and_neither_loses_what_it_has() -> None:
    fleets = [a_tp2_fleet("a", rps=20), a_tp2_fleet("b", rps=20)]
    world = World(fleets, pools(), {"a": 20, "b": 20})
    limits = {pool.name: pool.max_gpus or 0 for pool in world.pools}
    least = 0
    for at, (of_a, of_b) in enumerate([(20, 20), (60, 20), (60, 60), (90, 90), (20, 90), (90, 20)]):
        world.offered.update(a=of_a, b=of_b)
        for _ in range(50):
            world.tick()
            for name, limit in limits.items():
                held = sum(2 * n for (_, pool), n in world.asked.items() if pool == name)
                assert held <= limit, f"phase {at}: {name}"
        least = world.serving("a")
        assert least > 0
        assert world.serving("b") > 0


def test_when_no_pool_has_room_the_plan_says_how_much_is_missing() -> None:
    world = a_world(rps=200)
    short = world.tick()
    assert short.reason is Reason.NOT_ENOUGH_GPUS
    assert world.wanted() == {"reserved": 8, "spot": 8, "on-demand": 8}
    missing = next(verdict for verdict in short.verdicts if verdict.code is Reason.NOT_ENOUGH_GPUS)
    assert missing.before == 50, "what demand asks for, room or not"
    assert missing.after == 24
    assert "raise spec.limits.gpus" in missing.sentence


def test_max_replicas_cuts_and_says_what_it_is_worth() -> None:
    fleet = a_tp2_fleet(rps=60, scaling=ScalingTerms(max_replicas=4))
    capped = a_world(rps=60, fleet=fleet).tick()
    assert capped.replicas == 4
    assert capped.reason is Reason.MAX_REPLICAS
    assert "maxReplicas=4" in capped.sentence


def test_min_replicas_holds_an_idle_fleet_up() -> None:
    fleet = a_tp2_fleet(rps=1, scaling=ScalingTerms(min_replicas=3))
    world = World([fleet], pools(), {"chat": 0.0})
    settled = world.settle()
    assert settled.replicas == 3
    assert world.wanted() == {"reserved": 3}


def test_lowering_max_replicas_shrinks_at_once_because_somebody_said_so() -> None:
    world = a_world(rps=45)
    world.settle()
    world.fleets = [replace(world.fleets[0], scaling=ScalingTerms(max_replicas=5))]
    capped = world.tick()
    assert capped.reason is Reason.MAX_REPLICAS
    assert sum(world.wanted().values()) == 5


def test_a_fleet_that_only_recommends_is_shown_a_plan_and_never_touched() -> None:
    world = a_world(rps=45)
    world.settle()
    before = world.wanted()
    world.fleets = [replace(world.fleets[0], scaling=ScalingTerms(mode=Mode.RECOMMEND, max_replicas=40))]
    world.offered["chat"] = 5
    shown = world.settle(20)
    assert not shown.act
    assert shown.replicas < sum(before.values())
    assert world.wanted() == before


def test_a_reserved_pool_that_comes_late_takes_over_from_spot_without_a_gap() -> None:
    world = a_world(rps=30, fleet=a_tp2_fleet(rps=30, spot=SPOT_LOVER))
    world.pools = [pool for pool in world.pools if pool.name != "reserved"]
    world.settle()
    serving = world.serving()
    assert world.wanted() == {"spot": 8}
    world.pools = [*world.pools, a_pool("reserved", CapacityType.RESERVED)]
    for _ in range(int(900 / PERIOD_S)):
        world.tick()
        assert world.serving() >= serving
    assert world.wanted() == {"reserved": 8}
