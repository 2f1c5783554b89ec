"""Installations of any size for the benchmarks of `plan()`: fleets of five models over nine pools, without a cluster.

Plans are carried out at once: what is placed runs in the next snapshot.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from inferencefleet import catalog
from inferencefleet.domain.fleet import ExpectedTraffic, Fleet, FleetKey, Routing, SpotPolicy, SpotTerms
from inferencefleet.domain.plan import FleetPlan, Plan
from inferencefleet.domain.pool import CapacityType, PoolState
from inferencefleet.domain.snapshot import FleetMemory, FleetState, Snapshot
from inferencefleet.planning.plan import plan
from tests.builders import a_fleet, a_mix, a_pool, a_pool_state, a_snapshot, a_state, metrics, replicas

PERIOD_S = 15.0
BEGAN_S = 1_800_000_000.0
LIMIT_GPUS = 10**6
"""Nobody reaches it, and it has to be watched."""
GPUS = {"H100-SXM": 3.9, "H200-SXM": 4.6, "A100-SXM": 2.2}
"""On-demand dollars per hour; what is reserved costs 0.55 of it, spot 0.45."""
PRICE_SHARES = {CapacityType.ON_DEMAND: 1.0, CapacityType.RESERVED: 0.55, CapacityType.SPOT: 0.45}
MODELS = {
    "Qwen/Qwen3-32B": (3.0, 16.0),
    "Qwen/Qwen3-14B": (6.0, 30.0),
    "Qwen/Qwen3-8B": (10.0, 60.0),
    "Qwen/Qwen3-30B-A3B": (10.0, 60.0),
    "Qwen/Qwen2.5-72B-Instruct": (2.0, 8.0),
}
"""Requests/s, from and to."""
MIXES = 40
"""Mixes of lengths for each model: fleets of one model share so many."""
PRIORITIES = 3
SCARCE = 2.0
"""Times the GPUs that all fleets would choose are there when pools are scarce, evenly in all nine: those they would
choose are wanted several times over, and slower GPUs have to serve in their place."""
NOTHING: Mapping[FleetKey, FleetMemory] = MappingProxyType({})


class Installation:
    """Fleets under traffic that breathes by 5 % from tick to tick, in pools that are ample or scarce.

    `changing`: the declared lengths change with every tick.
    """

    def __init__(self, fleets: int, *, scarce: bool, changing: bool = False, seed: int) -> None:
        self._chance = random.Random(seed)
        self._changing = changing
        self.at_s = BEGAN_S
        self._fleets = [self._fleet(number) for number in range(fleets)]
        self._pools = nine_pools(LIMIT_GPUS)
        self._plans: dict[FleetKey, FleetPlan] = {}
        self.memory: Mapping[FleetKey, FleetMemory] = NOTHING
        decided = plan(self.next())
        if scarce:
            wanted = sum(pool.placed * pool.shape.tensor_parallel for each in decided.fleets for pool in each.pools)
            self._pools = nine_pools(max(8, round(SCARCE * wanted / 9)))
            decided = plan(self.next())
        self.carry_out(decided)
        self.memory = NOTHING

    def carry_out(self, decided: Plan) -> None:
        self._plans = {each.key: each for each in decided.fleets}
        self.memory = decided.memory

    def next(self) -> Snapshot:
        """A period later."""
        self.at_s += PERIOD_S
        states = [self._state(fleet) for fleet in self._fleets]
        return a_snapshot(*states, pools=self._pools, memory=dict(self.memory), at_s=self.at_s)

    def _fleet(self, number: int) -> Fleet:
        name = sorted(MODELS)[number % len(MODELS)]
        least, most = MODELS[name]
        rate = self._chance.uniform(least, most)
        return a_fleet(
            f"fleet-{number:05}",
            rps=rate,
            model=catalog.model(name),
            served_name=name,
            expected=self._traffic(rate),
            attainment=0.99,
            routing=Routing.UNIFORM if number % 2 else Routing.LOAD_AWARE,
            spot=SpotTerms(policy=SpotPolicy.HEDGED, max_fraction=0.5),
            priority=number % PRIORITIES,
        )

    def _traffic(self, rate: float) -> ExpectedTraffic:
        if self._changing:
            lengths = a_mix.__wrapped__(self._chance.uniform(800, 1600), self._chance.uniform(150, 300))
        else:
            number = self._chance.randrange(MIXES)
            lengths = a_mix(800 + 20 * number, 150 + 150 * (number * 17 % MIXES) / MIXES)
        return ExpectedTraffic(requests_per_s=rate, lengths=lengths)

    def _state(self, fleet: Fleet) -> FleetState:
        rate = fleet.expected.requests_per_s * self._chance.uniform(0.95, 1.05)
        if self._changing:
            fleet = replace(fleet, expected=self._traffic(fleet.expected.requests_per_s))
        before = self._plans.get(fleet.key)
        if before is None:
            return a_state(fleet)
        running = [
            replicas(pool.pool, pool.replicas, size=pool.shape.tensor_parallel, prefix=fleet.key.name)
            for pool in before.pools
            if pool.replicas
        ]
        state = a_state(fleet, *running, seen=metrics(rps=rate, engines=before.replicas, at_s=self.at_s - 2))
        sizes = {pool.pool: pool.shape.tensor_parallel for pool in before.pools}
        return replace(
            state, workloads=tuple(replace(each, tensor_parallel=sizes[each.pool]) for each in state.workloads)
        )


def nine_pools(limit_gpus: int) -> tuple[PoolState, ...]:
    """Three types of GPUs in three types of capacity, sorted by name."""
    pools = [
        a_pool(
            f"{name.lower()}-{kind.value.lower()}",
            kind,
            gpu=catalog.gpu(name),
            price_per_gpu_hour=round(price * share, 4),
            max_gpus=limit_gpus,
        )
        for name, price in GPUS.items()
        for kind, share in PRICE_SHARES.items()
    ]
    return tuple(a_pool_state(pool) for pool in sorted(pools, key=lambda pool: pool.name))
