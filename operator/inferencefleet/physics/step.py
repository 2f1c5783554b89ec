"""Time of one engine step (sizing physics 1.3): a roofline with separate terms.

`n` sequences decode one token each and `P` prompt tokens are prefilled in the same step, m = n + P:

    linear layers    smax4(weight bytes / bandwidth, 2 parameters m / compute)
    routed experts   smax3(touched experts' bytes / bandwidth, 2 k parameters m / compute)
    output head      smax4(head bytes / bandwidth, 2 V h (n + 1 when prefilling) / compute)
    decode attention KV cache bytes read / bandwidth
    prompt attention 2 H (d_q + d_v) P S_p per layer / compute
    all-reduce       2 a layer: latency + 2 (tp - 1) / tp * m h 2 bytes / link bandwidth
    overhead         step + layers + MoE layers + sequences

A step with more tokens than the largest captured CUDA graph is launched kernel by kernel: smax8(all but attention,
layers x launch time).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.hardware import Efficiency, GpuSpec, Link, NumberFormat
from inferencefleet.domain.model import AttentionKind, ModelSpec, attention_groups
from inferencefleet.physics.kv import read_bytes_per_token, state_bytes_per_sequence, windowed_read_bytes_per_token
from inferencefleet.physics.speculation import drafting_share, verified_tokens
from inferencefleet.physics.weights import BYTES_PER_WEIGHT, dense_format, parameters

STEP_OVERHEAD_S = 0.93e-3
SEQUENCE_OVERHEAD_S = 14e-6
MXFP4_MOE_OVERHEAD = 0.45
"""Its fused expert kernels launch less than the grouped products of other formats: share of their overhead."""
MXFP4_EXPERTS_READ = 0.72
"""Share of the experts' bytes that uniform routing would touch: the tokens of a batch prefer the same experts."""
HEAD_COMPUTE_EFFICIENCY = 0.7
DEFAULT_LINK = Link(latency_s=10e-6, bandwidth_bytes_per_s=100e9)
"""For a GPU whose links are unknown."""

Seconds = NDArray[np.float64]
_PRIOR = Scales()


