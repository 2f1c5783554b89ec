"""Arrivals and replicas for tests of the engines behind a router, and a way to run them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inferencefleet import catalog
from inferencefleet.domain.capacity import EngineLimits, ReplicaShape
from inferencefleet.domain.fleet import Routing
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.simulator import fast, reference
from inferencefleet.simulator.servers import Arrivals, Buckets, EngineKind, Outcome, Servers, ServersFactory
from inferencefleet.simulator.truth import Truth

BOTH: dict[str, ServersFactory] = {"reference": reference.servers, "fast": fast.servers}
BUCKETS = Buckets(
    prompt_tokens=(10.0, 100.0, 1000.0, 10_000.0),
    output_tokens=(1.0, 10.0, 100.0, 1000.0),
    ttft_s=tuple(np.geomspace(0.01, 100.0, 400)),
    itl_s=tuple(np.geomspace(0.004, 4.0, 700)),
    e2e_s=(0.1, 1.0, 10.0, 100.0),
)
EXACT = Truth(step_noise=0.0, replica_spread=0.01)
LATER_S = 1e6


def shape(
    id: str = "Qwen/Qwen3-32B", gpu: str = "H100-SXM", gpus: int = 2, weights: str = "bf16", **limits: int
) -> ReplicaShape:
    return ReplicaShape(
        model=catalog.model(id),
        gpu=catalog.gpu(gpu),
        tensor_parallel=gpus,
        weights=NumberFormat(weights),
        kv_cache=NumberFormat.BF16,
        limits=EngineLimits(**limits),
    )


def kind(truth: Truth = EXACT, **of: object) -> EngineKind:
    return EngineKind(shape=shape(**of), truth=truth)  # type: ignore[arg-type]


def requests(
    *each: tuple[float, int, int], prefix: Sequence[int] | int = 0, session: Sequence[int] | int = -1
) -> Arrivals:
    """(arrival, prompt tokens, output tokens) of each, in order."""
    count = len(each)
    return Arrivals(
        arrival_s=np.array([one[0] for one in each], dtype=np.float64),
        prompt_tokens=np.array([one[1] for one in each], dtype=np.int64),
        output_tokens=np.array([one[2] for one in each], dtype=np.int64),
        prefix_tokens=np.broadcast_to(np.array(prefix, dtype=np.int64), (count,)).copy(),
        session=np.broadcast_to(np.array(session, dtype=np.int64), (count,)).copy(),
    )


def poisson(
    count: int, per_s: float, prompt: float = 1155, output: float = 211, seed: int = 1, sessions: int = 0
) -> Arrivals:
    """Lognormal lengths; with sessions, two thirds of each prompt may be cached."""
    random = np.random.default_rng(seed)

    def lengths(mean: float) -> np.ndarray:
        drawn = mean * np.exp(random.normal(-0.32, 0.8, count))
        return np.clip(np.round(drawn), 1, 15_000).astype(np.int64)

    prompts, outputs = lengths(prompt), lengths(output)
    return Arrivals(
        arrival_s=np.cumsum(random.exponential(1 / per_s, count)),
        prompt_tokens=prompts,
        output_tokens=outputs,
        prefix_tokens=prompts * 2 // 3 if sessions else np.zeros(count, dtype=np.int64),
        session=random.integers(0, sessions, count) if sessions else np.full(count, -1, dtype=np.int64),
    )


def fleet(
    factory: ServersFactory,
    arrivals: Arrivals,
    *kinds: EngineKind,
    routing: Routing = Routing.LOAD_AWARE,
    seed: int = 1,
    itl_target_s: float = 0.05,
) -> Servers:
    """All replicas open from the start."""
    servers = factory(arrivals, routing=routing, buckets=BUCKETS, seed=seed, itl_target_s=itl_target_s)
    for number, one in enumerate(kinds):
        servers.open(servers.add(one, seed=100 * seed + number))
    return servers


def all_finished(servers: Servers) -> bool:
    return bool((servers.results().outcome == Outcome.FINISHED).all())
