"""Capacity of one replica: the largest arrival rate at which every SLO percentile holds (sizing physics 1.4-1.10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from inferencefleet.domain.capacity import (
    EngineLimits,
    Limit,
    MemoryBudget,
    ReplicaCapacity,
    ReplicaShape,
    Scales,
    Speculation,
)
from inferencefleet.domain.hardware import DataConfidence
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.confidence import judged
from inferencefleet.physics.limits import replicas
from inferencefleet.physics.memory import memory_budget, missing_bytes
from inferencefleet.physics.refusals import out_of_reach, seconds, too_large
from inferencefleet.physics.remembered import Remembered
from inferencefleet.physics.residence import Floats, clip_lengths
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.traffic import traffic

HOST_REQUESTS_PER_S = 180.0
HOST_TOKENS_PER_S = 25_000.0
"""What one API server process was seen to stream without being the limit: 178 requests/s (Llama-3.1-8B, vLLM 0.11,
inference-perf) and 26,000 tokens/s (gpt-oss-120b on eight H100, InferenceX). Beyond that nothing is known."""
REPORTED = (50, 95, 99)
BLOCK = 24
"""Replicas that are computed together: more of them leave the processor's cache."""
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
    return replica_capacities((shape,), lengths, slos, scales)[0]


def replica_capacities(
    shapes: Sequence[ReplicaShape], lengths: LengthMix, slos: Sequence[Slo], scales: Scales = _PRIOR
) -> list[ReplicaCapacity]:
    """`replica_capacity` of many replicas, in their order; those of one model and one set of limits in one go."""
    content, targets = lengths.content(), tuple(slos)
    # GPUs that compare equal may be known unequally well.
    questions = [(shape, shape.gpu.confidence, content, targets, scales) for shape in shapes]
    answers = [_ANSWERED.known(question) for question in questions]
    groups: dict[tuple[int, EngineLimits, Speculation | None], list[int]] = {}
    for place, shape in enumerate(shapes):
        if answers[place] is None:
            # By identity: the hash of a model with its many layers takes long.
            groups.setdefault((id(shape.model), shape.limits, shape.speculation), []).append(place)
    for places in groups.values():
        computed = _compute([shapes[place] for place in places], lengths, targets, scales)
        for place, capacity in zip(places, computed, strict=True):
            answers[place] = _ANSWERED.keep(questions[place], judged(shapes[place], capacity))
    return [answer for answer in answers if answer is not None]


def operating_latencies_s(
    shape: ReplicaShape,
    lengths: LengthMix,
    requests_per_s: ArrayLike,
    percentiles: Sequence[int] = REPORTED,
    scales: Scales = _PRIOR,
) -> Mapping[str, Floats]:
    """Latencies at Poisson rates of shape (r,): `ttft_mean`, `ttft_p95`, `itl_mean`, `itl_p95`, `e2e_p95`, ... seconds,
    `running`, the mean number of resident requests, and `utilisation` of what a full replica completes.

    Rates above that are answered as if at it: a queue grows there for as long as they last. Raises `ValueError` when
    the model does not fit.
    """
    if missing_bytes(shape) > 0:
        raise ValueError(f"{shape} does not fit: latencies need a replica that can serve")
    rates = np.asarray(requests_per_s, dtype=np.float64)[None, :]
    mix = traffic(shape, clip_lengths(lengths, shape.limits.max_model_len_tokens))
    asked = replicas([shape], [StepModel(shape, scales)], mix, scales.ttft)
    return {name: values[0] for name, values in asked.exactly_at(rates, percentiles).items()}


def host_requests_per_s(lengths: LengthMix) -> float:
    """What one API server process can answer and stream of these requests, whatever the GPU (1.10)."""
    return min(HOST_REQUESTS_PER_S, HOST_TOKENS_PER_S / lengths.mean_output_tokens)


def _compute(
    shapes: Sequence[ReplicaShape], lengths: LengthMix, slos: Sequence[Slo], scales: Scales
) -> list[ReplicaCapacity]:
    """Of replicas that share model, limits and speculation."""
    missing = [missing_bytes(shape) for shape in shapes]
    fitting = [shape for shape, lack in zip(shapes, missing, strict=True) if lack <= 0]
    blocks = [fitting[first : first + BLOCK] for first in range(0, len(fitting), BLOCK)]
    answers = (answer for block in blocks for answer in _of_fitting(block, lengths, slos, scales))
    return [
        next(answers) if lack <= 0 else too_large(shape, memory_budget(shape), lack)
        for shape, lack in zip(shapes, missing, strict=True)
    ]


