"""Step 3: what one replica of the fleet can do in each pool, from physics at the observed lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from inferencefleet.domain.capacity import Limit, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.fleet import Fleet, Problem
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import WorkloadState
from inferencefleet.domain.plan import Reason, Sizing
from inferencefleet.domain.pool import Pool
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.refusals import SIZES
from inferencefleet.physics.tensor_parallel import Question, choose
from inferencefleet.planning.calibrate import NOTHING, Learnt, running_shape

UNCERTAINTY_Z = 0.84
"""The plan counts on the capacity that is exceeded with probability 80 %."""


def size(
    fleet: Fleet,
    pools: Sequence[Pool],
    workloads: Sequence[WorkloadState],
    lengths: LengthMix,
    learnt: Learnt = NOTHING,
) -> tuple[Sizing, ...]:
    """One `Sizing` for each pool, in the order given, with the constants that the pool's engines have taught.

    The tensor-parallel size is the declared one, else the one that runs already and can serve (a change would restart
    every replica), here or on the same GPUs of another pool, else chosen: the smallest whose requests/s per GPU is
    within 10 % of the best.
    """
    running = {workload.pool: workload.tensor_parallel for workload in workloads if workload.replicas > 0}
    elsewhere = {pool.gpu.name: running[pool.name] for pool in reversed(pools) if pool.name in running}
    known: dict[tuple[object, ...], tuple[ReplicaShape, ReplicaCapacity]] = {}
    sizings = []
    for pool in pools:
        fixed = fleet.engine.tensor_parallel or running.get(pool.name)
        if fixed is None and elsewhere.get(pool.gpu.name, pool.gpus_per_node + 1) <= pool.gpus_per_node:
            fixed = elsewhere[pool.gpu.name]
        scales = learnt.scales(running_shape(fleet, pool.gpu, fixed or 1), pool.name)
        # Pools may share a name of a GPU, and still have other nodes or, when declared by hand, another GPU.
        key = (pool.gpu, pool.gpus_per_node, fixed, scales)
        if key not in known:
            known[key] = _one_replica(fleet, pool, fixed, lengths, scales)
            if not known[key][1].serves and fleet.engine.tensor_parallel is None:
                # What runs was chosen for another model or SLO: it must be restarted anyway.
                known[key] = _one_replica(fleet, pool, None, lengths, scales)
        sizings.append(_priced(fleet, pool, *known[key], scales, learnt))
    return tuple(sizings)


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
    fleet: Fleet, pool: Pool, shape: ReplicaShape, capacity: ReplicaCapacity, scales: Scales, learnt: Learnt
) -> Sizing:
    sigma_log = learnt.sigma_log(shape, pool.name, scales, capacity.concurrency)
    return Sizing(
        pool=pool.name,
        shape=shape,
        capacity=capacity,
        scales=replace(scales, sigma_log=sigma_log),
        planned_requests_per_s=capacity.requests_per_s * planned_share(fleet.utilisation, sigma_log),
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
