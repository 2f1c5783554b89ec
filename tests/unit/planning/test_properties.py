"""What holds for every world that can be thought of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferencefleet.control.validate import violations
from inferencefleet.domain.fleet import ScalingTerms, SpotPolicy, SpotTerms
from inferencefleet.domain.observation import FleetMetrics, MetricsGap, Phase
from inferencefleet.domain.plan import FleetPlan, Reason
from inferencefleet.domain.pool import CapacityType, Exhaustion, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot
from inferencefleet.planning.plan import plan
from tests.builders import GAP, NOW_S, a_pool, a_pool_state, a_snapshot, a_workload, metrics, replicas
from tests.unit.planning.world import a_tp2_fleet

quick = settings(
    derandomize=True, max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""Fixtures of these tests replace physics by a constant, the same for every example."""

NAMES = ("first", "second", "third")


pytestmark = pytest.mark.usefixtures("a_replica_is_worth_four")


@st.composite
def a_pool_of_any_kind(draw: st.DrawFn, name: str) -> PoolState:
    kind = draw(st.sampled_from(list(CapacityType)))
    limit = draw(st.sampled_from([0, 1, 2, 7, 16, 64, None]))
    price = draw(st.sampled_from([0.0, 1.9, 4.0]))
    mark = draw(
        st.one_of(
            st.none(),
            st.builds(
                Exhaustion,
                since_s=st.just(NOW_S - 700),
                until_s=st.sampled_from([NOW_S - 10, NOW_S + 100]),
                strikes=st.integers(1, 5),
            ),
        )
    )
    pool = a_pool(name, kind, max_gpus=limit, price_per_gpu_hour=price)
    state = a_pool_state(pool, nodes=draw(st.integers(0, 3)), exhaustion=mark)
    return replace(state, gpus_used_by_others=draw(st.sampled_from([0, 0, 3])))


@st.composite
def a_fleet_state(draw: st.DrawFn, name: str) -> FleetState:
    least = draw(st.integers(1, 4))
    fleet = a_tp2_fleet(
        name,
        rps=draw(st.sampled_from([0.1, 5.0, 40.0])),
        pools=draw(st.sampled_from([None, ("first",), ("first", "second"), ("second", "nowhere")])),
        spot=SpotTerms(policy=draw(st.sampled_from(list(SpotPolicy))), max_fraction=draw(st.sampled_from([0, 0.5, 1]))),
        scaling=ScalingTerms(
            min_replicas=least,
            max_replicas=least + draw(st.integers(0, 20)),
            scale_down_stabilization_s=draw(st.sampled_from([0.0, 300.0])),
            horizon_s=60.0,
        ),
    )
    pods = []
    asked: dict[str, int] = {}
    for pool in NAMES:
        for index in range(draw(st.integers(0, 2))):
            phase = draw(st.sampled_from(list(Phase)))
            count = draw(st.integers(1, 3))
            pods += replicas(
                pool,
                count,
                phase=phase,
                doomed=phase is not Phase.UNSCHEDULED and draw(st.booleans()),
                since_s=NOW_S - draw(st.sampled_from([5, 100, 500])),
                created_s=NOW_S - 600,
                prefix=f"{name}-{index}-{phase}",
            )
            asked[pool] = asked.get(pool, 0) + (0 if phase is Phase.TERMINATING else count)
    rate = draw(st.sampled_from([None, 0.0, 1.0, 12.0, 55.0, 400.0]))
    seen: FleetMetrics | MetricsGap = GAP
    if rate is not None:
        growth, waiting = draw(st.sampled_from([-500.0, -1.0, 0.0, 6.0])), draw(st.sampled_from([0.0, 300.0]))
        seen = metrics(rps=rate, growth=growth, waiting=waiting)
    return FleetState(
        fleet=fleet,
        metrics=seen,
        replicas=tuple(pods),
        workloads=tuple(a_workload(pool, n) for pool, n in sorted(asked.items())),
    )


@st.composite
def a_memory(draw: st.DrawFn) -> FleetMemory:
    arrivals = draw(st.lists(st.sampled_from([0.0, 3.0, 30.0, 90.0]), max_size=12))
    return FleetMemory(
        arrivals=tuple((NOW_S - 15 * (len(arrivals) - i), rate) for i, rate in enumerate(arrivals)),
        recommendations=tuple(
            (NOW_S - 60 * (5 - i), n) for i, n in enumerate(draw(st.lists(st.integers(0, 12), max_size=5)))
        ),
        placed=draw(st.one_of(st.none(), st.integers(0, 12))),
    )


@st.composite
def a_world(draw: st.DrawFn, *, fleets: int = 2) -> Snapshot:
    states = tuple(draw(a_fleet_state(name)) for name in ("a", "b")[:fleets])
    pools = tuple(draw(a_pool_of_any_kind(name)) for name in NAMES)
    memory = {state.fleet.key: draw(a_memory()) for state in states if draw(st.booleans())}
    return a_snapshot(*states, pools=tuple(sorted(pools, key=lambda pool: pool.pool.name)), memory=memory)


def current(state: FleetState, pool: str) -> int:
    return sum(workload.replicas for workload in state.workloads if workload.pool == pool)


