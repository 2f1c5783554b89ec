"""Our planner in a replay: it decides, remembers and explains as it does in the cluster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferencefleet.domain.fleet import ScalingTerms, SpotPolicy, SpotTerms
from inferencefleet.domain.plan import Plan
from inferencefleet.domain.snapshot import Snapshot
from inferencefleet.planning.plan import plan
from inferencefleet.simulator import reference
from inferencefleet.simulator.ours import Ours
from inferencefleet.simulator.replay import Availability, Delay, Replayed, Span, Stage, replay
from tests.unit.simulator.staging import (
    CHAT,
    a_replayed_fleet,
    a_stage,
    arrivals,
    on_demand,
    play,
    reserved,
    spot,
)


def ramp(*points: tuple[float, float], seed: int = 1):
    """Poisson arrivals at a rate that is joined by straight lines between (time, requests/s)."""
    random = np.random.default_rng(seed)
    times, rates = np.array(points).T
    most = rates.max()
    candidates = np.cumsum(random.exponential(1 / most, int(2 * most * times[-1])))
    candidates = candidates[candidates < times[-1]]
    kept = random.uniform(size=candidates.size) * most < np.interp(candidates, times, rates)
    return arrivals(list(candidates[kept]), prompt=1000, output=150)


def up_and_down(**overrides) -> Stage:
    fleet = a_replayed_fleet(
        rps=3.0,
        spot=SpotTerms(policy=SpotPolicy.NEVER),
        scaling=ScalingTerms(max_replicas=20, scale_down_stabilization_s=120.0),
    )
    traffic = ramp((0.0, 2.0), (120.0, 2.0), (360.0, 10.0), (480.0, 10.0), (490.0, 1.0), (900.0, 1.0))
    return a_stage(
        reserved(2, provisioning=Delay(p50_s=30.0, p95_s=40.0)),
        on_demand(provisioning=Delay(p50_s=30.0, p95_s=40.0)),
        traffic=traffic,
        fleet=fleet,
        initial={"reserved": 2},
        duration_s=900.0,
        **overrides,
    )


@pytest.fixture(scope="module")
def told() -> tuple[Replayed, list[tuple[Snapshot, Plan]]]:
    """One story that several tests look at."""
    seen: list[tuple[Snapshot, Plan]] = []
    done = play(up_and_down(), Ours(on_tick=lambda snapshot, decided: seen.append((snapshot, decided))))
    return done, seen


def totals(done: Replayed, pool: str) -> list[float]:
    return done.fleets[0].minutes.wanted.get(pool, np.zeros(15)).tolist()


def test_it_grows_on_a_ramp_and_shrinks_after_it(told):
    done, _ = told
    wanted = np.add(totals(done, "reserved"), totals(done, "on-demand"))

    assert wanted[7] > wanted[1], "more at the top of the ramp"
    assert wanted[14] < wanted[7], "less when it is over"
    assert done.dollars_beyond_reserved > 0
    assert any(each.change > 0 for each in done.decisions)
    assert any(each.change < 0 for each in done.decisions)


def test_reserved_replicas_are_the_last_to_go(told):
    done, _ = told

    assert totals(done, "on-demand")[-1] == 0
    assert totals(done, "reserved")[7] == 2


def test_most_requests_are_within_their_targets(told):
    done, _ = told

    assert done.attainment > 0.95


def test_every_decision_says_why(told):
    done, _ = told

    assert done.decisions
    assert all(each.reason and each.sentence for each in done.decisions)


def test_memory_goes_from_one_tick_to_the_next(told):
    _, seen = told
    (_, earlier), (snapshot, _) = seen[30], seen[31]

    assert snapshot.memory == earlier.memory
    assert len(snapshot.memory[CHAT].arrivals) > 10


def test_a_saved_snapshot_gives_the_same_plan_again(told):
    _, seen = told
    snapshot, decided = seen[40]

    assert plan(snapshot).fleets[0].replicas == decided.fleets[0].replicas


def test_engines_teach_the_planner_what_they_truly_are(told):
    _, seen = told

    entries = seen[-1][1].memory[CHAT].calibration
    assert entries
    assert sum(entry.used for entry in entries) > 0


def test_while_prometheus_is_blind_nothing_is_given_up():
    done = play(up_and_down(blind=(Span(490.0, 660.0),)), Ours())

    falls = [each.at_s for each in done.decisions if each.change < 0]
    assert not [at_s for at_s in falls if 490.0 <= at_s < 660.0]
    assert max(falls) > 660.0, "once it sees again, it shrinks"


def test_a_replica_on_a_doomed_node_is_replaced_before_it_dies():
    fleet = a_replayed_fleet(
        rps=2.0,
        spot=SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=1.0),
        scaling=ScalingTerms(min_replicas=2, max_replicas=4),
    )
    market = Availability(at_s=(0.0, 290.0, 291.0), nodes=(2, 1, 2))
    stage = a_stage(
        spot(availability=market, provisioning=Delay(p50_s=20.0, p95_s=25.0)),
        traffic=ramp((0.0, 2.0), (600.0, 2.0)),
        fleet=fleet,
        initial={"spot": 2},
        duration_s=600.0,
    )

    done = play(stage, Ours())

    # The notice comes at 290 s and the node would die at 410 s; its pod has been let go by then.
    assert [(each.change, each.at_s < 410.0) for each in done.decisions] == [(1, True), (-1, True)]
    assert done.decisions[0].reason == "ReplacingDoomed"
    assert done.fleets[0].replicas_killed == 0
    assert done.fleets[0].minutes.ready["spot"].min() == 2.0
    assert done.attainment > 0.99


def test_what_a_market_takes_back_is_replaced_elsewhere_and_comes_back_when_the_market_does():
    fleet = a_replayed_fleet(
        rps=2.0,
        spot=SpotTerms(policy=SpotPolicy.PREFERRED, max_fraction=1.0),
        scaling=ScalingTerms(min_replicas=2, max_replicas=4),
    )
    quick = Delay(p50_s=20.0, p95_s=25.0)
    stage = a_stage(
        spot(availability=Availability(at_s=(0.0, 290.0, 900.0), nodes=(2, 0, 2)), provisioning=quick),
        on_demand(provisioning=quick),
        traffic=ramp((0.0, 2.0), (2400.0, 2.0)),
        fleet=fleet,
        initial={"spot": 2},
        duration_s=2400.0,
    )

    done = play(stage, Ours())

    answer = done.decisions[0]
    assert 290.0 <= answer.at_s <= 320.0, "at the tick that hears the notice"
    assert answer.after["on-demand"] == 2, "nobody waits for a node where they are taken back"
    assert answer.after["spot"] == 3, "the doomed ones until others serve, and one to see whether the market gives"
    ready = done.fleets[0].minutes.ready
    assert (ready["spot"] + ready["on-demand"]).min() >= 2.0 - 1e-9, "replaced before they die"
    assert ready["spot"][-1] == 2.0, "it is cheaper there, and it delivers again"
    assert done.attainment > 0.99


def test_what_a_pool_did_not_deliver_is_remembered_as_its_status_would():
    seen: list[Snapshot] = []
    stage = a_stage(
        on_demand(stock_outs=(Span(0.0, 1e9),), provisioning=Delay(p50_s=10.0, p95_s=10.0)),
        on_demand("other", price=9.0, provisioning=Delay(p50_s=10.0, p95_s=10.0)),
        traffic=ramp((0.0, 2.0), (600.0, 2.0)),
        fleet=a_replayed_fleet(rps=2.0, spot=SpotTerms(policy=SpotPolicy.NEVER)),
        duration_s=600.0,
    )

    done = play(stage, Ours(on_tick=lambda snapshot, _: seen.append(snapshot)))

    exhausted = [state.exhaustion for state in seen[-1].pools if state.pool.name == "on-demand"]
    assert exhausted[0] is not None
    assert done.fleets[0].minutes.ready["other"][-1] >= 1.0


def test_an_ablation_changes_what_the_planner_is_given_and_its_name():
    def nothing_seen(snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, memory={})

    seen: list[Snapshot] = []
    ours = Ours("forgetful", amend=nothing_seen, on_tick=lambda snapshot, _: seen.append(snapshot))
    stage = replace(up_and_down(), duration_s=300.0)

    done = replay(stage, ours, engines=reference.servers, seed=1)

    assert done.policy == "forgetful"
    assert all(not snapshot.memory for snapshot in seen)
