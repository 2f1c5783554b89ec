"""One replica at a given load: fixed concurrency, a Poisson rate, or a static batch (sizing physics 1.4, 1.5).

Capacity asks "how much until an SLO breaks"; here the load is given and the latencies are the answer: to compare the
model with measured runs, and to calibrate it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.closed_loop import run_closed_loop
from inferencefleet.physics.memory import memory_budget
from inferencefleet.physics.prefill import chunk_budget, extension_s, host_s, new_tokens
from inferencefleet.physics.residence import clip_lengths, load, resident_bytes, resident_context_tokens
from inferencefleet.physics.speculation import tokens_per_step
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.ttft import latencies

_PRIOR = Scales()
ROUNDS = 10
"""Requests for each client: what the InferenceMAX runs and vLLM's own recipes send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Means over the requests of one replica in a steady state."""

    running: float
    """Sequences in the batch."""
    waiting: float
    """Requests that wait for a slot or for KV cache."""
    itl_mean_s: float
    ttft_mean_s: float
    ttft_p50_s: float
    requests_per_s: float
    output_tokens_per_s: float
    utilisation: float
    """Of what the replica can hold, 0..1."""
    stable: bool = True
    """False when more arrives than can be served: latencies are those at the limit, a real queue grows beyond them."""


def closed_loop(
    shape: ReplicaShape, lengths: LengthMix, clients: float, scales: Scales = _PRIOR, rounds: int = ROUNDS
) -> OperatingPoint:
    """A benchmark of `clients` that start together and send `rounds` requests each, the next when one is answered.

    Means over all requests of the run, the first burst included, as benchmark tools report them. Requests are drawn
    from the length mix in a fixed shuffled order.
    """
    lengths = clip_lengths(lengths, shape.limits.max_model_len_tokens)
    count = max(1, round(clients))
    prompts, outputs = _requests(lengths, count * rounds)
    gain = tokens_per_step(shape.speculation)
    most = most_seqs(shape, lengths)
    run = run_closed_loop(
        StepModel(shape, scales),
        prompts,
        1 + (outputs - 1) / gain,
        clients=count,
        batched_tokens=shape.limits.max_num_batched_tokens,
        slots=shape.limits.max_num_seqs,
        kv_cache_tokens=memory_budget(shape).kv_cache_bytes / _bytes_per_token(shape, lengths),
        prefix_hit_ratio=lengths.prefix_hit_ratio,
    )
    rate = prompts.size / run.seconds
    answered = run.itl_s[np.isfinite(run.itl_s)]
    return OperatingPoint(
        running=run.running_mean,
        waiting=max(0.0, clients - most),
        itl_mean_s=float(answered.mean()) if answered.size else float(run.ttft_s.mean()),
        ttft_mean_s=float(run.ttft_s.mean()) * scales.ttft,
        ttft_p50_s=float(np.median(run.ttft_s)) * scales.ttft,
        requests_per_s=rate,
        output_tokens_per_s=rate * float(outputs.mean()),
        utilisation=min(1.0, clients / most),
        stable=not run.waited,
    )


def open_loop(
    shape: ReplicaShape, lengths: LengthMix, requests_per_s: float, scales: Scales = _PRIOR
) -> OperatingPoint:
    """Poisson arrivals at a given rate."""
    lengths = clip_lengths(lengths, shape.limits.max_model_len_tokens)
    sample = latencies(load(shape, lengths, scales, most_seqs(shape, lengths)), requests_per_s, scales.ttft)
    return OperatingPoint(
        running=sample.running,
        waiting=0.0,
        itl_mean_s=sample.itl_mean_s,
        ttft_mean_s=sample.ttft_mean_s(),
        ttft_p50_s=sample.ttft_percentile_s(50),
        requests_per_s=min(requests_per_s, sample.most_requests_per_s),
        output_tokens_per_s=min(requests_per_s, sample.most_requests_per_s) * lengths.mean_output_tokens,
        utilisation=requests_per_s / sample.most_requests_per_s,
        stable=requests_per_s <= sample.most_requests_per_s,
    )


def static_batch(shape: ReplicaShape, lengths: LengthMix, batch: float, scales: Scales = _PRIOR) -> OperatingPoint:
    """`batch` equal requests that start together and nothing after them: offline benchmarks."""
    prompt, output = lengths.mean_prompt_tokens, lengths.mean_output_tokens
    step = StepModel(shape, scales)
    room = chunk_budget(shape.limits.max_num_batched_tokens, 0.0)
    new = new_tokens(prompt, lengths.prefix_hit_ratio)
    prefill = float(batch * extension_s(step, 0.0, prompt, lengths.prefix_hit_ratio, np.maximum(room, new)))
    prefill += float(step.shared_array(np.zeros(()), np.zeros(())))
    decode = float(step.seconds_array(batch, batch * (prompt + output / 2)))
    ttft = (float(host_s(prompt)) + prefill) * scales.ttft
    total = ttft + max(output - 1, 0) * decode
    return OperatingPoint(
        running=batch,
        waiting=0.0,
        itl_mean_s=decode,
        ttft_mean_s=ttft,
        ttft_p50_s=ttft,
        requests_per_s=batch / total,
        output_tokens_per_s=batch * output / total,
        utilisation=min(1.0, batch / most_seqs(shape, lengths)),
    )


def most_seqs(shape: ReplicaShape, lengths: LengthMix) -> float:
    """Sequences that the slots and the KV cache hold on average, at least one."""
    mean_bytes, _ = resident_bytes(shape, lengths)
    return max(1.0, min(float(shape.limits.max_num_seqs), memory_budget(shape).kv_cache_bytes / mean_bytes))


def _bytes_per_token(shape: ReplicaShape, lengths: LengthMix) -> float:
    """Mean bytes of a cached token; sliding windows and constant states count as far as they hold memory."""
    mean_bytes, _ = resident_bytes(shape, lengths)
    return mean_bytes / resident_context_tokens(lengths)[0]


def _requests(lengths: LengthMix, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`count` requests of the mix, each as often as the others, in a fixed shuffled order."""
    order = np.random.default_rng(20261121).permutation(count) % lengths.prompt_tokens.size
    return np.round(lengths.prompt_tokens[order]), np.maximum(1.0, np.round(lengths.output_tokens[order]))
