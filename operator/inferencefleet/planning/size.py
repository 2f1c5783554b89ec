"""Step 3: what one replica of the fleet can do in each pool, from physics at the observed lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.fleet import Fleet, Problem
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import WorkloadState
from inferencefleet.domain.plan import Reason, Sizing
from inferencefleet.domain.pool import Pool
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.refusals import SIZES
from inferencefleet.physics.tensor_parallel import Question, choose
from inferencefleet.planning.calibrate import NOTHING, SAME_SPEED_LOG, Learnt, running_shape

SPEED_STEP_LOG = 0.02
UNCERTAINTY_Z = 0.84
"""The plan counts on the capacity that is exceeded with probability 80 %."""


def size(
    fleet: Fleet,
    pools: Sequence[Pool],
    workloads: Sequence[WorkloadState],
    lengths: LengthMix,
    learnt: Learnt = NOTHING,
    *,
    replicas: int = 1,
    factor: float = 1.0,
) -> tuple[Sizing, ...]:
    """One `Sizing` for each pool, in the order given, with the constants that the pool's engines have taught.

    `replicas` is how many there are about to be: the more a router can choose from, the closer to capacity they run.
    `factor` is on utilisation: what measured attainment has made of it.

    The tensor-parallel size is the declared one, else the one that runs already and can serve (a change would restart
    every replica), here or on the same GPUs of another pool, else chosen: the smallest whose requests/s per GPU is
    within 10 % of the best.
    """
    running = {workload.pool: workload.tensor_parallel for workload in workloads if workload.replicas > 0}
    elsewhere = {pool.gpu.name: running[pool.name] for pool in reversed(pools) if pool.name in running}
    known: dict[tuple[object, ...], tuple[ReplicaShape, ReplicaCapacity]] = {}
    kinds: list[tuple[object, ...]] = []
    fixed_sizes = [_fixed_size(fleet, pool, running, elsewhere) for pool in pools]
    learnt_scales = agreed(
        [(pool.gpu, fixed) for pool, fixed in zip(pools, fixed_sizes, strict=True)],
        [
            learnt.scales(running_shape(fleet, pool.gpu, fixed or 1), pool.name)
            for pool, fixed in zip(pools, fixed_sizes, strict=True)
        ],
    )
    for pool, fixed, scales in zip(pools, fixed_sizes, learnt_scales, strict=True):
        # Pools may share a name of a GPU, and still have other nodes or, when declared by hand, another GPU.
        key = (pool.gpu, pool.gpus_per_node, fixed, scales)
        if key not in known:
            known[key] = _one_replica(fleet, pool, fixed, lengths, scales)
            if not known[key][1].serves and fleet.engine.tensor_parallel is None:
                # What runs was chosen for another model or SLO: it must be restarted anyway.
                known[key] = _one_replica(fleet, pool, None, lengths, scales)
        kinds.append(key)
    sigmas_log = doubts(kinds, [
        learnt.sigma_log(known[key][0], pool.name, scales, known[key][1].concurrency)
        for key, pool, scales in zip(kinds, pools, learnt_scales, strict=True)
    ])  # fmt: skip
    return tuple(
        _priced(
            fleet,
            pool,
            *known[key],
            replace(scales, sigma_log=sigmas_log[key]),
            factor * fleet.utilisation_of(replicas),
        )
        for key, pool, scales in zip(kinds, pools, learnt_scales, strict=True)
    )


def doubts(kinds: Sequence[tuple[object, ...]], sigmas_log: Sequence[float]) -> Mapping[tuple[object, ...], float]:
    """One uncertainty (sigma of a log) for each kind of replica, its largest: pools that are equally fast but not
    equally well known are no mixture of speeds, and nothing is gained by leaving one of them empty."""
    found: dict[tuple[object, ...], float] = {}
    for kind, sigma_log in zip(kinds, sigmas_log, strict=True):
        found[kind] = max(sigma_log, found.get(kind, 0.0))
    return found


def _fixed_size(fleet: Fleet, pool: Pool, running: Mapping[str, int], elsewhere: Mapping[str, int]) -> int | None:
    fixed = fleet.engine.tensor_parallel or running.get(pool.name)
    if fixed is None and elsewhere.get(pool.gpu.name, pool.gpus_per_node + 1) <= pool.gpus_per_node:
        return elsewhere[pool.gpu.name]
    return fixed


def agreed(kinds: Sequence[tuple[GpuSpec, int | None]], scales: Sequence[Scales]) -> list[Scales]:
    """By place: the same replica in several pools has one speed, unless its engines say clearly that it has not. What
    they teach differs by a few percent of noise, and a plan must not take that for two kinds of GPUs."""
    found = list(scales)
    for kind in set(kinds):
        places = [place for place, other in enumerate(kinds) if other == kind]
        mean = _mean([scales[place] for place in places])
        if all(_apart(scales[place], mean) <= SAME_SPEED_LOG for place in places):
            for place in places:
                found[place] = mean
    return found


def _mean(scales: Sequence[Scales]) -> Scales:
    """Geometric mean of the constants, in steps, so that capacities can be remembered."""

    def stepped(values: Iterable[float]) -> float:
        logs = [math.log(value) for value in values]
        return math.exp(round(sum(logs) / len(logs) / SPEED_STEP_LOG) * SPEED_STEP_LOG)

    if len(set(scales)) == 1:
        return scales[0]
    return Scales(
        memory=stepped(each.memory for each in scales),
        compute=stepped(each.compute for each in scales),
        overhead=stepped(each.overhead for each in scales),
        ttft=stepped(each.ttft for each in scales),
        sigma_log=round(max(each.sigma_log for each in scales), 2),
    )


def _apart(one: Scales, other: Scales) -> float:
    pairs = ((one.memory, other.memory), (one.compute, other.compute), (one.overhead, other.overhead))
    return max(abs(math.log(a / b)) for a, b in pairs)


def _one_replica(
    fleet: Fleet, pool: Pool, fixed: int | None, lengths: LengthMix, scales: Scales
) -> tuple[ReplicaShape, ReplicaCapacity]:
    question = Question(
        model=fleet.model,
        gpu=pool.gpu,
        weights=fleet.weights,
        kv_cache=fleet.kv_cache,
        limits=fleet.engine.limits,
        lengths=lengths,
        slos=fleet.slos,
        sizes=[size for size in SIZES if size <= pool.gpus_per_node],
        scales=scales,
        speculation=fleet.engine.speculation,
    )
    if fixed is None:
        return choose(question)
    shape = question.shape(fixed)
    if fixed > pool.gpus_per_node:
        return shape, _larger_than_a_node(fixed, pool)
    if fixed > 1 and not pool.gpu.splits_models:
        return shape, _over_slices(fixed, pool)
    return shape, replica_capacity(shape, lengths, fleet.slos, scales)


def _larger_than_a_node(fixed: int, pool: Pool) -> ReplicaCapacity:
    """Such pods would never be scheduled, and the pool would look as if it did not deliver."""
    return ReplicaCapacity(
        requests_per_s=0.0,
        binding=Limit.MODEL_TOO_LARGE,
        sentence=(
            f"one replica asks for {fixed} GPUs (spec.engine.tensorParallelSize) and a node of pool {pool.name} has "
            f"{pool.gpus_per_node}; lower it to {pool.gpus_per_node} or choose a pool with larger nodes"
        ),
    )


def _over_slices(fixed: int, pool: Pool) -> ReplicaCapacity:
    return ReplicaCapacity(
        requests_per_s=0.0,
        binding=Limit.MODEL_TOO_LARGE,
        sentence=(
            f"one replica asks for {fixed} GPUs (spec.engine.tensorParallelSize) and pool {pool.name} has MIG slices "
            f"({pool.gpu.mig_profile}), which cannot talk to each other; set it to 1 or auto, or choose a pool of "
            "whole GPUs"
        ),
    )


def planned_share(headroom: float, sigma_log: float) -> float:
    """Share of a modelled capacity that a plan counts on: headroom x what is exceeded with probability 80 %."""
    return headroom * math.exp(-UNCERTAINTY_Z * sigma_log)


def _priced(
    fleet: Fleet,
    pool: Pool,
    shape: ReplicaShape,
    capacity: ReplicaCapacity,
    scales: Scales,
    utilisation: float,
) -> Sizing:
    return Sizing(
        pool=pool.name,
        shape=shape,
        capacity=capacity,
        scales=scales,
        planned_requests_per_s=capacity.requests_per_s * planned_share(utilisation, scales.sigma_log),
        utilisation=utilisation,
        marginal_price_per_hour=pool.marginal_price_per_gpu_hour * shape.tensor_parallel,
        price_per_hour=pool.price_per_gpu_hour * shape.tensor_parallel,
    )


def refusal(fleet: Fleet, sizings: Sequence[Sizing]) -> Problem | None:
    """Why no pool can serve this fleet; None when one can. Names the best attempt and the way out."""
    if any(sizing.usable for sizing in sizings) or not sizings:
        return None
    reachable = [sizing for sizing in sizings if sizing.capacity.binding is not Limit.MODEL_TOO_LARGE]
    best = (reachable or list(sizings))[0]
    if reachable:
        targets = ", ".join(str(slo) for slo in fleet.slos)
        return Problem(code=Reason.SLO_UNREACHABLE, field="spec.slo", value=targets, sentence=best.capacity.sentence)
    return Problem(
        code=Reason.MODEL_DOES_NOT_FIT, field="spec.model.id", value=fleet.model.id, sentence=best.capacity.sentence
    )
