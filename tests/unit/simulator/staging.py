"""Small stages and simple policies for tests of the replay: delays without chance, prices that divide by 3600."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inferencefleet.domain.fleet import EngineTerms, Fleet, FleetKey, Routing
from inferencefleet.domain.pool import CapacityType
from inferencefleet.simulator import reference
from inferencefleet.simulator.policy import Policy, Sight, Targets
from inferencefleet.simulator.replay import (
    CloudBehaviour,
    Delay,
    Replayed,
    Stage,
    StageFleet,
    StagePool,
    kinds_of,
    replay,
)
from inferencefleet.simulator.servers import Arrivals, ServersFactory
from inferencefleet.simulator.truth import Truth
from tests.builders import a_fleet, a_pool

CHAT = FleetKey("default", "chat")
NODE_S = 60.0
LOAD_S = 30.0


def arrivals(at_s: Sequence[float] = (), *, prompt: int = 500, output: int = 100) -> Arrivals:
    count = len(at_s)
    return Arrivals(
        arrival_s=np.array(at_s, dtype=np.float64),
        prompt_tokens=np.full(count, prompt, dtype=np.int64),
        output_tokens=np.full(count, output, dtype=np.int64),
        prefix_tokens=np.zeros(count, dtype=np.int64),
        session=np.full(count, -1, dtype=np.int64),
    )


def every(seconds: float, *, until_s: float, from_s: float = 0.0) -> list[float]:
    return list(np.arange(from_s, until_s, seconds))


def a_replayed_fleet(**overrides: Any) -> Fleet:
    """Two GPUs a replica."""
    engine = EngineTerms(image="vllm/vllm-openai:v0.33.0", tensor_parallel=2)
    return a_fleet(**{"engine": engine, "routing": Routing.LOAD_AWARE, **overrides})


def a_stage_pool(name: str, kind: CapacityType, *, price: float, **cloud: Any) -> StagePool:
    """Nodes of two GPUs that come after exactly a minute."""
    behaviour = CloudBehaviour(**{"provisioning": Delay(p50_s=NODE_S, p95_s=NODE_S), **cloud})
    most = 2 * behaviour.nodes if kind is CapacityType.RESERVED else None
    return StagePool(pool=a_pool(name, kind, gpus_per_node=2, price_per_gpu_hour=price, max_gpus=most), cloud=behaviour)


def reserved(nodes: int = 1, **cloud: Any) -> StagePool:
    """A node costs a thousandth of a dollar a second."""
    return a_stage_pool("reserved", CapacityType.RESERVED, price=1.8, nodes=nodes, **cloud)


def on_demand(name: str = "on-demand", price: float = 3.6, **cloud: Any) -> StagePool:
    """A node costs two thousandths of a dollar a second."""
    return a_stage_pool(name, CapacityType.ON_DEMAND, price=price, **cloud)


def spot(name: str = "spot", **cloud: Any) -> StagePool:
    return a_stage_pool(name, CapacityType.SPOT, price=0.9, **cloud)


def a_stage(
    *pools: StagePool,
    duration_s: float = 600.0,
    traffic: Arrivals | None = None,
    initial: Mapping[str, int] | None = None,
    fleet: Fleet | None = None,
    **overrides: Any,
) -> Stage:
    who = fleet or a_replayed_fleet()
    staged = StageFleet(
        fleet=who,
        arrivals=arrivals() if traffic is None else traffic,
        kinds=kinds_of(who, pools, Truth(step_noise=0.0, replica_spread=0.0)),
        start_up=Delay(p50_s=LOAD_S, p95_s=LOAD_S),
        initial=initial or {},
    )
    return Stage(name="test", fleets=(staged,), pools=pools, duration_s=duration_s, **overrides)


@dataclass
class Script:
    """Says at given times what it wants, and keeps everything it was shown."""

    steps: Sequence[tuple[float, Targets]] = ()
    sights: list[Sight] = field(default_factory=list)
    name: str = "script"

    def decide(self, sight: Sight) -> Mapping[FleetKey, Targets]:
        self.sights.append(sight)
        due = [targets for at_s, targets in self.steps if at_s <= sight.at_s]
        return {CHAT: due[-1]} if due else {}

    def pods_at(self, at_s: float) -> dict[str, str]:
        """Phases by pod name."""
        return {replica.name: str(replica.phase) for replica in self.sight(at_s).fleets[0].replicas}

    def sight(self, at_s: float) -> Sight:
        return next(sight for sight in self.sights if sight.at_s == at_s)


def play(stage: Stage, policy: Policy, *, seed: int = 1, engines: ServersFactory = reference.servers) -> Replayed:
    return replay(stage, policy, engines=engines, seed=seed)
