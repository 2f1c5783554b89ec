"""What a user may rely on whatever the world is: limits, prices, demand, missing metrics, and no surprise twice."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferencefleet.domain.fleet import Routing, SpotPolicy, SpotTerms
from inferencefleet.domain.observation import FleetMetrics, Histogram
from inferencefleet.domain.plan import FleetPlan, Reason
from inferencefleet.domain.pool import CapacityType, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot
from inferencefleet.planning.plan import plan
from tests.builders import GAP, NOW_S, a_pool, a_pool_state, a_snapshot, a_state, metrics, replicas
from tests.unit.planning.test_properties import a_world
from tests.unit.planning.world import a_tp2_fleet

quick = settings(
    derandomize=True, max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""The fixture replaces physics by a constant, the same for every example."""
STRANGE = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-300, 1e300)
pytestmark = pytest.mark.usefixtures("a_replica_is_worth_four")


def alone(world: Snapshot) -> FleetPlan:
    return plan(world).fleets[0]


def where(decided: FleetPlan) -> dict[str, int]:
    return {pool.pool: pool.placed for pool in decided.pools if pool.placed}


def a_priced_pool(name: str, kind: CapacityType, price: float, gpus: int | None) -> PoolState:
    return a_pool_state(a_pool(name, kind, price_per_gpu_hour=price, max_gpus=gpus))


def a_new_fleet(rps: float, *, name: str = "chat", **overrides: object) -> FleetState:
    return a_state(a_tp2_fleet(name, rps=rps, **overrides), seen=metrics(rps=rps))


@quick
@given(a_world())
def test_what_is_placed_in_a_pool_never_exceeds_its_limit(world: Snapshot) -> None:
    decided = plan(world)
    for state in world.pools:
        if state.pool.max_gpus is None:
            continue
        placed = sum(
            pool.placed * pool.shape.tensor_parallel
            for fleet in decided.fleets
            for pool in fleet.pools
            if pool.pool == state.pool.name and not is_blind(world, fleet)
        )
        assert placed <= max(0, state.pool.max_gpus - state.gpus_used_by_others)


def is_blind(world: Snapshot, decided: FleetPlan) -> bool:
    """Blind fleets keep what they have, also where a limit was lowered below it."""
    return any(state.fleet.key == decided.key and not isinstance(state.metrics, FleetMetrics) for state in world.fleets)


@quick
@given(
    st.floats(0.1, 150), st.floats(1.0, 3.0), st.sampled_from(list(SpotPolicy)), st.sampled_from(list(Routing)),
    st.lists(st.tuples(st.sampled_from(list(CapacityType)), st.sampled_from([2, 8, 16, None])), min_size=1, max_size=4),
)  # fmt: skip
def test_more_demand_never_gives_less_capacity_at_equal_prices(
    rps: float,
    more: float,
    policy: SpotPolicy,
    routing: Routing,
    kinds: list[tuple[CapacityType, int | None]],
) -> None:
    pools = tuple(a_priced_pool(f"pool-{i}", kind, 2.0, gpus) for i, (kind, gpus) in enumerate(kinds))

    def capacity(rate: float) -> float:
        state = a_new_fleet(rate, spot=SpotTerms(policy=policy, max_fraction=0.5), routing=routing)
        decided = alone(a_snapshot(state, pools=pools))
        worth = {sizing.pool: sizing.planned_requests_per_s for sizing in decided.sizings}
        return sum(worth[pool.pool] * pool.placed for pool in decided.pools)

    assert capacity(rps) <= capacity(rps * more) + 1e-9


@quick
@given(st.floats(0.1, 60), st.floats(0.5, 5), st.floats(1.02, 3.0), st.integers(1, 5), st.booleans())
def test_the_cheaper_of_two_otherwise_equal_pools_is_filled_first(
    rps: float, price: float, dearer: float, nodes: int, first_is_dear: bool
) -> None:
    prices = (price * dearer, price) if first_is_dear else (price, price * dearer)
    pools = tuple(
        a_priced_pool(name, CapacityType.ON_DEMAND, each, 8 * nodes) for name, each in zip("ab", prices, strict=True)
    )
    cheap, dear = ("b", "a") if first_is_dear else ("a", "b")
    found = where(alone(a_snapshot(a_new_fleet(rps), pools=pools)))
    # Nodes are bought whole: limits that end within one may leave a part of it to the other pool.
    assert found.get(cheap, 0) == 4 * nodes or dear not in found, "a dear replica stands where a cheap one had room"


