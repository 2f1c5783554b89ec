"""What is promised about a figure that nobody measured yet, and why not more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferencefleet.domain.capacity import Confidence, Limit, ReplicaShape, Speculation
from inferencefleet.domain.hardware import DataConfidence
from inferencefleet.domain.model import AttentionKind
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.physics.confidence import doubts, judged, prior_sigma_log
from tests.unit.physics.shapes import CHAT_SLOS, chat, shape, slo

DENSE = shape()
MOE = shape("Qwen/Qwen3-30B-A3B", tensor_parallel=1)


def with_gpu(confidence: DataConfidence) -> ReplicaShape:
    return replace(DENSE, gpu=replace(DENSE.gpu, confidence=confidence))


def with_linear_attention() -> ReplicaShape:
    kinds = (AttentionKind.LINEAR, *[AttentionKind.FULL] * (DENSE.model.layers - 1))
    return replace(DENSE, model=replace(DENSE.model, attention=kinds))


def test_a_dense_model_on_a_measured_gpu_is_high() -> None:
    found = replica_capacity(DENSE, chat(), CHAT_SLOS)
    assert (found.confidence, found.caveats) == (Confidence.HIGH, ())
    assert prior_sigma_log(DENSE) == 0.10


def test_a_mixture_of_experts_is_medium_until_calibrated() -> None:
    found = replica_capacity(MOE, chat(), CHAT_SLOS)
    assert found.confidence is Confidence.MEDIUM
    assert "mixture of experts" in found.caveats[0]
    assert prior_sigma_log(MOE) == 0.11


@pytest.mark.parametrize(
    ("replica", "reason"),
    [
        (
            replace(DENSE, speculation=Speculation(draft_tokens=3, acceptance=0.7)),
            "1 in 8 was, and capacity fell from 106 to 73",
        ),
        (with_gpu(DataConfidence.BORROWED), "are those of a related GPU"),
        (with_gpu(DataConfidence.DATASHEET), "only the datasheet is known"),
        (shape("Qwen/Qwen3-8B", "A100-SXM", 1, "fp8"), "no tensor cores for fp8"),
        (shape("Qwen/Qwen3-32B", "H100-SXM", 1, "int4"), "no tensor cores for int4"),
        (shape("Qwen/Qwen3-8B", "L40S", 2), "2 x L40S talk over PCIe"),
        (replace(DENSE, gpu=replace(DENSE.gpu, links={})), "the all-reduce of 2 GPUs is a guess"),
        (with_linear_attention(), "has linear attention"),
    ],
)
def test_what_was_not_measured_is_low_with_its_reason(replica: ReplicaShape, reason: str) -> None:
    found = replica_capacity(replica, chat(), CHAT_SLOS)
    assert found.confidence is Confidence.LOW
    assert any(reason in caveat for caveat in found.caveats)
    assert prior_sigma_log(replica) == 0.35


def test_weight_only_mxfp4_was_measured_and_is_not_low() -> None:
    replica = shape("openai/gpt-oss-120b", "H100-SXM", 2, "mxfp4")
    assert [confidence for confidence, _ in doubts(replica)] == [Confidence.MEDIUM]


def test_the_weightiest_reason_comes_first() -> None:
    found = replica_capacity(replace(MOE, speculation=Speculation(draft_tokens=3, acceptance=0.7)), chat(), CHAT_SLOS)
    assert "Speculative decoding is assumed" in found.caveats[0]
    assert any("mixture of experts" in caveat for caveat in found.caveats[1:])


def test_a_queue_near_saturation_is_low_and_full_memory_is_medium() -> None:
    found = replica_capacity(DENSE, chat(), ())
    assert (found.binding, found.confidence) == (Limit.KV_MEMORY, Confidence.MEDIUM)
    assert "at 100% of what its memory and slots hold" in found.caveats[0]
    queue = replace(found, binding=Limit.TTFT, requests_per_s=0.9 * found.requests_per_s, confidence=Confidence.HIGH)
    assert judged(DENSE, queue).confidence is Confidence.LOW
    assert "at 90% of what its memory and slots hold" in judged(DENSE, queue).caveats[0]


def test_a_refusal_by_memory_is_arithmetic_and_has_no_doubts() -> None:
    found = replica_capacity(shape("Qwen/Qwen3-235B-A22B", "L40S", 2), chat(), CHAT_SLOS)
    assert (found.binding, found.confidence, found.caveats) == (Limit.MODEL_TOO_LARGE, Confidence.HIGH, ())


def test_an_unreachable_slo_keeps_the_doubts_of_its_shape() -> None:
    found = replica_capacity(shape("Qwen/Qwen3-8B", "L40S", 2), chat(), (slo("itl", 95, 1e-4),))
    assert (found.binding, found.confidence) == (Limit.SLO_UNREACHABLE, Confidence.LOW)
