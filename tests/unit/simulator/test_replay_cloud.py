"""The cloud of a replay: what it costs, where pods go, what it refuses and what it takes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.observation import Phase
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator.policy import ANY
from inferencefleet.simulator.replay import Availability, Loss, Span, StageError
from tests.unit.simulator.staging import (
    LOAD_S,
    NODE_S,
    Script,
    a_stage,
    on_demand,
    play,
    reserved,
    spot,
)


def test_a_node_is_paid_from_its_launch_until_it_was_idle_for_long_enough():
    script = Script([(15.0, {"on-demand": 1}), (300.0, {})])

    done = play(a_stage(on_demand(idle_removal_s=60.0)), script)

    # Launched at 15 s, empty at 300 s, removed at 360 s: 345 s at $0.002.
    assert done.dollars_by_pool["on-demand"] == pytest.approx(345 * 0.002)
    assert done.fleets[0].mean_ready == pytest.approx((300 - 15 - NODE_S - LOAD_S) / 600)


def test_a_reservation_is_paid_whether_it_is_used_or_lost_and_is_not_beyond_itself():
    stage = a_stage(reserved(nodes=2, losses=(Loss(at_s=100.0, nodes=1),)), on_demand())

    done = play(stage, Script())

    assert done.dollars == pytest.approx(2 * 600 * 0.001)
    assert done.dollars_beyond_reserved == 0.0


def test_dollars_of_the_warm_up_are_not_scored_but_shown_by_minute():
    done = play(a_stage(reserved(nodes=1), warm_up_s=120.0), Script())

    assert done.dollars == pytest.approx(480 * 0.001)
    assert list(done.dollars_by_minute["reserved"]) == pytest.approx([0.06] * 10)


def test_two_pods_share_a_node_that_comes_anyway():
    pool = on_demand()
    wide = replace(pool, pool=replace(pool.pool, gpus_per_node=4))
    script = Script([(15.0, {"on-demand": 2})])

    play(a_stage(wide), script)

    nodes = {replica.node for replica in script.sight(600.0).fleets[0].replicas}
    assert nodes == {"on-demand-1"}


def test_a_pod_of_no_pool_goes_to_reserved_first_and_then_where_it_is_cheapest():
    script = Script([(15.0, {ANY: 3})])

    play(a_stage(reserved(nodes=1), on_demand("dear", price=5.0), on_demand("cheap", price=3.0), spot()), script)

    pools = sorted(replica.pool for replica in script.sight(600.0).fleets[0].replicas)
    assert pools == ["cheap", "cheap", "reserved"], "spot is not among the capacity types it may use"


def test_a_pod_of_no_pool_uses_spot_where_the_stage_allows_it():
    script = Script([(15.0, {ANY: 1})])
    stage = a_stage(on_demand(), spot(), any_capacity_types=(CapacityType.ON_DEMAND, CapacityType.SPOT))

    play(stage, script)

    assert [replica.pool for replica in script.sight(600.0).fleets[0].replicas] == ["spot"]


def test_a_pool_without_stock_is_passed_over():
    script = Script([(15.0, {ANY: 1})])
    cheap = on_demand("cheap", price=3.0, stock_outs=(Span(0.0, 400.0),))

    play(a_stage(cheap, on_demand("dear", price=5.0)), script)

    assert [replica.pool for replica in script.sight(600.0).fleets[0].replicas] == ["dear"]


def test_after_a_refusal_the_pool_is_asked_again_when_the_backoff_is_over():
    script = Script([(15.0, {"on-demand": 1})])
    stage = a_stage(on_demand(stock_outs=(Span(0.0, 100.0),), refusal_backoff_s=180.0))

    done = play(stage, script)

    # Refused at 15 s, asked again at 195 s, not at 100 s when stock is back: 405 s are paid.
    assert done.dollars == pytest.approx((600 - 195) * 0.002)
    waiting = script.sight(150.0).fleets[0].replicas[0]
    assert waiting.node is None
    assert "InsufficientInstanceCapacity" in waiting.message


def test_the_quota_is_the_most_nodes_at_a_time():
    script = Script([(15.0, {"on-demand": 3})])

    play(a_stage(on_demand(max_nodes=2)), script)

    phases = sorted(script.pods_at(600.0).values())
    assert phases == ["Ready", "Ready", "Unscheduled"]
    assert len(script.sight(600.0).snapshot.pools[0].nodes) == 2


def test_nodes_that_come_are_not_shown_before_they_are_there():
    script = Script([(15.0, {"on-demand": 1})])

    play(a_stage(on_demand()), script)

    assert script.sight(60.0).snapshot.pools[0].nodes == ()
    assert [node.name for node in script.sight(75.0).snapshot.pools[0].nodes] == ["on-demand-1"]


def test_a_market_that_shrinks_takes_the_youngest_node_after_a_notice_and_refuses_a_new_one():
    market = Availability(at_s=(0.0, 300.0), nodes=(2, 1))
    script = Script([(15.0, {"spot": 1}), (30.0, {"spot": 2})])

    done = play(a_stage(spot(availability=market)), script)

    doomed = [replica.name for replica in script.sight(300.0).fleets[0].replicas if replica.doomed]
    assert doomed == ["chat-spot-2"]
    assert [node.doomed for node in script.sight(300.0).snapshot.pools[0].nodes] == [False, True]
    # The notice is 120 s; the Deployment makes another pod, for which there is no node.
    assert script.pods_at(420.0) == {"chat-spot-1": "Ready", "chat-spot-3": "Unscheduled"}
    assert done.fleets[0].replicas_killed == 1
    assert done.dollars == pytest.approx(((600 - 15) + (420 - 30)) * 0.0005)


def test_a_coming_spot_node_that_the_market_takes_back_is_not_paid():
    market = Availability(at_s=(0.0, 30.0), nodes=(1, 0))

    done = play(a_stage(spot(availability=market)), Script([(15.0, {"spot": 1})]))

    assert done.dollars == 0.0


def test_a_quota_counts_a_node_until_it_is_gone():
    market = Availability(at_s=(0.0, 290.0, 291.0), nodes=(1, 0, 1))
    script = Script([(15.0, {"spot": 1}), (300.0, {"spot": 2})])

    play(a_stage(spot(availability=market, max_nodes=1)), script)

    assert set(script.pods_at(405.0).values()) == {"Ready", "Unscheduled"}
    # Gone at 410 s, so that another node can come, within a minute.
    assert sorted(script.pods_at(480.0).values()) == ["Starting", "Unscheduled"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: on_demand(nodes=1), "'on-demand' is OnDemand and has nodes=1 from the start.*initial replicas"),
        (lambda: reserved(interruptions_per_node_hour=0.1), "'reserved' is Reserved and has a market"),
        (lambda: spot(interruption_batch=0), "interruption_batch is 0 and max_nodes 1000; both must be at least 1"),
    ],
)
def test_a_cloud_that_cannot_be_is_refused_with_the_way_out(make: Callable[[], object], message: str):
    with pytest.raises(StageError, match=message):
        make()


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from(["reserved", "on-demand", "spot", ANY]), st.integers(0, 4)),
        max_size=8,
    ),
    market=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    lost_s=st.floats(1.0, 290.0),
)
@settings(max_examples=15, deadline=None)
def test_whatever_happens_no_node_holds_more_than_it_has_and_every_pod_is_accounted_for(steps, market, lost_s):
    script = Script(sorted(((15.0 * tick, {target: count}) for tick, target, count in steps), key=lambda step: step[0]))
    stage = a_stage(
        reserved(nodes=2, losses=(Loss(at_s=lost_s, nodes=1, back_s=lost_s + 60.0),)),
        on_demand(max_nodes=2, idle_removal_s=20.0),
        spot(availability=Availability(at_s=tuple(40.0 * i for i in range(len(market))), nodes=tuple(market))),
        duration_s=330.0,
    )

    done = play(stage, script)

    for sight in script.sights:
        seen = sight.fleets[0]
        held: dict[str, int] = {}
        for replica in seen.replicas:
            if replica.node is not None:
                held[replica.node] = held.get(replica.node, 0) + replica.tensor_parallel
        nodes = {node.name: node.gpus for state in sight.snapshot.pools for node in state.nodes}
        assert all(gpus <= nodes[name] for name, gpus in held.items()), "a pod is on a node that is there"
        standing = [replica for replica in seen.replicas if replica.phase is not Phase.TERMINATING]
        assert len(standing) == sum(seen.wanted.values()), "Deployments have what they ask for"
    assert done.dollars >= 2 * 330 * 0.001 - 1e-9


def test_pods_of_no_pool_are_moved_at_the_notice_and_not_only_at_the_death():
    market = Availability(at_s=(0.0, 300.0), nodes=(1, 0))
    script = Script([(15.0, {ANY: 1})])
    stage = a_stage(
        spot(availability=market),
        on_demand(),
        any_capacity_types=(CapacityType.ON_DEMAND, CapacityType.SPOT),
    )

    done = play(stage, script)

    assert script.pods_at(300.0) == {"chat-any-2": "Unscheduled"}
    assert [replica.pool for replica in script.sight(390.0).fleets[0].replicas] == ["on-demand"]
    assert done.fleets[0].replicas_killed == 0


def test_spot_nodes_are_interrupted_about_as_often_as_the_rate_says():
    stage = a_stage(
        spot(interruptions_per_node_hour=4.0, max_nodes=10), duration_s=2 * 3600.0, period_s=600.0, initial={"spot": 10}
    )

    done = play(stage, Script())

    # 10 nodes x 2 h x 4 = 80 expected, less the minutes in which a replacement comes; +-3 sigma.
    assert 45 <= done.fleets[0].replicas_killed <= 105


def test_reserved_nodes_that_come_back_are_filled_again():
    script = Script()
    stage = a_stage(reserved(nodes=2, losses=(Loss(at_s=100.0, nodes=1, back_s=300.0),)), initial={"reserved": 2})

    play(stage, script)

    assert sorted(script.pods_at(285.0).values()) == ["Ready", "Unscheduled"]
    assert sorted(script.pods_at(345.0).values()) == ["Ready", "Ready"]


def test_initial_replicas_without_a_node_are_refused_with_the_way_out():
    with pytest.raises(StageError, match=r"initial\['reserved'\] is 2.*give it more nodes or fewer replicas"):
        play(a_stage(reserved(nodes=1), initial={"reserved": 2}), Script())