class StepModel:
    """The step time of one replica with everything that does not change precomputed.

    `seconds` is for callers that ask one step at a time in a hot loop (the simulator): floats in, float out.
    `seconds_array` is the same formula over arrays.
    """

    __slots__ = (
        "_attention",
        "_draft_share",
        "_drafter",
        "_eager8",
        "_expert_compute",
        "_expert_memory",
        "_expert_miss_log",
        "_full",
        "_graph_tokens",
        "_head_compute",
        "_head_memory",
        "_linear_compute",
        "_linear_memory4",
        "_link_latency",
        "_overhead",
        "_per_token",
        "_sequence",
        "_state",
        "_verified",
        "_windows",
    )

    def __init__(self, shape: ReplicaShape, scales: Scales = _PRIOR) -> None:
        model, gpu, tp = shape.model, shape.gpu, shape.tensor_parallel
        count = parameters(model)
        dense = dense_format(model, shape.weights)
        bandwidth = tp * gpu.bandwidth_bytes_per_s / scales.memory
        compute = tp / scales.compute
        bf16 = gpu.peak_flops[NumberFormat.BF16]

        efficiency = efficiency_of(gpu, dense)
        linear_bytes = count.dense * BYTES_PER_WEIGHT[dense]
        self._linear_memory4 = (linear_bytes / (bandwidth * efficiency.bandwidth)) ** 4
        self._linear_compute = 2 * count.dense / (compute * gpu.peak_flop_per_s(dense) * efficiency.compute)

        head_rate = efficiency_of(gpu, NumberFormat.BF16).bandwidth
        self._head_memory = 2 * count.head / (bandwidth * head_rate)
        self._head_compute = 2 * count.head / (compute * bf16 * HEAD_COMPUTE_EFFICIENCY)

        self._expert_memory = self._expert_compute = self._expert_miss_log = 0.0
        if model.moe:
            efficiency = efficiency_of(gpu, shape.weights)
            peak = gpu.peak_flop_per_s(shape.weights)
            share = model.moe.experts_per_token / model.moe.experts
            expert_bytes = count.experts * BYTES_PER_WEIGHT[shape.weights]
            if shape.weights is NumberFormat.MXFP4:
                expert_bytes *= MXFP4_EXPERTS_READ
            self._expert_memory = expert_bytes / (bandwidth * efficiency.moe_bandwidth)
            self._expert_compute = 2 * count.experts * share / (compute * peak * efficiency.moe_compute)
            # log(1 - k/E): a token misses a given expert with this log-probability. All experts chosen: never misses.
            self._expert_miss_log = math.log1p(-share) if share < 1 else -math.inf

        kv_rate = bandwidth * gpu.kv_bandwidth_efficiency
        self._full = read_bytes_per_token(shape) / kv_rate
        attention = 2 / (compute * bf16 * gpu.attention_compute_efficiency)
        everything, widths = _attention_widths(model)
        self._attention = attention * everything
        self._windows = _windows(windowed_read_bytes_per_token(shape), widths, kv_rate, attention)

        overhead = STEP_OVERHEAD_S + model.layers * gpu.layer_overhead_s
        moe_overhead = gpu.moe_layer_overhead_s
        if shape.weights is NumberFormat.MXFP4:
            moe_overhead *= MXFP4_MOE_OVERHEAD
        overhead += (model.moe.layers if model.moe else 0) * moe_overhead
        self._overhead = overhead * scales.overhead
        self._sequence = SEQUENCE_OVERHEAD_S * scales.overhead
        # A linear-attention layer reads and writes its whole state for each token.
        self._state = 2 * state_bytes_per_sequence(shape) / bandwidth
        self._graph_tokens = shape.limits.cuda_graph_tokens
        self._eager8 = (model.layers * gpu.eager_layer_overhead_s * scales.overhead) ** 8
        self._per_token = self._link_latency = 0.0
        if tp > 1:
            link = _link(gpu, tp)
            volume = 2 * (tp - 1) / tp * model.hidden * 2 / link.bandwidth_bytes_per_s
            self._link_latency = 2 * model.layers * link.latency_s * scales.overhead
            self._overhead += self._link_latency
            self._per_token = 2 * model.layers * volume * scales.memory

        self._verified, self._draft_share = verified_tokens(shape.speculation), drafting_share(shape.speculation)
        self._drafter = StepModel(replace(shape, speculation=None), scales) if self._draft_share else None

    @classmethod
    def stacked(cls, models: Sequence[StepModel]) -> StepModel:
        """Replicas of one model under one set of limits as one: its array methods broadcast with (replicas, 1, 1)."""
        one = cls.__new__(cls)
        for name in cls.__slots__:
            setattr(one, name, _stacked([getattr(model, name) for model in models]))
        return one

    def seconds(
        self,
        decode_seqs: float,
        context_tokens_sum: float,
        prefill_tokens: float = 0.0,
        prefill_context_tokens: float = 0.0,
    ) -> float:
        """Seconds of one step.

        `decode_seqs` sequences decode, with `context_tokens_sum` tokens in the cache together. `prefill_tokens` prompt
        tokens are computed, each of which attends to `prefill_context_tokens` tokens on average: those cached before
        its chunk plus half of the chunk (average over all prefilled tokens when several prompts share the step).
        With speculative decoding a sequence brings its drafts as well, and drafting them takes time of its own (1.9).
        """
        verified = decode_seqs * self._verified
        tokens = verified + prefill_tokens
        compute = self._linear_compute * tokens
        compute *= compute
        total = self._overhead + self._per_token * tokens + (self._sequence + self._state) * decode_seqs
        total += math.sqrt(math.sqrt(self._linear_memory4 + compute * compute))
        if self._expert_memory:
            memory = -self._expert_memory * math.expm1(self._expert_miss_log * tokens) if tokens else 0.0
            compute = self._expert_compute * tokens
            total += math.cbrt(memory * memory * memory + compute * compute * compute)
        memory = self._head_memory * self._head_memory
        compute = self._head_compute * (verified + (1.0 if prefill_tokens else 0.0))
        compute *= compute
        total += math.sqrt(math.sqrt(memory * memory + compute * compute))
        if tokens > self._graph_tokens:
            fourth = total * total * total * total
            total = math.sqrt(math.sqrt(math.sqrt(fourth * fourth + self._eager8)))
        total += self._full * context_tokens_sum
        for window, read, _ in self._windows:
            total += read * min(context_tokens_sum, decode_seqs * window)
        if prefill_tokens:
            total += self._attention * prefill_tokens * prefill_context_tokens
            for window, _, attention in self._windows:
                total += attention * prefill_tokens * min(prefill_context_tokens, window)
        if self._drafter and decode_seqs:
            total += self._draft_share * self._drafter.seconds(decode_seqs, context_tokens_sum)
        return total

    def terms(
        self,
        decode_seqs: float,
        context_tokens_sum: float,
        prefill_tokens: float = 0.0,
        prefill_context_tokens: float = 0.0,
    ) -> dict[str, float]:
        """The seconds of each term of `seconds`, in the order of the formula; they add up to it.

        `launch` is what the step waits for the host when no CUDA graph replays it; `drafting` is speculative decoding.
        """
        verified = decode_seqs * self._verified
        tokens = verified + prefill_tokens
        parts = {
            "weights": (self._linear_memory4 + (self._linear_compute * tokens) ** 4) ** 0.25,
            "experts": 0.0,
            "head": (self._head_memory**4 + (self._head_compute * (verified + (prefill_tokens > 0))) ** 4) ** 0.25,
            "all_reduce": self._link_latency + self._per_token * tokens,
            "overhead": self._overhead - self._link_latency + self._sequence * decode_seqs,
            "state": self._state * decode_seqs,
        }
        if self._expert_memory and tokens:
            touched = -self._expert_memory * math.expm1(self._expert_miss_log * tokens)
            parts["experts"] = (touched**3 + (self._expert_compute * tokens) ** 3) ** (1 / 3)
        gpu = sum(parts.values())
        parts["launch"] = (gpu**8 + self._eager8) ** 0.125 - gpu if tokens > self._graph_tokens else 0.0
        alone = self.seconds(decode_seqs, 0.0, prefill_tokens)
        with_cache = self.seconds(decode_seqs, context_tokens_sum, prefill_tokens)
        parts["kv_cache"] = with_cache - alone
        attended = self.seconds(decode_seqs, context_tokens_sum, prefill_tokens, prefill_context_tokens)
        parts["prompt_attention"] = attended - with_cache
        parts["drafting"] = alone - gpu - parts["launch"] if self._drafter else 0.0
        return parts

    def seconds_array(
        self,
        decode_seqs: ArrayLike,
        context_tokens_sum: ArrayLike,
        prefill_tokens: ArrayLike = 0.0,
        prefill_context_tokens: ArrayLike = 0.0,
    ) -> Seconds:
        """`seconds` over arrays that broadcast together."""
        seqs = np.asarray(decode_seqs, dtype=np.float64)
        prefill = np.asarray(prefill_tokens, dtype=np.float64)
        return (
            self.shared_array(seqs, prefill)
            + self.decode_attention_array(seqs, np.asarray(context_tokens_sum, dtype=np.float64))
            + self.prefill_attention_array(prefill, np.asarray(prefill_context_tokens, dtype=np.float64))
        )

    def shared_array(self, seqs: Seconds, prefill: Seconds) -> Seconds:
        """The terms that depend on token counts but not on contexts."""
        verified = seqs * self._verified
        tokens = verified + prefill
        head_compute = self._head_compute * (verified + (prefill > 0))
        total = self._overhead + self._per_token * tokens + (self._sequence + self._state) * seqs
        total = total + _smax4(self._linear_memory4, self._linear_compute * tokens)
        total += _smax4(self._head_memory**4, head_compute)
        if self._expert_miss_log:
            if math.isinf(self._expert_miss_log):
                memory = self._expert_memory * (tokens > 0)
            else:
                memory = -self._expert_memory * np.expm1(self._expert_miss_log * tokens)
            compute = self._expert_compute * tokens
            total += np.cbrt(memory * memory * memory + compute * compute * compute)
        total *= total
        total = _smax4(self._eager8 * (tokens > self._graph_tokens), total)
        np.sqrt(total, out=total)
        if self._drafter:
            total = total + self._draft_share * self._drafter.shared_array(seqs, np.zeros(())) * (seqs > 0)
        return np.asarray(total)

    def decode_attention_array(self, seqs: Seconds, context_tokens_sum: Seconds) -> Seconds:
        """Reading the KV cache of the decoding sequences."""
        total = self._full * context_tokens_sum
        for window, read, _ in self._windows:
            total = total + read * np.minimum(context_tokens_sum, seqs * window)
        total = total * (1.0 + self._draft_share)
        return np.asarray(total)

    def prefill_attention_array(self, prefill: Seconds, context_tokens: Seconds) -> Seconds:
        """Attention of prompt tokens to `context_tokens` tokens each."""
        total = self._attention * prefill * context_tokens
        for window, _, attention in self._windows:
            total = total + attention * prefill * np.minimum(context_tokens, window)
        return np.asarray(total)

    def prompt_attention_array(self, cached: Seconds, new: Seconds) -> Seconds:
        """Attention of whole prompts: `new` tokens that follow `cached` ones, whatever the chunks."""
        total = self._attention * new * (cached + new / 2)
        for window, _, attention in self._windows:
            total = total + attention * (_window_area(cached + new, window) - _window_area(cached, window))
        return np.asarray(total)


