"""First-order figures that need no step model: rules of thumb and hard bounds, labelled as what they are.

The bounds here use datasheet peaks, so no engine beats them; `physics.step` says what an engine reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.weights import BYTES_PER_WEIGHT, parameters, weights_bytes

QUICK_FIT_FACTOR = 1.2
"""Weights plus 20 % for everything else: a common rule of thumb, not what an engine allocates."""
NOMINAL_BYTES_PER_WEIGHT = {
    NumberFormat.BF16: 2.0,
    NumberFormat.FP8: 1.0,
    NumberFormat.INT8: 1.0,
    NumberFormat.INT4: 0.5,
    NumberFormat.NVFP4: 0.5,
    NumberFormat.MXFP4: 0.5,
}
"""Bits divided by 8, without the block scales that `BYTES_PER_WEIGHT` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickFit:
    """Answer of the 1.2 rule. It knows nothing of contexts: `physics.memory` gives the verdict that counts."""

    needed_bytes: float
    memory_bytes: float

    @property
    def fits(self) -> bool:
        return self.needed_bytes <= self.memory_bytes

    def __str__(self) -> str:
        verdict = "fits" if self.fits else "does not fit"
        return (
            f"rule of thumb: weights x {QUICK_FIT_FACTOR} = {self.needed_bytes / 1e9:.1f} GB "
            f"{verdict} in {self.memory_bytes / 1e9:.1f} GB"
        )


def nominal_weights_bytes(parameter_count: float, weights: NumberFormat) -> float:
    """Bytes of a model known by its nominal size only ("8B"): parameters x bits / 8."""
    return parameter_count * NOMINAL_BYTES_PER_WEIGHT[weights]


def quick_fit(weight_bytes: float, memory_bytes: float) -> QuickFit:
    """The 1.2 rule for these weights in this memory, both in bytes."""
    return QuickFit(needed_bytes=weight_bytes * QUICK_FIT_FACTOR, memory_bytes=memory_bytes)


def concurrency_ceiling(free_bytes: float, bytes_per_request: float) -> int:
    """Whole requests whose KV cache fits in what the weights leave; 0 when they leave nothing.

    `bytes_per_request` is above 0. Contexts are taken as full from the first token on.
    """
    return max(0, floor(free_bytes / bytes_per_request))


def whole_replicas(needed: float) -> int:
    """Replicas that cover a need of so many: nobody can rent half of one, and a rounding error must not cost one."""
    return ceil(needed - 1e-9)


def least_weights_read_bytes(model: ModelSpec, weights: NumberFormat, tokens: float = 1.0) -> float:
    """Bytes of weights that a step with so many tokens reads on average, at least one token.

    All weights without the input table (one row a token) and, in a mixture of experts, without the experts that no
    token chooses: (1 - k/E)^tokens of them (sizing physics 1.3).
    """
    count = parameters(model)
    idle = count.embedding * BYTES_PER_WEIGHT[NumberFormat.BF16]
    if model.moe:
        # Published expert checkpoints may be padded; the padding of idle experts is not worth a special case.
        missed = (1 - model.moe.experts_per_token / model.moe.experts) ** tokens
        idle += count.experts * missed * BYTES_PER_WEIGHT[weights]
    return weights_bytes(model, weights) - idle


def decode_floor_s(shape: ReplicaShape, seqs: float = 1.0, context_tokens: float = 0.0) -> float:
    """Seconds below which no decode step of `seqs` sequences with this context can be: bytes read / peak bandwidth.

    This is the roofline at 100 % of the datasheet bandwidth. It leaves out arithmetic, launches and all-reduces.
    """
    read = least_weights_read_bytes(shape.model, shape.weights) + seqs * float(sequence_bytes(shape, context_tokens))
    return roofline_s(read, peak_bytes_per_s(shape))


def batch_one_tokens_per_s(shape: ReplicaShape, context_tokens: float = 0.0) -> float:
    """Upper bound of the tokens/s of one request alone, in the shape's own weight format."""
    return 1.0 / decode_floor_s(shape, 1.0, context_tokens)


def roofline_s(read_bytes: float, bandwidth_bytes_per_s: float) -> float:
    """Seconds that reading so many bytes takes at this bandwidth."""
    return read_bytes / bandwidth_bytes_per_s


def model_flops_utilisation(shape: ReplicaShape, tokens_per_s: float) -> float:
    """MFU at a rate of processed tokens (prompt or output), 0..1 of the dense peak: 2 FLOP per active parameter.

    Attention to the context is not counted, as is usual for MFU. Decoding reads memory most of the time: 0.05 to 0.3
    is normal there and no sign of waste; only prefill comes near the peak.
    """
    return 2.0 * parameters(shape.model).active * tokens_per_s / peak_flop_per_s(shape)


def peak_flop_per_s(shape: ReplicaShape) -> float:
    """Dense datasheet FLOP/s of a replica's GPUs together, in its weight format or bf16 without tensor cores for it."""
    return shape.tensor_parallel * shape.gpu.peak_flop_per_s(shape.weights)


def peak_bytes_per_s(shape: ReplicaShape) -> float:
    """Datasheet memory bandwidth of a replica's GPUs together."""
    return shape.tensor_parallel * shape.gpu.bandwidth_bytes_per_s