def _of_fitting(
    shapes: Sequence[ReplicaShape], lengths: LengthMix, slos: Sequence[Slo], scales: Scales
) -> list[ReplicaCapacity]:
    lengths = clip_lengths(lengths, shapes[0].limits.max_model_len_tokens)
    steps = [StepModel(shape, scales) for shape in shapes]
    asked = replicas(shapes, steps, traffic(shapes[0], lengths), scales.ttft)
    percentiles = sorted({*REPORTED, *(slo.percentile for slo in slos)})
    floors = asked.alone(percentiles)

    limits: dict[Limit, Floats] = {
        Limit.KV_MEMORY: asked.kv_rate(),
        Limit.MAX_SEQS: asked.slots_rate(),
        Limit.HOST: np.full(len(shapes), host_requests_per_s(lengths)),
    }
    curves = [asked.curve(slo) for slo in slos]
    of_slos = asked.slo_rates(slos, curves, floors)
    for slo, rates in zip(slos, of_slos, strict=True):
        limit = _OF[slo.metric]
        limits[limit] = np.minimum(limits.get(limit, np.inf), rates)
    names = list(limits)
    table = np.array([limits[name] for name in names])
    binding = table.argmin(axis=0)
    rate = table.min(axis=0)
    found, idle = asked.at(rate[:, None], percentiles, curves)
    floors |= idle

    answers = []
    for row, shape in enumerate(shapes):
        budget = memory_budget(shape)
        alone = {name: float(values[row, 0]) for name, values in floors.items()}
        reached = {name: float(values[row, 0]) for name, values in found.items()}
        concurrency = reached.pop("running")
        unreachable = next((slo for slo in slos if alone[f"{slo.metric}_p{slo.percentile}"] > slo.target_s), None)
        if unreachable is not None:
            answers.append(
                ReplicaCapacity(
                    requests_per_s=0.0,
                    binding=Limit.SLO_UNREACHABLE,
                    sentence=out_of_reach(unreachable, alone[f"{unreachable.metric}_p{unreachable.percentile}"]),
                    memory=budget,
                    floors_s=MappingProxyType(alone),
                )
            )
            continue
        limit = names[int(binding[row])]
        at = float(rate[row])
        # The first of the SLOs that bind here says why.
        bound = (slo for slo, rates in zip(slos, of_slos, strict=True) if _OF[slo.metric] is limit and rates[row] <= at)
        answers.append(
            ReplicaCapacity(
                requests_per_s=at,
                binding=limit,
                sentence=_sentence(limit, next(bound, None), at, concurrency, shape, budget, lengths),
                limits_requests_per_s=MappingProxyType({name: float(table[n, row]) for n, name in enumerate(names)}),
                concurrency=concurrency,
                memory=budget,
                latencies_s=MappingProxyType(reached),
                floors_s=MappingProxyType(alone),
            )
        )
    return answers


def _sentence(
    binding: Limit,
    slo: Slo | None,
    rate: float,
    concurrency: float,
    shape: ReplicaShape,
    budget: MemoryBudget,
    lengths: LengthMix,
) -> str:
    """The binding limit in words with its numbers."""
    at = f"at {rate:.3g} requests/s ({concurrency:.0f} running)"
    if slo is not None:
        return f"{at[0].upper()}{at[1:]} {slo.metric} p{slo.percentile} reaches its target of {seconds(slo.target_s)}."
    if binding is Limit.KV_MEMORY:
        return (
            f"The KV cache of {budget.kv_cache_tokens:,.0f} tokens is full 5 % of the time {at}: requests hold "
            f"{lengths.mean_prompt_tokens:,.0f} prompt and up to {lengths.mean_output_tokens:,.0f} output tokens."
        )
    if binding is Limit.MAX_SEQS:
        return f"The {shape.limits.max_num_seqs} sequence slots (maxNumSeqs) are all taken 5 % of the time {at}."
    return (
        f"One API server process was seen to stream {HOST_TOKENS_PER_S:,.0f} tokens/s and to answer "
        f"{HOST_REQUESTS_PER_S:.0f} requests/s, not more: {rate:.3g} requests/s of {lengths.mean_output_tokens:,.0f} "
        "output tokens reach that."
    )