def pairs(snapshot: Snapshot) -> list[tuple[FleetState, FleetPlan]]:
    decided = plan(snapshot)
    return list(zip(snapshot.fleets, decided.fleets, strict=True))


@quick
@given(a_world())
def test_no_world_breaks_the_planner(world: Snapshot) -> None:
    for _, decided in pairs(world):
        assert decided.reason is not Reason.PLANNING_FAILED, decided.sentence
        assert all(pool.replicas >= 0 for pool in decided.pools)


@quick
@given(a_world())
def test_the_same_world_gives_the_same_plan(world: Snapshot) -> None:
    shuffled = replace(
        world,
        fleets=tuple(
            replace(state, replicas=state.replicas[::-1], workloads=state.workloads[::-1]) for state in world.fleets
        ),
        pools=tuple(replace(state, nodes=state.nodes[::-1]) for state in world.pools[::-1]),
    )
    first, again, mixed = plan(world), plan(world), plan(shuffled)
    for left, same, right in zip(first.fleets, again.fleets, mixed.fleets, strict=True):
        assert [(p.pool, p.replicas, p.victims) for p in left.pools] == [
            (p.pool, p.replicas, p.victims) for p in same.pools
        ]
        assert left.memory == same.memory == right.memory
        assert {p.pool: (p.replicas, p.reason) for p in left.pools} == {
            p.pool: (p.replicas, p.reason) for p in right.pools
        }
    assert first.pools == mixed.pools


@quick
@given(a_world())
def test_whoever_grows_stays_within_the_limit_of_the_pool(world: Snapshot) -> None:
    planned = pairs(world)
    for state in world.pools:
        if state.pool.max_gpus is None:
            continue
        name, room = state.pool.name, max(0, state.pool.max_gpus - state.gpus_used_by_others)
        held = {fleet.fleet.key: 2 * current(fleet, name) for fleet, _ in planned}
        grew = False
        for fleet, decided in planned:
            for pool in decided.pools:
                if pool.pool == name:
                    grew |= pool.replicas > current(fleet, name)
                    held[fleet.fleet.key] = 2 * pool.replicas
        assert not grew or sum(held.values()) <= room


@quick
@given(a_world())
def test_a_plan_stands_the_proof_that_it_is_put_to_before_it_is_carried_out(world: Snapshot) -> None:
    assert violations(plan(world), world) == {}


@quick
@given(a_world())
def test_placement_is_never_above_max_and_below_min_only_without_room(world: Snapshot) -> None:
    for state, decided in pairs(world):
        placed = sum(pool.placed for pool in decided.pools)
        kept = isinstance(state.metrics, MetricsGap) and state.workloads
        assert placed <= state.fleet.scaling.max_replicas or kept
        codes = {verdict.code for verdict in decided.verdicts}
        assert not decided.pools or placed >= state.fleet.scaling.min_replicas or Reason.NOT_ENOUGH_GPUS in codes


@quick
@given(a_world())
def test_a_gap_never_takes_a_serving_replica_away(world: Snapshot) -> None:
    dark = replace(world, fleets=tuple(replace(state, metrics=GAP) for state in world.fleets), memory={})
    for state, decided in pairs(dark):
        if not decided.pools:
            continue
        ready = sum(
            replica.phase is Phase.READY and not replica.doomed and replica.pool in {p.pool for p in decided.pools}
            for replica in state.replicas
        )
        assert decided.replicas >= min(ready, state.fleet.scaling.max_replicas)


@quick
@given(a_world(fleets=1), st.floats(0, 500), st.floats(0, 500))
def test_more_demand_never_means_fewer_replicas(world: Snapshot, one: float, other: float) -> None:
    def total(rps: float) -> int:
        state = replace(world.fleets[0], metrics=metrics(rps=rps), workloads=(), replicas=())
        decided = plan(replace(world, fleets=(state,), memory={})).fleets[0]
        return sum(pool.placed for pool in decided.pools)

    assert total(min(one, other)) <= total(max(one, other))


@quick
@given(a_world(fleets=1))
def test_a_plan_that_was_carried_out_changes_nothing_more(world: Snapshot) -> None:
    state = world.fleets[0]
    first = plan(world).fleets[0]
    placed = {pool.pool: pool.placed for pool in first.pools}
    pods = tuple(pod for name, n in placed.items() for pod in replicas(name, n, since_s=NOW_S - 5, created_s=NOW_S - 6))
    done = replace(
        world,
        fleets=(replace(state, replicas=pods, workloads=tuple(a_workload(name, n) for name, n in placed.items())),),
        pools=tuple(replace(pool, exhaustion=None) for pool in world.pools),
        memory={first.key: first.memory},
    )
    settled = plan(done).fleets[0]
    after = plan(
        replace(
            done,
            fleets=(
                replace(
                    done.fleets[0],
                    replicas=tuple(
                        pod
                        for pool in settled.pools
                        for pod in replicas(pool.pool, pool.placed, since_s=NOW_S - 5, created_s=NOW_S - 6)
                    ),
                    workloads=tuple(a_workload(pool.pool, pool.placed) for pool in settled.pools),
                ),
            ),
            memory={settled.key: settled.memory},
        )
    ).fleets[0]
    assert {pool.pool: pool.replicas for pool in after.pools} == {pool.pool: pool.placed for pool in settled.pools}
