"""Capacity of one replica: the largest arrival rate at which every SLO percentile holds (sizing physics 1.4-1.10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from types import MappingProxyType

import numpy as np

from inferencefleet.domain.capacity import Limit, MemoryBudget, ReplicaCapacity, ReplicaShape, Scales
from inferencefleet.domain.hardware import DataConfidence
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.confidence import judged
from inferencefleet.physics.memory import memory_budget, missing_bytes
from inferencefleet.physics.refusals import out_of_reach, seconds, too_large
from inferencefleet.physics.remembered import Remembered
from inferencefleet.physics.residence import Floats, Load, clip_lengths, itl_percentiles_s, load, resident_bytes
from inferencefleet.physics.ttft import alone, latencies, percentile_keys

HOST_REQUESTS_PER_S = 100.0
HOST_TOKENS_PER_S = 7000.0
"""What one API server process streams (1.10, vLLM 0.11, measured 5-11k)."""
REPORTED = (50, 95, 99)
CLOSER = 32
"""Points that are looked at between two of the coarse grid: 20 % apart there, 0.6 % here."""
_Z95 = 1.645
_PRIOR = Scales()
REMEMBERED = 4096
"""Capacities: about 10 MiB, enough for the pools of 1,000 fleets whose lengths stand still."""
_Question = tuple[ReplicaShape, DataConfidence, bytes, tuple[Slo, ...], Scales]
_ANSWERED: Remembered[_Question, ReplicaCapacity] = Remembered(REMEMBERED)
_OF = {SloMetric.TTFT: Limit.TTFT, SloMetric.ITL: Limit.ITL, SloMetric.E2E: Limit.E2E}


def replica_capacity(
    shape: ReplicaShape, lengths: LengthMix, slos: Sequence[Slo], scales: Scales = _PRIOR
) -> ReplicaCapacity:
    """The largest arrival rate at which every SLO holds, what binds it, and the latencies there.

    KV cache and sequence slots bind where their use, which fluctuates with the number and the lengths of resident
    requests, stays within the limit 95 % of the time. That is the load from which requests queue for admission or
    are preempted. A question that was asked before is answered from memory: most fleets ask the same in every tick.
    """
    # GPUs that compare equal may be known unequally well.
    question = (shape, shape.gpu.confidence, lengths.content(), tuple(slos), scales)
    return _ANSWERED.get(question, lambda: judged(shape, _compute(shape, lengths, slos, scales)))


def _compute(shape: ReplicaShape, lengths: LengthMix, slos: Sequence[Slo], scales: Scales) -> ReplicaCapacity:
    budget = memory_budget(shape)
    missing = missing_bytes(shape)
    if missing > 0:
        return too_large(shape, budget, missing)

    lengths = clip_lengths(lengths, shape.limits.max_model_len_tokens)
    mean_bytes, rms_bytes = resident_bytes(shape, lengths)
    slots = float(shape.limits.max_num_seqs)
    state = load(shape, lengths, scales, min(slots, budget.kv_cache_bytes / mean_bytes))
    percentiles = sorted({*REPORTED, *(slo.percentile for slo in slos)})
    itl = itl_percentiles_s(state, percentiles)
    closer = _around_targets(state, itl, slos)
    if closer:
        state = load(shape, lengths, scales, float(state.seqs[-1]), closer)
        itl = itl_percentiles_s(state, percentiles)
    floors = _floors(state, itl, percentiles, scales)

    for slo in slos:
        floor = floors[f"{slo.metric}_p{slo.percentile}"]
        if floor > slo.target_s:
            return ReplicaCapacity(
                requests_per_s=0.0,
                binding=Limit.SLO_UNREACHABLE,
                sentence=out_of_reach(slo, floor),
                memory=budget,
                floors_s=floors,
            )

    kv_seqs = _seqs_within(budget.kv_cache_bytes, mean_bytes, rms_bytes)
    slot_seqs = _seqs_within(slots, 1.0, 1.0)
    limits = {
        Limit.KV_MEMORY: _rate_of(state, kv_seqs),
        Limit.MAX_SEQS: _rate_of(state, slot_seqs),
        Limit.HOST: host_requests_per_s(lengths),
    }
    bound_by: dict[Limit, Slo] = {}
    for slo in slos:
        rate = _slo_rate(state, itl, slo, scales)
        limit = _OF[slo.metric]
        if rate < limits.get(limit, np.inf):
            limits[limit], bound_by[limit] = rate, slo
    binding = min(limits, key=lambda limit: limits[limit])
    rate = limits[binding]
    found = _latencies_at(state, itl, rate, percentiles, scales)
    concurrency = float(np.interp(rate, state.rate, state.seqs))
    return ReplicaCapacity(
        requests_per_s=rate,
        binding=binding,
        sentence=_sentence(binding, bound_by.get(binding), rate, concurrency, shape, budget, lengths, found),
        limits_requests_per_s=MappingProxyType(limits),
        concurrency=concurrency,
        memory=budget,
        latencies_s=found,
        floors_s=floors,
    )


def host_requests_per_s(lengths: LengthMix) -> float:
    """What one API server process can answer and stream of these requests, whatever the GPU (1.10)."""
    return min(HOST_REQUESTS_PER_S, HOST_TOKENS_PER_S / lengths.mean_output_tokens)


def _seqs_within(total: float, mean: float, rms: float) -> float:
    """Mean number of resident sequences whose summed size exceeds `total` 5 % of the time.

    The number is about Poisson, so the sum has mean n m and standard deviation rms sqrt(n); solve for sqrt(n).
    """
    spread = _Z95 * rms
    return ((sqrt(spread * spread + 4 * mean * total) - spread) / (2 * mean)) ** 2


def _around_targets(state: Load, itl: Mapping[int, Floats], slos: Sequence[Slo]) -> list[float]:
    """Points between the two of the grid where an ITL percentile crosses its target.

    A percentile jumps where the share of steps that carry a prompt chunk reaches it, so that a line between two coarse
    points would put the crossing anywhere between them.
    """
    found: list[float] = []
    for slo in slos:
        if slo.metric is SloMetric.ITL:
            above = int(np.searchsorted(itl[slo.percentile], slo.target_s, side="right"))
            if 0 < above < state.seqs.size:
                found += np.linspace(state.seqs[above - 1], state.seqs[above], CLOSER + 2)[1:-1].tolist()
    return found


def _rate_of(state: Load, seqs: float) -> float:
    return float(np.interp(seqs, state.seqs, state.rate))


def _slo_rate(state: Load, itl: Mapping[int, Floats], slo: Slo, scales: Scales) -> float:
    """The largest rate at which this SLO holds; its floor is known to be below the target."""
    top = float(state.rate[-1])
    if slo.metric is SloMetric.ITL:
        values = itl[slo.percentile]
        if values[-1] <= slo.target_s:
            return top
        return float(np.interp(slo.target_s, values, state.rate))

    def value(rate: float) -> float:
        sample = latencies(state, rate, scales.ttft)
        if slo.metric is SloMetric.TTFT:
            return sample.ttft_percentile_s(slo.percentile)
        return sample.e2e_percentile_s(slo.percentile)

    return _largest(value, slo.target_s, top)


def _largest(value: Callable[[float], float], target: float, top: float) -> float:
    """Largest rate in (0, top] at which the increasing `value` is at most `target`, to 0.3 %."""
    if value(top) <= target:
        return top
    low, high = 0.0, top
    for _ in range(24):
        middle = (low + high) / 2
        if value(middle) <= target:
            low = middle
        else:
            high = middle
        if high - low <= 0.003 * high:
            break
    return low if low > 0 else high / 2


def _latencies_at(
    state: Load, itl: Mapping[int, Floats], rate: float, percentiles: Sequence[int], scales: Scales
) -> Mapping[str, float]:
    found = percentile_keys(latencies(state, rate, scales.ttft), percentiles)
    found["itl_mean"] = float(np.interp(rate, state.rate, state.itl_mean_s))
    found |= {f"itl_p{level}": float(np.interp(rate, state.rate, values)) for level, values in itl.items()}
    return MappingProxyType(found)


def _floors(state: Load, itl: Mapping[int, Floats], percentiles: Sequence[int], scales: Scales) -> Mapping[str, float]:
    found = percentile_keys(alone(state, scales.ttft), percentiles)
    found["itl_mean"] = float(state.itl_mean_s[0])
    found |= {f"itl_p{level}": float(values[0]) for level, values in itl.items()}
    return MappingProxyType(found)


def _sentence(
    binding: Limit,
    slo: Slo | None,
    rate: float,
    concurrency: float,
    shape: ReplicaShape,
    budget: MemoryBudget,
    lengths: LengthMix,
    found: Mapping[str, float],
) -> str:
    """The binding limit in words with its numbers."""
    at = f"at {rate:.3g} requests/s ({concurrency:.0f} running)"
    if slo is not None:
        reached = found[f"{slo.metric}_p{slo.percentile}"]
        return f"{at[0].upper()}{at[1:]} {slo.metric} p{slo.percentile} is {seconds(reached)}; the target is {slo}."
    if binding is Limit.KV_MEMORY:
        return (
            f"The KV cache of {budget.kv_cache_tokens:,.0f} tokens is full 5 % of the time {at}: requests hold "
            f"{lengths.mean_prompt_tokens:,.0f} prompt and up to {lengths.mean_output_tokens:,.0f} output tokens."
        )
    if binding is Limit.MAX_SEQS:
        return f"The {shape.limits.max_num_seqs} sequence slots (maxNumSeqs) are all taken 5 % of the time {at}."
    return (
        f"One API server process streams about {HOST_TOKENS_PER_S:,.0f} tokens/s or {HOST_REQUESTS_PER_S:.0f} "
        f"requests/s; {rate:.3g} requests/s of {lengths.mean_output_tokens:,.0f} output tokens reach that."
    )
