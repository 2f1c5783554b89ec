"""Formulas of the sources that size replicas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inferencefleet.domain.capacity import ReplicaShape, Scales, Speculation
from inferencefleet.domain.hardware import Link
from inferencefleet.physics.cold_start import cold_start_s
from inferencefleet.physics.prefill import extension_s
from inferencefleet.physics.quick import (
    batch_one_tokens_per_s,
    model_flops_utilisation,
    nominal_weights_bytes,
    quick_fit,
    roofline_s,
)
from inferencefleet.physics.seed_sizing import sizing_chain
from inferencefleet.physics.speculation import tokens_per_step
from inferencefleet.physics.step import StepModel
from inferencefleet.physics.weights import parameters
from tests.seeds.examples_s3 import kv_8b_bytes
from tests.seeds.record import Figure, Record, Verdict
from tests.seeds.shapes import BF16, INT8, LLAMA_8B, LLAMA_70B, TOKENS_PER_WORD, fixed, s2_question, seed_step, shape

OK, ERR, PHYS, AMB = Verdict.OK, Verdict.ERR, Verdict.PHYS, Verdict.AMB

BATCH_B14 = 128
PCIE4_QUOTED_BYTES_PER_S = 64e9
"""S3's figure for PCIe Gen4: both directions of 16 lanes added."""
OUTPUTS_B24 = (50, 150, 200, 500)


def ring_s() -> float:
    """S3's formula: one all-reduce of 128 tokens of a 70B in bf16 over four GPUs on PCIe Gen4."""
    size = BATCH_B14 * shape(LLAMA_70B, "L40S", 4).model.hidden * 2
    return 2 * (3 / 4) * size / PCIE4_QUOTED_BYTES_PER_S


def communication_s() -> float:
    """What the step model spends on all-reduces in that decode step on L40S: the difference to links without cost."""
    there = shape(LLAMA_70B, "L40S", 4)
    free = replace(there, gpu=replace(there.gpu, links={4: Link(latency_s=0.0, bandwidth_bytes_per_s=1e30)}))
    return _decode_s(there, BATCH_B14) - _decode_s(free, BATCH_B14)


def _decode_s(where: ReplicaShape, seqs: float) -> float:
    return StepModel(where).seconds(seqs, seqs * 1000.0)


def with_twice_the_bandwidth(where: ReplicaShape) -> ReplicaShape:
    return replace(where, gpu=replace(where.gpu, bandwidth_bytes_per_s=2 * where.gpu.bandwidth_bytes_per_s))


def decode_gain() -> float:
    there = shape(LLAMA_8B, "H100-SXM")
    return _decode_s(there, 1) / _decode_s(with_twice_the_bandwidth(there), 1)


def prefill_gain() -> float:
    there = shape(LLAMA_8B, "H100-SXM")
    both = [StepModel(where).seconds(0, 0, 8192, 4096) for where in (there, with_twice_the_bandwidth(there))]
    return both[0] / both[1]


def mfu(tflops: float) -> float:
    """MFU of an A100 that does so many TFLOPS, from the tokens/s that they are for an 8B."""
    there = shape(LLAMA_8B, "A100-SXM")
    return 100 * model_flops_utilisation(there, tflops * 1e12 / (2 * parameters(there.model).active))


def prefix_gain() -> float:
    """How much of the prefill of 6,000 tokens the cache saves when 4,000 are shared."""
    step = StepModel(shape(LLAMA_8B, "H100-SXM"), Scales())
    whole, rest = (float(extension_s(step, 1.0, 6000.0, hit, 8191.0)) for hit in (0.0, 2 / 3))
    return 100 * (1 - rest / whole)


