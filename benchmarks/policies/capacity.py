"""What one replica truly takes: engines at a steady rate, with the constants that only the simulation knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log

import numpy as np

from benchmarks.policies import arrivals as making
from inferencefleet.domain.fleet import Fleet, Routing
from inferencefleet.domain.slo import SloMetric
from inferencefleet.simulator.servers import Arrivals, Buckets, EngineKind, Outcome, Results, ServersFactory

REPLICAS = 4
"""Behind a router that knows their load, so that one replica's luck decides nothing."""
REQUESTS = 4000
SETTLED_SHARE = 0.25
"""The first quarter of a trial fills the engines."""
PRECISION = 0.02
NOTHING = Buckets(prompt_tokens=(1.0,), output_tokens=(1.0,), ttft_s=(1.0,), itl_s=(1.0,), e2e_s=(1.0,))


@dataclass(frozen=True, slots=True)
class Targets:
    """What a request must meet to count as attained."""

    ttft_s: float
    tpot_s: float

    def met(self, results: Results) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        with np.errstate(invalid="ignore"):
            return (
                (results.outcome == int(Outcome.FINISHED))
                & (results.ttft_s <= self.ttft_s)
                & (results.tpot_s <= self.tpot_s)
            )


def targets_of(fleet: Fleet) -> Targets:
    """The tightest of each kind."""

    def tightest(metric: SloMetric) -> float:
        return min((slo.target_s for slo in fleet.slos if slo.metric is metric), default=float("inf"))

    return Targets(tightest(SloMetric.TTFT), tightest(SloMetric.ITL))


def true_requests_per_s(
    kind: EngineKind,
    mix: Arrivals,
    targets: Targets,
    attainment: float,
    *,
    engines: ServersFactory,
    seed: int,
    guess: float,
    requests: int = REQUESTS,
) -> float:
    """The largest steady rate of one replica at which this share of requests meets its targets.

    `mix` is where lengths are drawn from, `guess` where the search begins. 0 when even a tenth of the guess misses.
    """
    if len(mix) == 0 or not guess > 0:
        return 0.0

    def holds(rate: float) -> bool:
        return steady(kind, mix, targets, rate, engines=engines, seed=seed, requests=requests) >= attainment

    return largest(holds, guess)


def largest(holds: Callable[[float], bool], guess: float) -> float:
    """The largest value at which it still holds, within `PRECISION`; 0 when it does not at a tenth of the guess."""
    low, high = guess, guess
    if holds(guess):
        while high < 8 * guess and holds(high := high * 1.35):
            low = high
    else:
        while not holds(low := low / 1.6):
            high = low
            if low < guess / 10:
                return 0.0
    while high / low > 1 + PRECISION:
        middle = exp((log(low) + log(high)) / 2)
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def steady(
    kind: EngineKind,
    mix: Arrivals,
    targets: Targets,
    rate: float,
    *,
    engines: ServersFactory,
    seed: int,
    requests: int = REQUESTS,
) -> float:
    """Share of requests that meet their targets when each replica gets this rate."""
    chance = np.random.default_rng(seed)
    many = requests
    which = chance.integers(0, len(mix), size=many)
    arrival_s = np.cumsum(chance.exponential(1 / (rate * REPLICAS), size=many))
    traffic = making.taken(mix, which)
    sent = Arrivals(
        arrival_s=arrival_s,
        prompt_tokens=traffic.prompt_tokens,
        output_tokens=traffic.output_tokens,
        prefix_tokens=traffic.prefix_tokens,
        # Drawn at random, a conversation has lost its order; what the record shares counts as cached.
        session=np.full(many, -1, dtype=np.int64),
    )
    servers = engines(sent, routing=Routing.LOAD_AWARE, buckets=NOTHING, seed=seed, itl_target_s=targets.tpot_s)
    for number in range(REPLICAS):
        servers.open(servers.add(kind, seed=seed + number))
    servers.run_until(float(arrival_s[-1]) + 20 * targets.ttft_s + 600)
    results = servers.results()
    return float(targets.met(results)[int(SETTLED_SHARE * many) :].mean())
