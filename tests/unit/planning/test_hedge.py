"""How many spot nodes may be down at once, what that asks of a fleet, and when spot is worth it."""

from __future__ import annotations

import random
from dataclasses import replace
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.domain.fleet import Fleet, SpotPolicy, SpotTerms, TrafficClass
from inferencefleet.domain.pool import GROUP_SHARES, CapacityType, InterruptionRecord, Pool, Tally
from inferencefleet.planning.hedge import (
    Exposed,
    Hedge,
    Known,
    effective_price_per_gpu_hour,
    hedge,
    risk_sentence,
    start_cost_hours,
)
from inferencefleet.planning.interruptions import RESTLESS_S
from inferencefleet.planning.losses import REACTION_S, Loss, down_s, plausible_loss
from tests.builders import NOW_S, a_fleet, a_pool

POOL = a_pool("h100-spot", CapacityType.SPOT, spot_notice_s=0.0, interruptions_per_node_hour=0.05)
HEDGED = SpotTerms(policy=SpotPolicy.HEDGED, max_fraction=1.0)


def seen(
    *, hours: float = 100.0, nodes: int = 8, lone: float = 0.0, groups: tuple[float, ...] = (0.0,) * 4
) -> InterruptionRecord:
    """A calm pool, watched for so long."""
    tally = Tally(node_hours=hours * nodes, group_hours=hours, lone=lone, groups=groups)
    return InterruptionRecord(as_of_s=NOW_S, quiet_since_s=NOW_S - RESTLESS_S, calm=tally)


def loss(
    record: InterruptionRecord,
    *,
    nodes: int = 8,
    replace_s: float = 600.0,
    attainment: float = 0.99,
    pool: Pool = POOL,
) -> Loss:
    return plausible_loss(record, pool, nodes_used=nodes, replace_s=replace_s, attainment=attainment, at_s=NOW_S)


def test_a_market_that_never_takes_anything_needs_no_spare() -> None:
    assert loss(seen(hours=5000)).nodes == 0


def test_lone_losses_ask_for_a_node_or_two_and_common_ones_for_all_that_go_together() -> None:
    assert 1 <= loss(seen(lone=30)).nodes <= 2
    assert loss(seen(groups=(0, 30, 0, 0))).nodes == 4, "half of eight go at once"
    assert loss(seen(groups=(0, 0, 0, 30))).nodes == 8


def test_a_laxer_slo_needs_fewer_spares() -> None:
    record = seen(lone=20, groups=(5, 5, 2, 4))
    counts = [loss(record, attainment=attainment).nodes for attainment in (0.8, 0.95, 0.99, 0.999)]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 8


def test_the_promise_is_kept_by_a_market_that_is_drawn_by_its_own_rates() -> None:
    """Poisson events of known rates and sizes, 4000 hours: the share of time with more nodes down is what was said."""
    draw, hours, window_h, nodes = random.Random(7), 4000.0, 600 / 3600, 8
    record = seen(hours=1e5, lone=1e5 * nodes * 0.06, groups=(1e5 * 0.08, 1e5 * 0.04, 0.0, 1e5 * 0.01))
    found = loss(record, nodes=nodes)
    moments: list[tuple[float, int]] = []
    for rate, size in ((0.06 * nodes, 1), (0.08, 2), (0.04, 4), (0.01, 8)):
        at_h = draw.expovariate(rate)
        while at_h < hours:
            moments += [(at_h, size), (at_h + window_h, -size)]
            at_h += draw.expovariate(rate)
    down, last_h, beyond_h = 0, 0.0, 0.0
    for at_h, change in sorted(moments):
        beyond_h += (at_h - last_h) * (down > found.nodes)
        down, last_h = down + change, at_h
    assert found.nodes in (2, 3, 4)
    assert found.exceeded <= 0.01
    assert beyond_h / hours == pytest.approx(found.exceeded, rel=0.2)


def test_with_one_kind_of_loss_and_a_certain_rate_the_number_down_is_poisson() -> None:
    record = seen(hours=1e7, nodes=8, lone=1e7 * 8 * 0.3)
    rate = 8 * 0.3 * 600 / 3600
    found = loss(record, attainment=0.9)
    assert found.nodes == 1
    assert found.exceeded == pytest.approx(1 - exp(-rate) * (1 + rate), rel=0.01)
    assert found.expected_down == pytest.approx(rate, rel=0.01)


