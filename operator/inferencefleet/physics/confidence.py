"""How far a modelled replica can be trusted before it is measured, and why not further."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from inferencefleet.domain.capacity import Confidence, Limit, ReplicaCapacity, ReplicaShape
from inferencefleet.domain.hardware import DataConfidence, NumberFormat
from inferencefleet.domain.model import AttentionKind, attention_groups
from inferencefleet.physics.speculation import warnings

DENSE_SIGMA_LOG = 0.10
MOE_SIGMA_LOG = 0.11
"""Standard deviations of log(measured / modelled) ITL before calibration: those of the deployments in
benchmarks/accuracy that no constant was fitted to (.10), and a little for kinds that are not among them."""
LOW_SIGMA_LOG = 0.35
"""Between the mixture-of-experts prior and the worst family measured, int4 experts that were 36 % off (log .45)."""
SATURATED = 0.8
"""Of what memory and slots hold: above it modelled tails of TTFT leave those of the engine in `benchmarks.tails`,
mostly downwards."""

Doubt = tuple[Confidence, str]
_FORMATS_MEASURED_WEIGHT_ONLY = frozenset({NumberFormat.MXFP4})
"""gpt-oss runs so on H100 and H200: ITL of vLLM at most 6 % off in the median (benchmarks/results/accuracy.md)."""
_ATTENTION_MEASURED = frozenset({AttentionKind.FULL, AttentionKind.SLIDING})
_TAILS = frozenset({Limit.TTFT, Limit.E2E})


def prior_sigma_log(shape: ReplicaShape) -> float:
    """Standard deviation of log(measured / modelled latency) of a replica that was never measured: the one rule.

    .10 for dense models, .11 for mixtures of experts, .35 where confidence is low. Planning
    and calibration start from it: `Scales(sigma_log=prior_sigma_log(shape))`, and an interval's prior is this value.
    """
    if any(confidence is Confidence.LOW for confidence, _ in doubts(shape)):
        return LOW_SIGMA_LOG
    return MOE_SIGMA_LOG if shape.model.moe else DENSE_SIGMA_LOG


def doubts(shape: ReplicaShape) -> Iterator[Doubt]:
    """What limits confidence in any figure about this replica, whatever its load: a level and a sentence each."""
    model, gpu, tp = shape.model, shape.gpu, shape.tensor_parallel
    if shape.speculation is not None:
        yield (
            Confidence.LOW,
            f"Speculative decoding is assumed to have {shape.speculation.acceptance:.0%} of drafts accepted; in the "
            "one public comparison under load (EAGLE-3, Llama-3.1-8B on H100) 1 in 8 was, and capacity fell from 106 "
            "to 73 requests/s.",
        )
    if gpu.confidence is DataConfidence.BORROWED:
        yield Confidence.LOW, f"The kernel efficiencies of {gpu.name} are those of a related GPU."
    if gpu.confidence is DataConfidence.DATASHEET:
        yield Confidence.LOW, f"Of {gpu.name} only the datasheet is known; what kernels reach of its peaks is a guess."
    if not gpu.computes_in(shape.weights) and shape.weights not in _FORMATS_MEASURED_WEIGHT_ONLY:
        yield (
            Confidence.LOW,
            f"{gpu.name} has no tensor cores for {shape.weights}: weights are unpacked to bf16 for each product, and "
            "the speed of these kernels differs widely.",
        )
    if tp > 1 and not gpu.nvlink:
        yield (
            Confidence.LOW,
            f"{tp} x {gpu.name} talk over PCIe: all-reduce takes a large part of each step and depends on the server's "
            "topology.",
        )
    elif tp > 1 and not gpu.links:
        yield Confidence.LOW, f"The links of {gpu.name} are unknown: the all-reduce of {tp} GPUs is a guess."
    unmeasured = sorted(set(model.attention) - _ATTENTION_MEASURED)
    if unmeasured:
        yield (
            Confidence.LOW,
            f"{model.id} has {' and '.join(unmeasured)} attention, whose kernels were not among the measurements.",
        )
    if any(group.selected_tokens for group in attention_groups(model)):
        yield (
            Confidence.LOW,
            f"{model.id} reads a selection of its context ({model.attention_style}); the kernels of such attention "
            "were not among the measurements.",
        )
    if model.moe:
        yield (
            Confidence.MEDIUM,
            f"{model.id} is a mixture of experts: which of them a batch reads depends on its prompts, and under vLLM "
            "only gpt-oss-120b was compared with measured runs.",
        )


def judged(shape: ReplicaShape, capacity: ReplicaCapacity) -> ReplicaCapacity:
    """The capacity with its confidence and caveats. A refusal by memory is arithmetic: only the load is in doubt."""
    if capacity.binding is Limit.MODEL_TOO_LARGE:
        return capacity
    found = [*doubts(shape), *_doubts_of_the_load(shape, capacity)]
    order = list(Confidence)
    found.sort(key=lambda doubt: -order.index(doubt[0]))
    return replace(
        capacity,
        confidence=found[0][0] if found else Confidence.HIGH,
        caveats=tuple(sentence for _, sentence in found),
    )


def _doubts_of_the_load(shape: ReplicaShape, capacity: ReplicaCapacity) -> Iterator[Doubt]:
    if shape.speculation is not None:
        for warning in warnings(shape.speculation, capacity.concurrency):
            yield Confidence.LOW, warning
    if not capacity.serves:
        return
    held = min(capacity.limits_requests_per_s.get(limit, float("inf")) for limit in (Limit.KV_MEMORY, Limit.MAX_SEQS))
    share = capacity.requests_per_s / held
    if share > SATURATED:
        # What memory holds is arithmetic; the tail of a queue near saturation is not.
        yield (
            Confidence.LOW if capacity.binding in _TAILS else Confidence.MEDIUM,
            f"At this rate the replica is at {share:.0%} of what its memory and slots hold; above {SATURATED:.0%} "
            "modelled tails of TTFT are mostly too short, so plan with headroom.",
        )
