"""Spot interruptions, from node names at two ticks to rates; what is no interruption is not counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import CapacityType, InterruptionRecord, NodeState, PoolMemory, PoolState, Tally
from inferencefleet.planning.interruptions import (
    CALM_HOURS,
    FORGET_S,
    RESTLESS_FACTOR,
    RESTLESS_S,
    believe,
    expected_stay_h,
    is_restless,
    observe,
)
from tests.builders import NOW_S, a_pool

POOL = a_pool("spot", CapacityType.SPOT, spot_notice_s=120.0, provision_p95_s=600.0, interruptions_per_node_hour=0.05)
TICK_S = 15.0


class Market:
    """A pool that is watched tick by tick."""

    def __init__(self, nodes: int = 4, *, kind: CapacityType = CapacityType.SPOT) -> None:
        self.pool = replace(POOL, capacity_type=kind)
        self.nodes = {
            f"n{i}": NodeState(name=f"n{i}", pool="spot", gpus=8, ready=True, doomed=False) for i in range(nodes)
        }
        self.pods = dict.fromkeys(self.nodes, Phase.READY)
        self.memory = PoolMemory()
        self.record = InterruptionRecord()
        self.at_s = NOW_S

    def tick(self, *, after_s: float = TICK_S, reported: InterruptionRecord | None = None) -> InterruptionRecord:
        self.at_s += after_s
        state = PoolState(
            pool=self.pool, nodes=tuple(self.nodes.values()), interruptions=reported or InterruptionRecord()
        )
        pods = [
            Replica(name=f"pod-{name}", pool="spot", phase=phase, node=name, since_s=0, created_s=0)
            for name, phase in self.pods.items()
        ]
        self.record, self.memory = observe(state, self.memory, replicas=pods, at_s=self.at_s)
        return self.record

    def mark(self, *names: str, **changes: Any) -> None:
        for name in names:
            self.nodes[name] = replace(self.nodes[name], **changes)

    def take(self, *names: str) -> None:
        for name in names:
            del self.nodes[name]
            self.pods.pop(name, None)

    def empty(self, *names: str) -> None:
        for name in names:
            self.pods.pop(name, None)


def test_watched_nodes_add_up_to_node_hours() -> None:
    market = Market(nodes=4)
    market.tick()
    market.tick(after_s=3600)
    assert market.record.node_hours == pytest.approx(4)
    assert market.record.events == 0


def test_a_node_that_vanishes_under_a_replica_was_taken_without_a_word() -> None:
    market = Market()
    market.tick()
    market.take("n0")
    record = market.tick()
    assert (record.events, record.nodes, record.silent) == (1, 1, 1)
    assert record.last is not None
    assert (record.last.nodes, record.last.of) == (1, 4)


def test_a_notice_counts_when_it_comes_and_is_measured_when_the_node_dies() -> None:
    market = Market()
    market.tick()
    market.mark("n0", doomed=True)
    assert market.tick().events == 1
    for _ in range(7):
        market.tick()
    assert market.record.events == pytest.approx(1, rel=1e-3), "it is the same interruption, however often it is seen"
    market.take("n0")
    record = market.tick()
    assert record.events == pytest.approx(1, rel=1e-3)
    assert record.notice_s == pytest.approx(8 * TICK_S)
    assert record.silent == 0


def test_a_node_that_a_scale_down_emptied_was_given_back_and_not_taken() -> None:
    market = Market()
    market.tick()
    market.pods["n0"] = Phase.TERMINATING
    market.tick()
    market.empty("n0")
    market.mark("n0", doomed=True)
    market.tick()
    market.take("n0")
    assert market.tick().events == 0


def test_an_idle_node_is_nobodys_risk() -> None:
    market = Market(nodes=1)
    market.empty("n0")
    market.tick()
    market.tick(after_s=3600)
    market.take("n0")
    record = market.tick()
    assert (record.events, record.node_hours) == (0, 0)


def test_a_node_that_stops_answering_and_then_goes_was_taken() -> None:
    market = Market()
    market.tick()
    market.mark("n0", ready=False)
    market.empty("n0")
    assert market.tick().events == 0, "it may come back"
    market.take("n0")
    assert market.tick().events == 1


def test_a_node_that_answers_again_was_not_taken() -> None:
    market = Market()
    market.tick()
    market.mark("n0", ready=False)
    market.tick()
    market.mark("n0", ready=True)
    market.tick()
    assert market.tick().events == 0


def test_nodes_that_go_within_one_replacement_time_are_one_event() -> None:
    market = Market(nodes=8)
    market.tick()
    market.take("n0")
    assert market.tick().calm.lone == 1
    market.take("n1", "n2")
    record = market.tick(after_s=300)
    assert record.events == pytest.approx(1, rel=1e-3)
    assert record.calm.lone == pytest.approx(0, abs=1e-3), "it is not a lone loss any more"
    assert record.calm.groups[1] == pytest.approx(1, rel=1e-3), "3 of 8 is up to half"
    market.take("n3")
    assert market.tick(after_s=900).events == pytest.approx(2, rel=1e-2), "that is the next one"


def test_a_market_is_restless_after_a_loss_and_counts_apart() -> None:
    market = Market()
    market.tick()
    market.tick(after_s=RESTLESS_S)
    assert not is_restless(market.record, market.at_s)
    market.take("n0")
    assert market.tick().calm.lone == 1, "it came out of a calm"
    market.take("n1")
    record = market.tick(after_s=900)
    assert record.restless.lone == 1
    assert is_restless(record, market.at_s)


def test_old_markets_fade() -> None:
    market = Market()
    market.tick()
    market.take("n0")
    market.tick()
    faded = market.tick(after_s=FORGET_S)
    assert faded.nodes == pytest.approx(0.368, abs=0.001)
    assert faded.events == pytest.approx(0.368, abs=0.001)


def test_another_spec_may_have_other_nodes() -> None:
    market = Market()
    market.tick()
    market.pool = replace(market.pool, generation=2)
    market.take("n0", "n1", "n2")
    assert market.tick().events == 0


def test_after_a_restart_the_status_goes_on_and_a_running_notice_is_news() -> None:
    before = InterruptionRecord(as_of_s=NOW_S, calm=Tally(node_hours=50, lone=2))
    market = Market()
    market.mark("n0", doomed=True)
    record = market.tick(reported=before)
    assert record.calm.node_hours == pytest.approx(50, rel=1e-3)
    assert record.events == pytest.approx(3, rel=1e-3)


def test_after_a_restart_a_notice_that_was_counted_is_not_counted_again() -> None:
    market = Market()
    market.tick()
    market.mark("n0", doomed=True)
    known = market.tick()
    market.memory = PoolMemory()
    assert market.tick(reported=known).events == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("kind", [CapacityType.RESERVED, CapacityType.ON_DEMAND])
def test_only_spot_nodes_are_taken_back(kind: CapacityType) -> None:
    market = Market(kind=kind)
    market.tick()
    market.take("n0", "n1")
    assert market.tick() == InterruptionRecord()
    assert believe(market.record, market.pool, market.at_s).per_node_hour == 0
    assert expected_stay_h(market.record, market.pool, market.at_s) == float("inf")


def test_without_experience_the_declared_rate_is_believed_and_more_of_it_after_a_loss() -> None:
    calm = InterruptionRecord(as_of_s=NOW_S, quiet_since_s=NOW_S - RESTLESS_S)
    assert believe(calm, POOL, NOW_S).per_node_hour == pytest.approx(0.05)
    assert believe(InterruptionRecord(), POOL, NOW_S).per_node_hour == pytest.approx(0.05)
    shaken = InterruptionRecord(as_of_s=NOW_S, quiet_since_s=NOW_S - 60)
    assert believe(shaken, POOL, NOW_S).per_node_hour == pytest.approx(0.05 * RESTLESS_FACTOR)


def test_what_is_seen_outweighs_what_is_declared() -> None:
    quiet = replace(calm_record(lone=0), calm=Tally(node_hours=9 * CALM_HOURS, group_hours=9 * CALM_HOURS))
    assert believe(quiet, POOL, NOW_S).per_node_hour == pytest.approx(0.005)
    assert believe(calm_record(lone=40), POOL, NOW_S).per_node_hour > 0.3


def calm_record(*, lone: float) -> InterruptionRecord:
    tally = Tally(node_hours=100, group_hours=25, lone=lone)
    return InterruptionRecord(as_of_s=NOW_S, quiet_since_s=NOW_S - RESTLESS_S, calm=tally)


def test_a_stay_is_short_right_after_a_loss_and_long_in_a_calm() -> None:
    shaky = InterruptionRecord(
        as_of_s=NOW_S,
        quiet_since_s=NOW_S,
        calm=Tally(node_hours=200, group_hours=200),
        restless=Tally(node_hours=10, group_hours=10, lone=20),
    )
    stays = [
        expected_stay_h(replace(shaky, quiet_since_s=NOW_S - quiet_s), POOL, NOW_S)
        for quiet_s in (0, 0.25 * RESTLESS_S, 0.75 * RESTLESS_S, RESTLESS_S)
    ]
    assert stays == sorted(stays)
    assert stays[0] < 0.3 * stays[-1]


def test_a_pool_that_recovered_from_not_delivering_is_restless() -> None:
    market = Market()
    market.tick()
    market.tick(after_s=2 * RESTLESS_S)
    assert not is_restless(market.record, market.at_s)
    market.memory = replace(market.memory, recovered_s=market.at_s)
    assert is_restless(market.tick(), market.at_s)


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "doom", "empty", "blink", "wait"]), st.integers(0, 9), st.floats(-60, 5000)),
        max_size=25,
    )
)
def test_whatever_happens_the_record_stays_sane_and_bounded(story: list[tuple[str, int, float]]) -> None:
    market = Market(nodes=10)
    market.tick()
    for what, index, after_s in story:
        name = f"n{index}"
        if name in market.nodes:
            if what == "take":
                market.take(name)
            elif what == "doom":
                market.mark(name, doomed=True)
            elif what == "empty":
                market.empty(name)
            elif what == "blink":
                market.mark(name, ready=not market.nodes[name].ready)
        record = market.tick(after_s=after_s)
        sums = [record.nodes, record.noticed, record.notice_sum_s, record.silent, record.node_hours, record.events]
        assert all(value >= 0 for value in sums)
        assert record.events <= record.nodes + 1e-9 <= 10 + 2e-9
        assert len(market.memory.nodes) + len(market.memory.doomed) <= 10
        assert expected_stay_h(record, POOL, market.at_s) > 0
