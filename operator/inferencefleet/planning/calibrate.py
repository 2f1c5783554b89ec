"""Calibration: what running engines teach about the physics, and what of it the plan may use. Pure.

Predictions are made at the batch that was observed, so that no error of a queue model or of a forecast is taken for one
of the step time (sizing physics, section 6). Bad windows change nothing: see `planning.windows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import hypot, log2

from inferencefleet.domain.calibration import PROBATION_WINDOWS, ShapeCalibration, ShapeKey, WindowVerdict
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.fleet import Fleet
from inferencefleet.domain.hardware import GpuSpec
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import FleetMetrics
from inferencefleet.domain.pool import Pool
from inferencefleet.domain.slo import SloMetric
from inferencefleet.domain.snapshot import FleetMemory, FleetState
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.confidence import prior_sigma_log
from inferencefleet.physics.observed import shape_key
from inferencefleet.planning.learn import FULL_TRUST_WINDOWS, applied, guarded, learn
from inferencefleet.planning.windows import Look, Reading, Refusal, read

MOST_SHAPES = 12
"""Kept for each fleet; the ones that taught longest ago are forgotten first."""
OTHER_POOL_SIGMA_LOG = 0.05
OTHER_SIZE_SIGMA_LOG = 0.10
"""Added uncertainty of what another pool, or another tensor-parallel size on the same GPU, has taught."""
SAME_SPEED_LOG = 0.15
"""Pools of one GPU whose engines differ by less than this are of one speed."""
BEYOND_SIGMA_LOG = 0.04
"""Added for every doubling of the batch beyond the largest one seen."""
SAFE_LOAD = 0.95
"""Share of the modelled capacity up to which the model says that every SLO holds."""
ENOUGH_VALUES = {SloMetric.TTFT: 30.0, SloMetric.ITL: 3000.0, SloMetric.E2E: 30.0}


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known of the engines of one fleet, as the planner asks for it."""

    entries: tuple[ShapeCalibration, ...] = ()

    def scales(self, shape: ReplicaShape, pool: str) -> Scales:
        """Constants for a replica: its own, else those of the same shape in another pool, else of the same GPU.

        With none of these, the prior. Nothing is taken from another model or GPU: their errors have other causes.
        """
        prior = prior_scales(shape)
        if not self.entries:
            return prior
        key = shape_key(shape)
        alike = self._of(key)
        own = next((entry for entry in alike if entry.pool == pool), None)
        best = max(alike, key=_experience, default=None)
        if own is not None and (own is best or own.used >= FULL_TRUST_WINDOWS or _is_slower(own, best)):
            return own.applied or prior
        if best is not None:
            return _less_sure(best.applied or prior, OTHER_POOL_SIGMA_LOG, prior)
        sizes = [entry for entry in self.entries if (entry.key.model, entry.key.gpu) == (key.model, key.gpu)]
        nearest = max(sizes, key=lambda entry: (-_octaves(entry.key, key), *_experience(entry)), default=None)
        if nearest is None:
            return prior
        return _less_sure(nearest.applied or prior, OTHER_SIZE_SIGMA_LOG, prior)

    def sigma_log(self, shape: ReplicaShape, pool: str, scales: Scales, concurrency: float) -> float:
        """Uncertainty at a batch: it grows beyond what was seen, up to the prior's."""
        entry = next((entry for entry in self.entries if entry.pool == pool and entry.applied == scales), None)
        if entry is None or entry.envelope is None:
            return scales.sigma_log
        doublings = max(0.0, log2(max(concurrency, 1.0) / max(entry.envelope.decode_seqs[1], 1.0)))
        most = max(prior_scales(shape).sigma_log, scales.sigma_log)
        return min(most, scales.sigma_log + BEYOND_SIGMA_LOG * doublings)

    def _of(self, key: ShapeKey) -> list[ShapeCalibration]:
        return [entry for entry in self.entries if entry.key == key and entry.used]


NOTHING = Learnt()


@lru_cache(maxsize=4096)
def prior_scales(shape: ReplicaShape) -> Scales:
    """Before anything is measured."""
    return Scales(sigma_log=prior_sigma_log(shape))


def calibrate(
    state: FleetState, memory: FleetMemory, pools: Mapping[str, Pool], lengths: LengthMix, *, at_s: float
) -> tuple[ShapeCalibration, ...]:
    """What is known after this tick, sorted; the same objects where nothing was learnt.

    Each pool teaches once in a window, so that no request counts twice.
    """
    known = {(entry.pool, entry.key): entry for entry in memory.calibration if _still_true(entry, state.fleet, pools)}
    for workload in state.workloads:
        pool = pools.get(workload.pool)
        if pool is None or workload.replicas == 0:
            continue
        shape = running_shape(state.fleet, pool.gpu, workload.tensor_parallel)
        key = shape_key(shape)
        prior = prior_scales(shape)
        entry = known.get((pool.name, key)) or ShapeCalibration(pool=pool.name, key=key, sigma_log=prior.sigma_log)
        if entry.prior_sigma_log != prior.sigma_log:
            entry = replace(entry, prior_sigma_log=prior.sigma_log)
        look = _look(state, workload.pool, workload.replicas, shape, lengths, at_s)
        known[pool.name, key] = _after(entry, look, state, shape, prior, at_s)
    newest = sorted(known.values(), key=lambda entry: entry.updated_s or entry.looked_s or 0.0, reverse=True)
    return tuple(sorted(newest[:MOST_SHAPES], key=lambda entry: (entry.pool, str(entry.key))))