RECORDS: tuple[Record, ...] = (
    Record(
        id="B3",
        source="S1",
        what="Fits when parameters x bytes x 1.2 <= VRAM",
        verdict=(OK,),
        reason="A rule of thumb, kept as `quick_fit` under that name. `memory_budget` and `missing_bytes` decide.",
        figures=(
            Figure(
                name="8B in fp16 needs",
                unit="GB",
                quoted=19.2,
                right=19.2,
                compute=lambda: quick_fit(nominal_weights_bytes(8e9, BF16), 24e9).needed_bytes / 1e9,
            ),
        ),
    ),
    Record(
        id="B4",
        source="S1",
        what="tok/s of one request = bandwidth / (parameters x 2)",
        verdict=(OK, PHYS),
        reason=(
            "The batch-1 roofline at 100 % of the bandwidth, for 16-bit weights only. The product's counts the "
            "bytes of the format, and those that a step reads: no input table, the head in bf16."
        ),
        figures=(
            Figure(
                name="8B on A100",
                unit="tok/s",
                quoted=125,
                right=125,
                compute=lambda: 1 / roofline_s(nominal_weights_bytes(8e9, BF16), 2e12),
            ),
            Figure(
                name="Llama-3.1-8B in int8 on A100, bound of the product",
                unit="tok/s",
                quoted=125,
                right=254,
                within=0.01,
                compute=lambda: batch_one_tokens_per_s(shape(LLAMA_8B, "A100-SXM", 1, INT8)),
            ),
        ),
    ),
    Record(
        id="B9",
        source="S2, S3",
        what="KV cache of a request = 2 L H_kv d_head T b",
        verdict=(OK,),
        reason=(
            "Grouped-query attention with full context in all layers. The product also knows sliding windows, "
            "latent attention, constant states, and copies under tensor parallelism."
        ),
        figures=(
            Figure(
                name="8B, 8,000 tokens",
                unit="bytes",
                quoted=1.05e9,
                right=1.048576e9,
                compute=lambda: seed_step("KV cache per request"),
            ),
        ),
    ),
    Record(
        id="B10",
        source="S2",
        what="N_concurrent = floor((M_gpu - M_weights) / KV_req)",
        verdict=(OK,),
        reason="Without the engine's reserve, activations and graphs: the product leaves them out of the room first.",
        figures=(Figure(name="8B on 80 GB", unit="requests", right=61, compute=lambda: seed_step("concurrency")),),
    ),
    Record(
        id="B11",
        source="S2",
        what="lambda_gpu = B / (G t_step)",
        verdict=(PHYS,),
        reason="Little's law without prefill. The product adds what prompts take from the same steps: see D6.",
        figures=(
            Figure(
                name="requests/s of one H100 in D6",
                unit="requests/s",
                quoted=10.4,
                right=3.05,
                within=0.15,
                compute=lambda: sizing_chain(s2_question()).requests_per_s,
            ),
        ),
    ),
    Record(
        id="B12",
        source="S2",
        what="N_gpu = ceil(QPS / (u lambda_gpu)), u = 0.7",
        verdict=(OK,),
        reason="The operator divides by the uncertainty of the capacity as well.",
        figures=(Figure(name="GPUs", quoted=7, right=7, compute=lambda: seed_step("replicas")),),
    ),
    Record(
        id="B13",
        source="S2",
        what="eff_batch = min(batch, N_concurrent)",
        verdict=(OK,),
        reason="In code only.",
        figures=(Figure(name="min(48, 61)", right=48, compute=lambda: seed_step("batch")),),
    ),
    Record(
        id="B14",
        source="S3",
        what="Comm_Time = 2 (N-1)/N x activation size / interconnect bandwidth",
        verdict=(PHYS,),
        reason="The bandwidth part of one ring all-reduce. A step has two for each layer (160 in a 70B), each with a "
        "latency of microseconds that decides at small batches, and over PCIe without peer access a ring reaches a "
        "tenth of the nominal bandwidth.",
        figures=(
            Figure(
                name="70B on 4 L40S over PCIe, a decode step of 128",
                unit="ms",
                quoted=0.0492,
                right=100,
                within=0.5,
                compute=lambda: 1e3 * communication_s(),
                cause=lambda: 1e3 * ring_s(),
                because="one call at 64 GB/s, without latency",
            ),
        ),
    ),
    Record(
        id="B15",
        source="S1, S2, S3, S4",
        what="Decode is bound by bandwidth, prefill by compute",
        verdict=(OK,),
        reason=(
            "Twice the bandwidth makes the decode step of one request 1.5 times as fast (the rest is launches) "
            "and a prefill step of 8,192 tokens not at all. At large batches decode is bound by compute as "
            "well."
        ),
        figures=(
            Figure(name="decode, batch 1, 8B on H100", unit="x", right=1.5, within=0.2, compute=decode_gain),
            Figure(name="prefill of 8,192 tokens", unit="x", right=1.0, within=0.02, compute=prefill_gain),
        ),
    ),
    Record(
        id="B16",
        source="S3",
        what="Load time = weight bytes / storage bandwidth",
        verdict=(OK,),
        reason="One term of the product's cold start, beside node, image and engine start; its example is D9b.",
        figures=(
            Figure(
                name="8B in bf16 at 1 GB/s",
                unit="s",
                right=16.06,
                compute=lambda: cold_start_s(
                    shape(LLAMA_8B, "L40S"),
                    image_cached=True,
                    engine_start_s=0,
                    load_start_s=0,
                    storage_bytes_per_s=1e9,
                ),
            ),
        ),
    ),
    Record(
        id="B18",
        source="S4",
        what="MFU = achieved FLOP/s / peak FLOP/s",
        verdict=(OK,),
        reason="As a metric. As a target of 65-80 % for serving it is unreachable while decoding: see the rules.",
        figures=(
            Figure(name="50 of 312 TFLOPS", unit="%", quoted=16, right=16.03, compute=lambda: mfu(50)),
            Figure(name="200 of 312 TFLOPS", unit="%", quoted=65, right=64.1, rounding=0.015, compute=lambda: mfu(200)),
            Figure(name="250 of 312 TFLOPS", unit="%", quoted=80, right=80.1, compute=lambda: mfu(250)),
        ),
    ),
    Record(
        id="B19",
        source="S4",
        what="Speculative decoding: (1 - a^(k+1)) / (1 - a) tokens a step, minus the draft (formula lost, rebuilt)",
        verdict=(AMB,),
        reason='What remains is "2-3x is typical"; the tokens a step are an upper bound of that.',
        figures=(
            Figure(
                name="k = 5, a = 0.8",
                unit="tokens/step",
                right=3.689,
                compute=lambda: tokens_per_step(Speculation(draft_tokens=5, acceptance=0.8)),
            ),
            Figure(
                name="k = 5, a = 0.7",
                unit="tokens/step",
                right=2.941,
                quoted=3,
                relation="2 to",
                holds=lambda value: 2 <= value <= 3,
                compute=lambda: tokens_per_step(Speculation(draft_tokens=5, acceptance=0.7)),
            ),
        ),
    ),
    Record(
        id="B20",
        source="S4",
        what="KV cache = 2 x layers x heads x head_dim x length x bits / 8, heads = attention heads (rebuilt)",
        verdict=(ERR,),
        reason="Grouped-query models cache KV heads; for Llama-3-8B the formula is 4 times too big.",
        figures=(
            Figure(
                name="Llama-3-8B, 4,096 tokens",
                unit="GB",
                quoted=2.147,
                right=0.537,
                compute=lambda: kv_8b_bytes(False) / 1e9,
                cause=lambda: kv_8b_bytes(True) / 1e9,
                because="32 heads instead of 8",
            ),
        ),
    ),
    Record(
        id="B21",
        source="S4",
        what="A prefix cache cuts TTFT by shared / total length",
        verdict=(OK,),
        reason="To first order: what the cache lacks still attends to what it has, and every step reads the weights.",
        figures=(
            Figure(
                name="4,000 of 6,000 tokens shared",
                unit="%",
                quoted=66.7,
                right=66,
                within=0.1,
                rounding=0.1,
                compute=prefix_gain,
            ),
        ),
    ),
    Record(
        id="B23",
        source="S4",
        what="Decode ms/token = weight bytes / bandwidth",
        verdict=(OK,),
        reason="B4 turned over; see D13.",
        figures=(
            Figure(
                name="70B in fp16 on 2 TB/s",
                unit="ms",
                right=70,
                compute=lambda: 1e3 * roofline_s(nominal_weights_bytes(70e9, BF16), 2e12),
            ),
        ),
    ),
    Record(
        id="B24",
        source="S4",
        what="Static batching uses mean length / longest length of its slots (rebuilt)",
        verdict=(OK,),
        reason="No formula of the product: vLLM never batches so.",
        figures=(
            Figure(
                name="50, 150, 200, 500 tokens",
                unit="%",
                right=45,
                compute=lambda: (
                    100 * float(np.mean([fixed(1, o).mean_output_tokens for o in OUTPUTS_B24])) / max(OUTPUTS_B24)
                ),
            ),
        ),
    ),
    Record(
        id="B25",
        source="S3",
        what="A token is 0.75 words or 4 characters of English",
        verdict=(OK,),
        reason="For estimates before there is traffic; the operator reads token counts from the engine.",
        figures=(
            Figure(
                name="10,000 words",
                unit="tokens",
                quoted=13_300,
                right=13_333,
                compute=lambda: 10_000 * TOKENS_PER_WORD,
            ),
        ),
    ),
)
