"""Pods of a replay: they start, serve, drain and are made again, as Kubernetes does it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.domain.observation import Phase
from inferencefleet.simulator.policy import ANY, Hints
from inferencefleet.simulator.replay import Loss
from inferencefleet.simulator.replay.cloud import Node
from inferencefleet.simulator.replay.pods import Tenant, victims_first
from inferencefleet.simulator.servers import Outcome
from tests.unit.simulator.staging import (
    CHAT,
    LOAD_S,
    NODE_S,
    Script,
    a_replayed_fleet,
    a_stage,
    arrivals,
    every,
    on_demand,
    play,
    reserved,
)


def test_a_replica_waits_for_its_node_then_loads_then_serves():
    script = Script([(15.0, {"on-demand": 1})])

    play(a_stage(on_demand()), script)

    assert script.pods_at(30.0) == {"chat-on-demand-1": "Unscheduled"}
    assert script.pods_at(90.0) == {"chat-on-demand-1": "Starting"}
    assert script.pods_at(120.0) == {"chat-on-demand-1": "Ready"}
    replica = script.sight(120.0).fleets[0].replicas[0]
    start_s = script.sight(120.0).snapshot.at_s - 120.0
    assert replica.created_s - start_s == 15.0
    assert replica.scheduled_s is not None
    assert replica.scheduled_s - start_s == 15.0 + NODE_S
    assert replica.since_s - start_s == 15.0 + NODE_S + LOAD_S


def test_what_serves_drains_before_it_is_removed_and_its_requests_finish():
    # Half a minute of decoding: still at work when the replica is told to go.
    traffic = arrivals([10.0] * 4, output=2000)
    script = Script([(15.0, {})])

    done = play(a_stage(reserved(), traffic=traffic, initial={"reserved": 1}), script)

    assert script.pods_at(30.0) == {"chat-reserved-1": "Terminating"}
    assert script.pods_at(60.0) == {}
    assert (done.fleets[0].results.outcome == Outcome.FINISHED).all()
    assert done.fleets[0].retries == 0


class Choosy(Script):
    """Names who goes first."""

    def hints(self, key: FleetKey) -> Hints:
        return Hints(victims={"reserved": ("chat-reserved-1",)})


def test_a_drain_ends_with_the_grace_and_what_is_left_is_sent_once_more():
    fleet = a_replayed_fleet()
    fleet = replace(fleet, engine=replace(fleet.engine, drain_s=5.0))
    # With nothing else to do the router takes the first replica, which is then told to go.
    traffic = arrivals([10.0], output=2000)
    script = Choosy([(15.0, {"reserved": 1})])

    done = play(a_stage(reserved(2), traffic=traffic, initial={"reserved": 2}, fleet=fleet), script)

    assert script.pods_at(30.0) == {"chat-reserved-2": "Ready"}
    assert done.fleets[0].retries == 1
    assert done.fleets[0].results.outcome[0] == Outcome.FINISHED
    assert done.fleets[0].results.e2e_s[0] > 10.0


def test_requests_of_a_lost_node_are_sent_once_more_and_none_is_forgotten():
    traffic = arrivals(every(0.5, until_s=300.0))
    pool = reserved(2, losses=(Loss(at_s=150.25, nodes=1),))
    stage = a_stage(pool, traffic=traffic, initial={"reserved": 2}, duration_s=400.0)

    done = play(stage, Script())

    outcomes = np.bincount(done.fleets[0].results.outcome, minlength=4)
    assert outcomes.sum() == len(traffic)
    assert outcomes[Outcome.FINISHED] == len(traffic)
    assert done.fleets[0].retries > 0
    assert done.fleets[0].replicas_killed == 1


def test_what_does_not_serve_dies_first_whatever_the_policy_names():
    script = Script([(15.0, {"on-demand": 2}), (30.0, {"on-demand": 1})])
    stage = a_stage(on_demand(), initial={"on-demand": 1})

    play(stage, script)

    assert script.pods_at(45.0) == {"chat-on-demand-1": "Ready"}


def test_a_law_that_knows_no_pools_takes_over_what_runs():
    script = Script([(15.0, {ANY: 2})])

    done = play(a_stage(reserved(2), initial={"reserved": 2}), script)

    assert script.pods_at(600.0) == {"chat-reserved-1": "Ready", "chat-reserved-2": "Ready"}
    assert done.fleets[0].mean_ready == pytest.approx(2.0)


def test_a_fleet_without_an_answer_keeps_what_it_has():
    done = play(a_stage(reserved(2), initial={"reserved": 2}), Script())

    assert done.decisions == ()
    assert done.fleets[0].mean_wanted == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("targets", "message"),
    [({"moon": 1}, r"1 replicas in 'moon'.*one of reserved or '\*'"), ({"reserved": -1}, "-1 replicas in 'reserved'")],
)
def test_a_policy_that_asks_for_the_impossible_is_told_what_is_possible(targets: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        play(a_stage(reserved()), Script([(15.0, targets)]))


def test_a_policy_that_decides_for_another_fleet_is_told_which_there_are():
    class Stray(Script):
        def decide(self, sight):
            return {FleetKey("default", "ghost"): {"reserved": 1}}

    with pytest.raises(ValueError, match="default/ghost, which is not on the stage; its fleets are default/chat"):
        play(a_stage(reserved()), Stray())


def test_the_victims_that_a_policy_names_go_first_among_those_that_serve():
    script = Choosy([(15.0, {"reserved": 1})])

    play(a_stage(reserved(2), initial={"reserved": 2}), script)

    assert script.pods_at(600.0) == {"chat-reserved-2": "Ready"}


def test_without_a_name_the_doomed_go_first_then_the_fullest_node_then_the_youngest():
    tenant = Tenant(a_stage(reserved()).fleets[0], servers=None, seed=1)  # type: ignore[arg-type]
    full, other, doomed = (Node(name, "reserved", 8, launched_s=0.0, up_s=0.0) for name in ("full", "other", "doomed"))
    doomed.notice_s = 1.0
    pods = []
    for created_s, node in ((5.0, full), (1.0, full), (9.0, other), (0.0, doomed)):
        pod = tenant.new_pod("reserved", created_s)
        pod.node = node
        pod.enter(Phase.READY, created_s)
        pods.append(pod)

    ordered = victims_first(pods, ())

    assert [(pod.node.name, pod.created_s) for pod in ordered if pod.node] == [
        ("doomed", 0.0), ("full", 5.0), ("full", 1.0), ("other", 9.0),
    ]  # fmt: skip


def test_fleets_share_the_nodes_of_a_pool_and_have_results_of_their_own():
    one = a_stage(reserved(2), traffic=arrivals(every(1.0, until_s=100.0)), initial={"reserved": 1})
    other = replace(
        one.fleets[0],
        fleet=replace(a_replayed_fleet(name="other"), uid="uid-other"),
        arrivals=arrivals(every(2.0, until_s=100.0)),
        initial={},
    )
    script = Script([(15.0, {"reserved": 2})])

    class Both(Script):
        def decide(self, sight):
            script.decide(sight)
            return {} if sight.at_s < 15 else {CHAT: {"reserved": 1}, other.fleet.key: {"reserved": 2}}

    done = play(replace(one, fleets=(one.fleets[0], other)), Both())

    phases = {seen.fleet.key.name: sorted(str(r.phase) for r in seen.replicas) for seen in script.sight(600.0).fleets}
    assert phases == {"chat": ["Ready"], "other": ["Ready", "Unscheduled"]}, "three pods, two nodes"
    assert [(fleet.key.name, fleet.requests) for fleet in done.fleets] == [("chat", 100), ("other", 50)]
    assert done.dollars == pytest.approx(2 * 600 * 0.001), "a shared node is paid once"


def test_every_change_of_what_is_asked_for_is_in_the_log_with_its_time():
    done = play(a_stage(reserved(2)), Script([(15.0, {"reserved": 1}), (45.0, {"reserved": 2}), (90.0, {})]))

    assert [(each.at_s, each.fleet, dict(each.before), dict(each.after)) for each in done.decisions] == [
        (15.0, CHAT, {}, {"reserved": 1}),
        (45.0, CHAT, {"reserved": 1}, {"reserved": 2}),
        (90.0, CHAT, {"reserved": 2}, {}),
    ]
    assert done.fleets[0].reversals == 1
    assert done.fleets[0].changes_per_hour == pytest.approx(3 * 6)