def test_a_notice_that_covers_the_replacement_leaves_nothing_down() -> None:
    warned = replace(POOL, spot_notice_s=700.0)
    assert down_s(seen(), warned, replace_s=600) == 0
    assert loss(seen(lone=30), pool=warned).nodes == 0


def test_the_useful_part_of_a_notice_is_what_drain_and_reaction_leave_of_it() -> None:
    warned = replace(POOL, spot_notice_s=120.0)
    assert down_s(seen(), warned, replace_s=600) == pytest.approx(600 - (120 - REACTION_S))
    assert down_s(seen(), warned, replace_s=600, drain_s=60) == pytest.approx(600 - (120 - 60 - REACTION_S))
    assert down_s(seen(), warned, replace_s=600, drain_s=500) == 600


def test_nodes_that_die_without_a_word_cost_the_whole_replacement() -> None:
    warned = replace(POOL, spot_notice_s=120.0)
    silent = replace(seen(), silent=1000.0)
    assert down_s(silent, warned, replace_s=600) == pytest.approx(600, rel=0.01)


def test_the_sentence_says_how_many_how_often_and_from_what() -> None:
    found = loss(seen(groups=(0, 30, 0, 0)))
    assert found.sentence.startswith("of 8 nodes of h100-spot 4 may be down at once, such a loss 1 in ")
    assert "30.0 interruptions in 800 node hours" in found.sentence


def test_how_often_a_loss_comes_is_its_rate() -> None:
    often = loss(seen(hours=1e6, groups=(0, 1e6 * 0.1, 0, 0)), nodes=8).probability_per_hour
    assert often == pytest.approx(1 - exp(-0.1), rel=0.1)


COUNTS = st.floats(0, 60)
RECORDS = st.builds(
    seen,
    hours=st.floats(0, 500),
    nodes=st.integers(1, 40),
    lone=COUNTS,
    groups=st.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
)
QUESTIONS = st.fixed_dictionaries(
    {
        "nodes": st.integers(1, 60),
        "replace_s": st.floats(30, 2000),
        "attainment": st.sampled_from([0.9, 0.95, 0.99, 0.999]),
    }
)


@given(RECORDS, QUESTIONS, st.integers(-1, 3), st.floats(0, 30))
def test_more_interruptions_never_give_a_smaller_loss(
    record: InterruptionRecord, question: dict[str, float], kind: int, more: float
) -> None:
    calm = record.calm
    if kind < 0:
        worse = replace(calm, lone=calm.lone + more)
    else:
        worse = replace(calm, groups=tuple(n + (more if i == kind else 0) for i, n in enumerate(calm.groups)))
    assert loss(replace(record, calm=worse), **question).nodes >= loss(record, **question).nodes  # type: ignore[arg-type]


@given(RECORDS, QUESTIONS, st.floats(0, 600), st.floats(0, 600))
def test_a_longer_notice_never_gives_a_larger_loss(
    record: InterruptionRecord, question: dict[str, float], notice_s: float, longer_s: float
) -> None:
    short = loss(record, pool=replace(POOL, spot_notice_s=notice_s), **question)  # type: ignore[arg-type]
    long = loss(record, pool=replace(POOL, spot_notice_s=notice_s + longer_s), **question)  # type: ignore[arg-type]
    assert long.nodes <= short.nodes


@given(RECORDS, QUESTIONS)
def test_a_loss_is_never_more_than_there_is_and_keeps_what_was_asked(
    record: InterruptionRecord, question: dict[str, float]
) -> None:
    found = loss(record, **question)  # type: ignore[arg-type]
    assert 0 <= found.nodes <= question["nodes"]
    assert 0 <= found.exceeded <= 1 - question["attainment"] + 1e-12
    assert 0 <= found.probability_per_hour <= 1


def terms(fleet: Fleet, record: InterruptionRecord, *, replicas: int = 8, per_node: int = 1) -> Hedge:
    place = Exposed(pool=POOL, record=record, replicas=replicas, replicas_per_node=per_node, cold_start_s=600.0)
    return hedge(fleet, (place,), arrivals_per_s=20.0, utilisation=0.75, survival_utilisation=0.9, at_s=NOW_S)


SHAKY = seen(groups=(0, 30, 0, 0))


def test_a_hedged_fleet_must_survive_the_plausible_loss_at_its_survival_utilisation() -> None:
    found = terms(a_fleet(spot=HEDGED, attainment=0.99), SHAKY)
    assert found.losses == {"h100-spot": 4}
    assert found.survival_requests_per_s == pytest.approx(20 * 0.75 / 0.9), "what is planned to run at 0.75 may at 0.9"