def _still_true(entry: ShapeCalibration, fleet: Fleet, pools: Mapping[str, Pool]) -> bool:
    """Whether the model of today predicts what it predicted when this was learnt.

    Another release of the physics, other GPU data, weights or chunks make other errors; what they explain now must not
    be corrected twice. Of a GPU that no pool has, nobody can tell: it is kept, and not used.
    """
    same_gpu = [pool for pool in pools.values() if pool.gpu.name == entry.key.gpu]
    shapes = (running_shape(fleet, pool.gpu, entry.key.tensor_parallel) for pool in same_gpu)
    return not same_gpu or any(shape_key(shape) == entry.key for shape in shapes)


def running_shape(fleet: Fleet, gpu: GpuSpec, tensor_parallel: int) -> ReplicaShape:
    """The replica that this fleet runs on so many of these GPUs."""
    return ReplicaShape(
        model=fleet.model,
        gpu=gpu,
        tensor_parallel=tensor_parallel,
        weights=fleet.weights,
        kv_cache=fleet.kv_cache,
        limits=fleet.engine.limits,
        speculation=fleet.engine.speculation,
    )


def _look(
    state: FleetState, pool: str, wanted: int, shape: ReplicaShape, lengths: LengthMix, at_s: float
) -> Look | Refusal:
    if not isinstance(state.metrics, FleetMetrics):
        return Refusal(verdict=WindowVerdict.NO_METRICS, sentence=state.metrics.sentence)
    seen = state.metrics.pools.get(pool)
    if seen is None:
        return Refusal(verdict=WindowVerdict.NO_METRICS, sentence=f"no engine of pool {pool} reports")
    if state.fleet.engine.speculation is not None:
        said = "steps of speculative decoding give several tokens: they are not compared with the model"
        return Refusal(verdict=WindowVerdict.SPECULATIVE, sentence=said)
    return Look(
        seen=seen,
        replicas=[replica for replica in state.replicas if replica.pool == pool],
        wanted=wanted,
        shape=shape,
        lengths=lengths,
        served_name=state.fleet.served_name,
        prefix_caching=state.fleet.engine.prefix_caching,
        at_s=at_s,
    )


def _after(
    entry: ShapeCalibration, look: Look | Refusal, state: FleetState, shape: ReplicaShape, prior: Scales, at_s: float
) -> ShapeCalibration:
    window_s = state.metrics.window_s if isinstance(state.metrics, FleetMetrics) else 60.0
    due = entry.looked_s is None or at_s - entry.looked_s >= 0.99 * window_s
    taught = entry.updated_s is not None and at_s - entry.updated_s < 0.99 * window_s
    if taught or (entry.verdict is WindowVerdict.OUTLIER and not due):
        return entry
    reading = look if isinstance(look, Refusal) else read(look)
    if isinstance(reading, Refusal):
        # Overlapping windows are refused for the same cause: it counts once.
        counted = 1 if due else 0
        return replace(
            entry,
            verdict=reading.verdict,
            sentence=reading.sentence,
            rejected=entry.rejected + counted,
            misses=entry.misses + counted,
            looked_s=at_s if due else entry.looked_s,
        )
    learnt = learn(entry, reading, shape, at_s=at_s)
    if learnt.verdict is not WindowVerdict.ACCEPTED:
        return learnt
    learnt = _with_guards(learnt, reading, state, shape, entry.applied or prior)
    return replace(learnt, applied=applied(learnt, prior))


def _with_guards(
    entry: ShapeCalibration, reading: Reading, state: FleetState, shape: ReplicaShape, scales: Scales
) -> ShapeCalibration:
    """Feedback: a percentile that misses its SLO at a load the model calls safe makes the model more careful."""
    missed = {slo.metric for slo in state.fleet.slos if _missed(state, slo.metric, slo.percentile, slo.target_s)}
    if missed:
        capacity = replica_capacity(shape, reading.lengths, state.fleet.slos, scales)
        if reading.requests_per_s > SAFE_LOAD * capacity.requests_per_s:
            missed = set()
    return guarded(
        entry,
        itl_missed=bool(missed & {SloMetric.ITL, SloMetric.E2E}),
        ttft_missed=SloMetric.TTFT in missed,
    )


def _missed(state: FleetState, metric: SloMetric, percentile: int, target_s: float) -> bool:
    histogram = state.metrics.histogram(metric) if isinstance(state.metrics, FleetMetrics) else None
    if histogram is None or histogram.total < ENOUGH_VALUES[metric]:
        return False
    share = histogram.share_at_most(target_s)
    return share is not None and share < percentile / 100


def _less_sure(scales: Scales, more_sigma_log: float, prior: Scales) -> Scales:
    """The same constants with the uncertainty of the transfer: never surer than its source, nor less than the prior."""
    added = min(prior.sigma_log, hypot(scales.sigma_log, more_sigma_log))
    return replace(scales, sigma_log=max(scales.sigma_log, added))


def _is_slower(own: ShapeCalibration, best: ShapeCalibration | None) -> bool:
    """Whether few windows of its own say already that a pool is not as fast as the one that has taught most."""
    if best is None or own.used < PROBATION_WINDOWS:
        return False
    return own.itl_factor_log > best.itl_factor_log + SAME_SPEED_LOG


def _experience(entry: ShapeCalibration) -> tuple[int, str]:
    return entry.used, entry.pool


def _octaves(one: ShapeKey, other: ShapeKey) -> float:
    return abs(log2(one.tensor_parallel / other.tensor_parallel))


def in_use(entries: Sequence[ShapeCalibration], pool: str, key: ShapeKey) -> ShapeCalibration | None:
    """What was learnt of exactly this shape in this pool."""
    return next((entry for entry in entries if (entry.pool, entry.key) == (pool, key)), None)
