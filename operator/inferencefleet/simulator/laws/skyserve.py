"""SkyServe: replicas by request rate, and its mix of spot with on-demand behind it.

Source: skypilot-org/skypilot, sky/serve/autoscalers.py (RequestRateAutoscaler, FallbackRequestRateAutoscaler) and
constants (read 2026-09), docs/source/serving/spot-policy.rst (010b5c87); dynamic placement: Mao et al., "SkyServe",
arXiv 2411.01438, algorithm 1. Every 20 s:

    target = ceil(requests per second over 60 s / target_qps_per_replica), within the bounds
    adopted upwards after 300 s, downwards after 1200 s in a row (each a count of decisions)

    spot      = target + num_overprovision - base_ondemand
    on-demand = min(target, base_ondemand + max(0, spot - READY spot))

On-demand is bought the moment spot is not ready, and let go when it is; it never stands behind what is
over-provisioned. A zone (here: a spot pool) that loses or does not deliver a replica moves to the back until one
becomes ready there; with fewer than two zones in front all are in front again. Whatever is not spot counts as
on-demand and is bound to no pool: SkyPilot takes what is reserved first and fails over to what can be had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from inferencefleet.domain.observation import Phase, Replica
from inferencefleet.domain.pool import CapacityType, Pool
from inferencefleet.simulator.laws.common import (
    FleetLaw,
    Interval,
    Knobs,
    asked,
    capped,
    existing,
    pools_of,
    profiled_per_s,
)
from inferencefleet.simulator.policy import ANY, Seen, Sight, Targets

DECISION_S = 20.0
DELIVERY_S = 1200.0
"""Replicas that are not up by then count as failed (SkyServe's default initial delay)."""


class SkyServeRate:
    """`load_factor` 1: `target_qps_per_replica` is what the profile says one replica takes."""

    def __init__(
        self, *, load_factor: float = 1.0, upscale_delay_s: float = 300.0, downscale_delay_s: float = 1200.0
    ) -> None:
        if load_factor <= 0:
            raise ValueError(f"load_factor={load_factor}: share of the profiled rate to plan with; give more than 0")
        self._load_factor = load_factor
        self._up_count = int(upscale_delay_s / DECISION_S)
        self._down_count = int(downscale_delay_s / DECISION_S)
        self._decides = Interval(DECISION_S)
        self._above = self._below = 0
        self._target: int | None = None

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        if self._target is None:
            self._target = capped(asked(seen), seen.fleet)
        rate = profiled_per_s(seen)
        if self._decides.due(seen.at_s) and seen.arrivals_per_s is not None and rate is not None:
            self._adopt(capped(math.ceil(seen.arrivals_per_s / (rate * self._load_factor) - 1e-9), seen.fleet))
        return {ANY: self._target}

    def _adopt(self, wanted: int) -> None:
        """Only what holds for so many decisions in a row; from zero at once."""
        target = self._target or 0
        self._above = self._above + 1 if wanted > target else 0
        self._below = self._below + 1 if wanted < target else 0
        if target == 0 or self._above >= max(1, self._up_count) or (self._below >= max(1, self._down_count)):
            self._target = wanted
            self._above = self._below = 0

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple(
            {"load_factor": factor, "upscale_delay_s": up_s, "downscale_delay_s": down_s}
            for factor in (0.7, 0.9)
            for up_s, down_s in ((0.0, 300.0), (60.0, 600.0), (300.0, 1200.0))
        )


class SpotZones:
    """Which spot pool gets the next replica."""

    def __init__(self) -> None:
        self._behind: set[str] = set()
        self._up_before: set[str] = set()

    def split(self, spot: int, pools: Sequence[Pool], replicas: Sequence[Replica], *, now_s: float) -> dict[str, int]:
        """`spot` replicas over the pools: what is there stays; the next goes where fewest are, then the cheapest."""
        self._learn({pool.name for pool in pools}, replicas, now_s)
        placed = {pool.name: 0 for pool in pools}
        price = {pool.name: pool.price_per_gpu_hour for pool in pools}
        for replica in replicas:
            if replica.pool in placed and replica.phase in (Phase.READY, Phase.STARTING) and not replica.doomed:
                placed[replica.pool] += 1
        while sum(placed.values()) > spot:
            holding = [name for name, count in placed.items() if count > 0]
            placed[max(holding, key=lambda name: (name in self._behind, placed[name], price[name], name))] -= 1
        front = [name for name in placed if name not in self._behind]
        while sum(placed.values()) < spot:
            placed[min(front, key=lambda name: (placed[name], price[name], name))] += 1
        return placed

    def _learn(self, names: set[str], replicas: Sequence[Replica], now_s: float) -> None:
        here = [replica for replica in replicas if replica.pool in names]
        up = {replica.name for replica in here if replica.phase is Phase.READY and not replica.doomed}
        self._behind -= {replica.pool for replica in here if replica.name in up - self._up_before}
        self._up_before = up
        for replica in here:
            undelivered = replica.phase is Phase.UNSCHEDULED and now_s - replica.created_s > DELIVERY_S
            if replica.doomed or undelivered or replica.phase is Phase.FAILED:
                self._behind.add(replica.pool)
        if len(names - self._behind) < 2:
            self._behind.clear()


class SkyServeSpot:
    """The spot rule over any law that says how many replicas the load needs."""

    def __init__(
        self,
        load: FleetLaw | None = None,
        *,
        base_ondemand: int = 0,
        num_overprovision: int = 0,
        dynamic_fallback: bool = True,
    ) -> None:
        if base_ondemand < 0 or num_overprovision < 0:
            raise ValueError(
                f"base_ondemand={base_ondemand}, num_overprovision={num_overprovision}: "
                "numbers of replicas; give 0 or more"
            )
        self._load = load or SkyServeRate()
        self._base, self._over, self._dynamic = base_ondemand, num_overprovision, dynamic_fallback
        self._zones = SpotZones()
        self._target: int | None = None

    def targets(self, seen: Seen, sight: Sight) -> Targets:
        target = asked(seen) if self._target is None else self._target
        self._target = target = sum(self._load.targets(_as_one_deployment(seen, target), sight).values())
        spot_pools = [pool for pool in pools_of(seen, sight) if pool.capacity_type is CapacityType.SPOT]
        if not spot_pools:
            return {ANY: target}
        names = {pool.name for pool in spot_pools}
        spot_ready = sum(1 for replica in seen.replicas if replica.pool in names and replica.phase is Phase.READY)
        spot, ondemand = self.split(target, spot_ready)
        return {**self._zones.split(spot, spot_pools, seen.replicas, now_s=sight.snapshot.at_s), ANY: ondemand}

    def split(self, target: int, spot_ready: int) -> tuple[int, int]:
        """(spot, on-demand) replicas."""
        spot = max(0, target + self._over - self._base)
        missing = max(0, spot - spot_ready) if self._dynamic else 0
        return spot, min(target, self._base + missing)

    @staticmethod
    def grid() -> tuple[Knobs, ...]:
        return tuple({"base_ondemand": base, "num_overprovision": over} for base in (0, 1, 2) for over in (0, 1, 2))


def _as_one_deployment(seen: Seen, target: int) -> Seen:
    """What the load law sees: its own number, and no more pods than that; those that serve come first."""
    pods = sorted(existing(seen), key=lambda replica: (replica.phase is not Phase.READY, replica.name))
    return replace(seen, wanted={ANY: target}, replicas=tuple(pods[:target]))