def _stacked(values: Sequence[Any]) -> Any:
    """One constant of several replicas: itself where all agree, else an array of shape (replicas, 1, 1)."""
    first = values[0]
    if isinstance(first, StepModel):
        return StepModel.stacked(values)
    if isinstance(first, tuple):
        return tuple(_stacked(column) for column in zip(*values, strict=True))
    return first if all(value == first for value in values) else np.array(values)[:, None, None]


def efficiency_of(gpu: GpuSpec, weights: NumberFormat) -> Efficiency:
    """Efficiency for a weight format; a format the GPU entry does not list behaves like bf16."""
    return gpu.efficiency.get(weights, gpu.efficiency[NumberFormat.BF16])


def _attention_widths(model: ModelSpec) -> tuple[float, dict[float, float]]:
    """H (d_q + d_v) summed over layers: of those that attend to everything, and of others by the tokens they see."""
    everything = 0.0
    windows: dict[float, float] = {}
    for group in attention_groups(model):
        window = model.sliding_window_tokens if group.kind is AttentionKind.SLIDING else group.selected_tokens
        everything += group.layers * group.index_width
        if window is None:
            everything += group.layers * group.width
        else:
            windows[float(window)] = windows.get(float(window), 0.0) + group.layers * group.width
    return everything, windows


def _windows(
    reads: Mapping[float, float], widths: Mapping[float, float], kv_rate: float, attention: float
) -> tuple[tuple[float, float, float], ...]:
    """For each window (or selection): its tokens, seconds to read one of them, seconds for a prompt token and one."""
    return tuple((window, reads[window] / kv_rate, attention * widths[window]) for window in sorted(reads))


def _link(gpu: GpuSpec, tensor_parallel: int) -> Link:
    """The all-reduce of this group size, else of the nearest size that is known."""
    if not gpu.links:
        return DEFAULT_LINK
    return gpu.links[min(gpu.links, key=lambda size: (abs(size - tensor_parallel), -size))]


def _window_area(tokens: Seconds, window: float) -> Seconds:
    """Integral of min(s, window) from 0 to `tokens`."""
    inside = np.minimum(tokens, window)
    return np.asarray(inside * inside / 2 + (tokens - inside) * window)


def _smax4(first4: Any, second: Seconds) -> Seconds:
    """(first^4 + second^4)^(1/4) of `first4` = first^4; in place of `second`, for there are many steps."""
    found = np.asarray(second)
    found *= found
    found *= found
    found += first4
    np.sqrt(found, out=found)
    return np.sqrt(found, out=found)