def test_fleets_that_ask_the_same_of_a_pool_share_the_answer() -> None:
    known: Known = {}
    found = [
        hedge(
            a_fleet(name, spot=HEDGED, attainment=0.99),
            (Exposed(pool=POOL, record=SHAKY, replicas=replicas, replicas_per_node=1, cold_start_s=cold_s),),
            arrivals_per_s=20.0,
            utilisation=0.75,
            survival_utilisation=0.9,
            at_s=NOW_S,
            known=known,
        )
        for name, replicas, cold_s in (("a", 8, 592.0), ("b", 8, 598.0), ("c", 12, 598.0))
    ]
    assert len(known) == 2
    assert found[0].losses == found[1].losses == terms(a_fleet(spot=HEDGED, attainment=0.99), SHAKY).losses
    assert found[2].losses == {"h100-spot": 6}


def test_replicas_that_share_a_node_are_lost_together() -> None:
    assert terms(a_fleet(spot=HEDGED, attainment=0.99), SHAKY, replicas=32, per_node=4).losses == {"h100-spot": 16}
    assert terms(a_fleet(spot=HEDGED, attainment=0.99), SHAKY, replicas=3, per_node=4).losses == {"h100-spot": 3}


@pytest.mark.parametrize(
    "fleet",
    [
        a_fleet(spot=HEDGED, traffic_class=TrafficClass.BATCH),
        a_fleet(spot=SpotTerms(policy=SpotPolicy.PREFERRED)),
        a_fleet(spot=SpotTerms(policy=SpotPolicy.NEVER)),
    ],
    ids=["batch", "preferred", "never"],
)
def test_who_may_wait_or_has_no_spot_needs_no_spares(fleet: Fleet) -> None:
    found = terms(fleet, SHAKY)
    assert found.losses == {}
    assert found.survival_requests_per_s == 0
    assert found.pools["h100-spot"].lost_replicas == 0


def test_pools_that_are_never_taken_back_have_their_list_price_and_no_loss() -> None:
    pool = a_pool("on-demand", CapacityType.ON_DEMAND)
    place = Exposed(pool=pool, record=SHAKY, replicas=8, replicas_per_node=1, cold_start_s=600.0)
    found = hedge(
        a_fleet(spot=HEDGED), (place,), arrivals_per_s=20.0, utilisation=0.75, survival_utilisation=0.9, at_s=NOW_S
    )
    assert found.losses == {}
    assert found.pools["on-demand"].price_per_gpu_hour == pool.price_per_gpu_hour


def test_a_market_that_is_lost_every_half_hour_is_no_longer_cheap() -> None:
    """Ten minutes of cold start in each half hour: a third of the money serves nobody."""
    calm = effective_price_per_gpu_hour(POOL, seen(hours=1000), 600, at_s=NOW_S)
    wild = effective_price_per_gpu_hour(POOL, seen(hours=1000, nodes=1, lone=2000), 600, at_s=NOW_S)
    assert calm == pytest.approx(POOL.price_per_gpu_hour, rel=0.01)
    assert wild == pytest.approx(POOL.price_per_gpu_hour * 4 / 3, rel=0.03)


def test_a_start_costs_more_where_nodes_do_not_stay() -> None:
    on_demand = a_pool("on-demand", CapacityType.ON_DEMAND)
    costs = [
        start_cost_hours(pool, record, cold_start_s=300, at_s=NOW_S)
        for pool, record in ((on_demand, seen()), (POOL, seen(hours=2000)), (POOL, seen(lone=800)))
    ]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(300 / 3600 / 4)
    assert costs[2] > 2 * costs[0]


def test_the_risk_is_one_sentence() -> None:
    found = Loss(nodes=2, probability_per_hour=1 / 40, expected_down=0.1, exceeded=0.004, sentence="")
    assert risk_sentence("h100-spot", found, left_requests_per_s=14.2, needed_requests_per_s=13.0) == (
        "a loss of 2 nodes of h100-spot (1 in 40 hours) leaves 14.2 of 13.0 req/s needed"
    )
    none = replace(found, nodes=0)
    assert "h100-spot need no spare: they are down 0.4 % of the time" in risk_sentence(
        "h100-spot", none, left_requests_per_s=14.2, needed_requests_per_s=13.0
    )


def test_shares_cover_everything_that_can_be_lost_together() -> None:
    assert GROUP_SHARES[-1] == 1.0
    assert list(GROUP_SHARES) == sorted(GROUP_SHARES)
