"""Where a replica stands under its roofline: arithmetic intensity against FLOP/s, decoding and prefilling. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.kv import sequence_bytes
from inferencefleet.physics.operating import most_seqs
from inferencefleet.physics.quick import least_weights_read_bytes, peak_bytes_per_s, peak_flop_per_s
from inferencefleet.physics.residence import resident_context_tokens
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.weights import parameters

BATCHES = (1, 4, 16, 64, 256)
CHUNKS = (128, 512, 2048, 8192)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One kind of step."""

    label: str
    kind: str
    """`decode` or `prefill`."""
    intensity_flop_per_byte: float
    """2 FLOP for each active parameter and token, over the bytes of weights and KV cache that are read."""
    flop_per_s: float
    """Of the whole replica, by the modelled time of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """Datasheet roof of a replica's GPUs together, and its steps below it."""

    bandwidth_bytes_per_s: float
    peak_flop_per_s: float
    """In the weight format, or bf16 where there are no tensor cores for it."""
    points: tuple[Point, ...]

    @property
    def ridge_flop_per_byte(self) -> float:
        """Left of it memory limits, right of it compute does."""
        return self.peak_flop_per_s / self.bandwidth_bytes_per_s


def roofline(shape: ReplicaShape, lengths: LengthMix, scales: Scales) -> Roofline:
    """Decode at the batches that the KV cache holds, and prompts in chunks that one step may carry."""
    step = StepModel(shape, scales)
    active = parameters(shape.model).active
    context = resident_context_tokens(lengths)[0]
    held = float(sequence_bytes(shape, context))
    most = most_seqs(shape, lengths)

    def point(kind: str, tokens: int, cache_bytes: float, seconds: float) -> Point:
        flop = 2 * active * tokens
        read = least_weights_read_bytes(shape.model, shape.weights, tokens) + cache_bytes
        return Point(label=f"{tokens}", kind=kind, intensity_flop_per_byte=flop / read, flop_per_s=flop / seconds)

    points = [
        point("decode", batch, batch * held, step.seconds(batch, batch * context)) for batch in BATCHES if batch <= most
    ] + [
        point("prefill", chunk, 0.0, step.seconds(0, 0, chunk, chunk / 2))
        for chunk in CHUNKS
        if chunk <= shape.limits.max_num_batched_tokens
    ]
    return Roofline(
        bandwidth_bytes_per_s=peak_bytes_per_s(shape),
        peak_flop_per_s=peak_flop_per_s(shape),
        points=tuple(points),
    )