@quick
@given(st.integers(1, 12), st.floats(0, 80), st.floats(0, 80), st.booleans())
def test_a_metric_that_goes_missing_never_lowers_the_target(
    ready: int, before_rps: float, declared_rps: float, all_missing: bool
) -> None:
    fleet = a_tp2_fleet(rps=max(0.1, declared_rps))
    pools = (a_priced_pool("reserved", CapacityType.RESERVED, 2.0, None),)
    seen = a_state(fleet, replicas("reserved", ready), seen=metrics(rps=before_rps, engines=ready))
    first = plan(a_snapshot(seen, pools=pools))
    target = first.fleets[0].replicas
    running = a_state(fleet, replicas("reserved", target))
    lost = GAP if all_missing else metrics(rps=before_rps, engines=target, completions_per_s=None)
    later = a_snapshot(
        replace(running, metrics=lost), pools=pools, memory=dict(first.memory), at_s=NOW_S + 15.0
    )  # fmt: skip
    assert alone(later).replicas >= target


@quick
@given(a_world())
def test_identical_snapshots_give_identical_plans(world: Snapshot) -> None:
    copy = replace(world, fleets=tuple(replace(state) for state in world.fleets), memory=dict(world.memory))
    assert repr(plan(world)) == repr(plan(copy)), "what an earlier plan left in memory must not change the next"


@st.composite
def an_odd_state(draw: st.DrawFn, state: FleetState) -> FleetState:
    """Numbers that no sensor should report, and some do."""
    odd = st.sampled_from(STRANGE)
    length = Histogram(
        bounds=(10.0, 1000.0, math.inf), counts=(draw(odd), draw(odd), 1.0), total=draw(odd), sum=draw(odd)
    )
    seen = metrics(
        rps=draw(odd), waiting=draw(odd), growth=draw(odd), engines=draw(st.sampled_from([0, 1, 10**6])),
        window_s=draw(st.sampled_from([0.0, 60.0])), at_s=draw(st.sampled_from([0.0, NOW_S, NOW_S + 1e6])),
        prompt_tokens=draw(st.sampled_from([None, length])), output_tokens=draw(st.sampled_from([None, length])),
        ttft_s=draw(st.sampled_from([None, length])), prefix_hit_ratio=draw(st.sampled_from([None, *STRANGE])),
    )  # fmt: skip
    return replace(state, metrics=draw(st.sampled_from([seen, state.metrics])))


@st.composite
def an_odd_memory(draw: st.DrawFn) -> FleetMemory:
    seen_s = NOW_S - draw(st.sampled_from([-1e6, 0.0, 15.0, 1e9]))
    return FleetMemory(
        arrivals=draw(st.sampled_from([(), ((seen_s, draw(st.sampled_from(STRANGE))),)])),
        placed=draw(st.sampled_from([None, 0, 10**6])),
    )


@st.composite
def an_odd_world(draw: st.DrawFn) -> Snapshot:
    world = draw(a_world())
    pools = tuple(replace(state, nodes=()) if draw(st.booleans()) else state for state in world.pools)
    return replace(
        world,
        fleets=tuple(draw(an_odd_state(state)) for state in world.fleets),
        memory={state.fleet.key: draw(an_odd_memory()) for state in world.fleets},
        pools=pools[: draw(st.integers(0, len(pools)))],
    )


@quick
@given(an_odd_world())
def test_no_snapshot_however_odd_breaks_the_planner(world: Snapshot) -> None:
    for each in plan(world).fleets:
        assert each.reason is not Reason.PLANNING_FAILED, each.problems
        assert all(pool.replicas >= 0 for pool in each.pools)
