"""The peers by name: every law runs with its defaults and its grid, and a wrong name is answered with the right one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.fleet import FleetKey
from inferencefleet.simulator.laws import LAWS, NEEDED, start
from inferencefleet.simulator.laws.common import Interval
from inferencefleet.simulator.policy import ANY, Seen
from tests.builders import replicas, three_pools
from tests.unit.simulator.laws_world import fleet, pod, see, sight, tail, waiting

PROFILE = {"reserved": 2.0, "on-demand": 2.0, "spot": 2.0}


def needed(name: str) -> dict[str, int]:
    return {knob: 4 for knob, default in LAWS[name].knobs.items() if default is NEEDED}


def busy(at_s: float = 0.0, *, blind: bool = False) -> Seen:
    return see(
        at_s,
        {"reserved": 3},
        samples=() if blind else waiting(60, 3),
        there=replicas("reserved", 3),
        arrivals_per_s=None if blind else 12.0,
        ttft_s=None if blind else tail(4.0),
        tpot_s=None if blind else tail(0.05),
        blind=blind,
        profiled_requests_per_s=PROFILE,
    )


@pytest.mark.parametrize("name", LAWS)
def test_every_law_decides_with_its_defaults_and_with_each_of_its_grid(name: str) -> None:
    for knobs in ({}, *LAWS[name].grid):
        policy = start(name, **needed(name), **knobs)
        assert policy.name == name
        for tick in range(3):
            seen = busy(15.0 * tick, blind=tick == 1)
            targets = policy.decide(sight(seen, three_pools()))[seen.fleet.key]
            assert targets
            assert all(count >= 0 for count in targets.values())
            assert {*targets} <= {ANY, "reserved", "on-demand", "spot"}


@pytest.mark.parametrize("name", LAWS)
def test_a_grid_has_few_combinations_of_knobs_that_exist(name: str) -> None:
    grid = LAWS[name].grid
    assert len(grid) == 0 or 4 <= len(grid) <= 9
    assert all({*knobs} <= {*LAWS[name].knobs} for knobs in grid)


@pytest.mark.parametrize("name", LAWS)
@settings(max_examples=15, deadline=None)
@given(
    ticks=st.lists(
        st.tuples(
            st.integers(0, 6),
            st.floats(0, 1),
            st.floats(0, 500),
            st.one_of(st.none(), st.floats(0, 100)),
            st.booleans(),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_sight_however_odd_raises_or_leaves_the_fleets_maximum(
    name: str, ticks: list[tuple[int, float, float, float | None, bool]]
) -> None:
    policy, who, wanted = start(name, **needed(name)), fleet(1, 12), {"reserved": 2}
    for index, (pods, usage, queue, rate, blind) in enumerate(ticks):
        samples = [pod(f"p{number}", kv_cache_usage=usage, waiting=queue) for number in range(0 if blind else pods)]
        seen = see(
            15.0 * index, wanted, samples=samples, there=replicas("reserved", pods), who=who, blind=blind,
            arrivals_per_s=None if blind else rate, ttft_s=None if blind else tail(0.1 + queue / 50),
            profiled_requests_per_s=PROFILE,
        )  # fmt: skip
        wanted = dict(policy.decide(sight(seen, three_pools()))[who.key])
        # SkyServe holds spot and the on-demand behind it at once: up to twice the maximum by its own rule.
        assert sum(wanted.values()) <= (24 if name == "skyserve-spot" else 12)


def test_two_fleets_do_not_share_what_a_law_remembers() -> None:
    policy = start("llmd-slo", up_stabilization_s=0.0)
    calm = see(0.0, 3, who=fleet(1, 40, key=FleetKey("default", "calm")), ttft_s=tail(1.35))
    hot = see(0.0, 3, who=fleet(1, 40, key=FleetKey("default", "hot")), ttft_s=tail(9.0))
    both = replace(sight(calm), fleets=(calm, hot))
    decided = policy.decide(both)
    assert decided[calm.fleet.key] == {ANY: 3}
    assert decided[hot.fleet.key][ANY] > 3


def test_a_wrong_name_is_answered_with_the_closest() -> None:
    with pytest.raises(ValueError, match=r"policy='llmd-sl'.*did you mean 'llmd-slo'"):
        start("llmd-sl")
    with pytest.raises(ValueError, match=r"choose one of static-peak"):
        start("zzz")


def test_a_wrong_knob_is_answered_with_the_closest_and_a_needed_one_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"knob='treshold'.*did you mean 'threshold'"):
        start("kaito", treshold=3)
    with pytest.raises(ValueError, match=r"'replicas' has no default; give it"):
        start("static-peak")


def test_the_spot_rule_stands_on_any_load_law_by_name() -> None:
    policy = start("skyserve-spot", load="static-peak", **{"load.replicas": 5}, num_overprovision=1)
    seen = busy()
    assert policy.decide(sight(seen, three_pools()))[seen.fleet.key] == {"spot": 6, ANY: 5}
    with pytest.raises(ValueError, match=r"did you mean 'static-peak'"):
        start("skyserve-spot", load="static-pek")


def test_a_controllers_period_is_kept_on_average_when_ticks_are_not_its_multiple() -> None:
    # 20 s on ticks of 15 s: at 0, 30 (20 is past), 45 (40), 60, 90 (80), 105 (100), 120.
    period = Interval(20.0)
    assert [at_s for at_s in range(0, 121, 15) if period.due(float(at_s))] == [0, 30, 45, 60, 90, 105, 120]
