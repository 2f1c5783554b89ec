"""AIBrix's GPU optimizer: the cheapest mix of GPU types that takes the rate.

Source: vllm-project/aibrix, docs/source/features/heterogeneous-gpu.rst, python/aibrix/aibrix/gpu_optimizer (098db8e3:
window 240 s, every 10 s) and Griggs et al., "Melange", arXiv 2404.14527: buckets of similar requests, each cut into
slices, each slice given to one GPU type. With T_g the profiled rate of one replica on g and B_g whole:

    minimise sum c_g B_g   subject to   sum T_g B_g >= rate,   B_g <= room_g

That is Melange's program for one bucket cut finely: the profile that a replay hands to peers is of the fleet's whole
mix of lengths, so which GPU suits which length is not seen. The room is the pool's declared limit; whether nodes really
come is not asked. Cost is what the pool costs an hour, 0 where it is paid already.

AIBrix knows GPU types, not capacity types. With `by_pool` each pool is a Deployment of its own, so that spot and
reserved are told apart as if they were GPU types; without, pools of one GPU type are one that is bound to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import highspy

from inferencefleet.planning.placement.solve import QuietHighs
from inferencefleet.simulator.laws.common import (
    CLOCK_SLACK_S,
    Interval,
    Knobs,
    asked,
    asked_of,
    capped,
    gpus_per_replica,
    pools_of,
    profiled_per_s,
)
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets

DECISION_S = 10.0
TIE_BREAK = 1e-6
"""Dollars an hour for each replica: of two mixes at the same price, the one with fewer replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One GPU type, as the solver knows it."""

    requests_per_s: float
    """Of one replica."""
    cost_per_hour: float
    """Of one replica."""
    room: int
    """Replicas at most."""


def cheapest_mix(offers: Mapping[str, Offer], rate: float, *, least: int) -> dict[str, int] | None:
    """Replicas by GPU type, at least `least` in all; None = they do not hold the rate together."""
    if not offers:
        return None
    solver = QuietHighs()
    solver.setOptionValue("threads", 1)
    names = sorted(offers)
    replicas = {
        name: solver.addIntegral(lb=0, ub=offers[name].room, obj=offers[name].cost_per_hour + TIE_BREAK)
        for name in names
    }
    solver.addConstr(sum(offers[name].requests_per_s * replicas[name] for name in names) >= rate)
    solver.addConstr(sum(replicas[name] for name in names) >= least)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return {name: round(solver.val(replicas[name])) for name in names}


class AibrixCost:
    """`load_factor` 1: a replica is planned at its profiled rate."""

    def __init__(
        self, *, window_s: float = 240.0, load_factor: float = 1.0, down_delay_s: float = 0.0, by_pool: bool = True
    ) -> None:
        if load_factor <= 0:
            raise ValueError(f"load_factor={load_factor}: share of the profiled rate to plan with; give more than 0")
        self._window_s, self._load_factor = window_s, load_factor
        self._down_delay_s = down_delay_s
        self._by_pool = by_pool
        self._decides = Interval(DECISION_S)
        self._rates: list[tuple[float, float]] = []
        self._mixes: list[tuple[float, dict[str, int]]] = []

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        if seen.arrivals_per_s is not None:
            self._rates.append((seen.at_s, seen.arrivals_per_s))
        self._rates = [item for item in self._rates if item[0] > seen.at_s - self._window_s + CLOCK_SLACK_S]
        offers = self._offers(seen, sight)
        if self._decides.due(seen.at_s) and self._rates and offers:
            rate = sum(value for _, value in self._rates) / len(self._rates)
            mix = cheapest_mix(offers, rate, least=seen.fleet.scaling.min_replicas)
            self._mixes.append((seen.at_s, _bounded(mix or _everything(offers), offers, seen)))
        if not self._mixes:
            return _as_it_is(seen, sight)
        newest_s, newest = self._mixes[-1]
        cutoff_s = newest_s - self._down_delay_s + CLOCK_SLACK_S
        self._mixes = [item for item in self._mixes if item[0] > cutoff_s or item[0] == newest_s]
        return {name: max(mix.get(name, 0) for _, mix in self._mixes) for name in newest}

    def _offers(self, seen: Seen, sight: Sight) -> dict[str, Offer]:
        most = seen.fleet.scaling.max_replicas
        pools = {pool.name: pool for pool in pools_of(seen, sight)}
        one_type = len({pool.gpu.name for pool in pools.values()}) <= 1
        rate_of_all = profiled_per_s(seen)
        if (not self._by_pool or not pools) and one_type and rate_of_all is not None:
            return {ANY: Offer(requests_per_s=rate_of_all * self._load_factor, cost_per_hour=1.0, room=most)}
        offers = {}
        for name, rate in seen.profiled_requests_per_s.items():
            if name not in pools or rate <= 0:
                continue
            gpus, limit = gpus_per_replica(seen, name), pools[name].max_gpus
            offers[name] = Offer(
                requests_per_s=rate * self._load_factor,
                cost_per_hour=pools[name].marginal_price_per_gpu_hour * gpus,
                room=most if limit is None else min(most, limit // gpus),
            )
        return offers

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"load_factor": factor, "window_s": 60.0, "down_delay_s": 300.0, "by_pool": by_pool}
            for factor in (0.6, 0.75, 0.9)
            for by_pool in (True, False)
        )


def _everything(offers: Mapping[str, Offer]) -> dict[str, int]:
    """Not enough GPUs for the rate: all there are."""
    return {name: offer.room for name, offer in offers.items()}


def _bounded(mix: dict[str, int], offers: Mapping[str, Offer], seen: Seen) -> dict[str, int]:
    """Not more than the fleet's maximum; the dearest goes first."""
    excess = sum(mix.values()) - capped(sum(mix.values()), seen.fleet)
    for name in sorted(mix, key=lambda name: (-offers[name].cost_per_hour, name)):
        cut = min(mix[name], max(0, excess))
        mix[name] -= cut
        excess -= cut
    return mix


def _as_it_is(seen: Seen, sight: Sight) -> Targets:
    pools = pools_of(seen, sight)
    if ANY in seen.wanted or not seen.wanted or not pools:
        return {ANY: capped(asked(seen), seen.fleet)}
    return {pool.name: asked_of(seen, pool.name) for pool in pools}
