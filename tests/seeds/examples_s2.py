"""Worked examples of S2 (D6 to D8c)."""

from __future__ import annotations

import math

from inferencefleet.catalog import gpu
from inferencefleet.domain.capacity import Scales
from inferencefleet.economics.dollars import (
    ApiPrice,
)
from inferencefleet.physics.memory import GIB, memory_budget
from inferencefleet.physics.prefill import extension_s
from inferencefleet.physics.quick import (
    decode_floor_s,
    model_flops_utilisation,
    roofline_s,
)
from inferencefleet.physics.seed_sizing import sizing_chain
from inferencefleet.physics.step import StepModel
from tests.seeds.record import Figure, Record, Verdict, yes
from tests.seeds.shapes import BF16, LLAMA_8B, LLAMA_70B, physics_step, s2_question, seed_step, shape

OK, ERR, PHYS, AMB = Verdict.OK, Verdict.ERR, Verdict.PHYS, Verdict.AMB

TOKENS_D7 = 10e6 * 2000
TOGETHER = ApiPrice(usd_per_million_prompt_tokens=0.88, usd_per_million_output_tokens=0.88, source="S2, as quoted")


def d7_h100s() -> float:
    """H100s that prefill 20 billion tokens in nine hours at 100 % of the peak."""
    return TOKENS_D7 / (9 * 3600) * model_flops_utilisation(shape(LLAMA_70B, "H100-SXM"), 1.0)


def d8b_ratio() -> float:
    step = StepModel(shape(LLAMA_8B, "H100-SXM"), Scales())
    return float(extension_s(step, 1.0, 200_000.0, 0.0, 8191.0) / extension_s(step, 1.0, 1000.0, 0.0, 8191.0))


RECORDS: tuple[Record, ...] = (
    Record(
        id="D6",
        source="S2",
        what="Sizing chain: 8B, L 32, H_kv 8, d 128, bf16, H100 80 GB, T 8,000, G 256, B 48, 18 ms, 50 QPS, u 0.7",
        verdict=(ERR, PHYS),
        reason=(
            "7 reproduces. On the way 1.05e9 bytes are called 0.98 GB, which is GiB, and divide gigabytes. Two "
            "assumptions break: 18 ms is below the roofline of its own batch, and prefill is left out although "
            'its prompts take more than the whole GPU. `sizing_chain(mode="physics")` gives the replicas that '
            "hold 50 QPS."
        ),
        figures=(
            Figure(
                name="KV cache per request",
                unit="bytes",
                quoted=1.05e9,
                right=1.048576e9,
                compute=lambda: seed_step("KV cache per request"),
            ),
            Figure(
                name="the same",
                unit="GB",
                quoted=0.98,
                right=1.0486,
                compute=lambda: seed_step("KV cache per request") / 1e9,
                cause=lambda: seed_step("KV cache per request") / GIB,
                because="GiB",
            ),
            Figure(
                name="concurrency",
                unit="requests",
                quoted=65,
                right=61,
                compute=lambda: seed_step("concurrency"),
                cause=lambda: math.floor(64 / (seed_step("KV cache per request") / GIB)),
                because="64 GB / 0.98 GiB; 66 when the 80 are GiB as well",
            ),
            Figure(
                name="throughput",
                unit="requests/s",
                quoted=10.4,
                right=10.417,
                compute=lambda: seed_step("throughput"),
            ),
            Figure(
                name="usable throughput",
                unit="requests/s",
                quoted=7.3,
                right=7.292,
                compute=lambda: seed_step("usable throughput"),
            ),
            Figure(name="GPUs, unrounded", quoted=6.85, right=6.857, compute=lambda: seed_step("demand / usable")),
            Figure(name="GPUs, mode=seed", quoted=7, right=7, compute=lambda: seed_step("replicas")),
            Figure(
                name="decode step, roofline by its own figures",
                unit="ms",
                quoted=18,
                right=19.8,
                compute=lambda: 1e3 * roofline_s(16e9 + 48 * seed_step("KV cache per request"), 3.35e12),
            ),
            Figure(
                name="decode step, lower bound of the product",
                unit="ms",
                quoted=18,
                right=19.3,
                within=0.01,
                compute=lambda: 1e3 * decode_floor_s(shape(LLAMA_8B, "H100-SXM"), 48, 7744 + 128),
            ),
            Figure(
                name="decode step, modelled at 48 sequences",
                unit="ms",
                quoted=18,
                right=25,
                within=0.3,
                compute=lambda: 1e3 * StepModel(shape(LLAMA_8B, "H100-SXM")).seconds(48, 48 * 7872),
            ),
            Figure(
                name="prefill of one prompt",
                unit="s",
                quoted=0,
                right=0.17,
                within=0.2,
                compute=lambda: physics_step("prefill"),
            ),
            Figure(
                name="prefill at 7.29 requests/s",
                unit="GPU-s per s",
                quoted=0,
                right=1.26,
                within=0.2,
                compute=lambda: seed_step("usable throughput") * physics_step("prefill"),
            ),
            Figure(
                name="capacity of one H100",
                unit="requests/s",
                quoted=10.4,
                right=3.05,
                within=0.15,
                compute=lambda: sizing_chain(s2_question()).requests_per_s,
            ),
            Figure(
                name="GPUs, mode=physics",
                quoted=7,
                right=24,
                within=0.15,
                compute=lambda: float(sizing_chain(s2_question()).replicas or 0),
            ),
        ),
    ),
    Record(
        id="D6b",
        source="S2",
        what="The code of D6, `gpus_needed(...)`",
        verdict=(OK,),
        reason="The code divides GB by GB; only the text mixes units.",
        figures=(
            Figure(
                name="GPUs", quoted=7, right=7, compute=lambda: float(sizing_chain(s2_question(), "seed").gpus or 0)
            ),
            Figure(name="n_concurrent", right=61, compute=lambda: seed_step("concurrency")),
            Figure(name="eff_batch", right=48, compute=lambda: seed_step("batch")),
        ),
    ),
    Record(
        id="D7",
        source="S2",
        what="10M documents of 2,000 tokens through Llama-3-70B: $4,800 online at $0.88/M, $2,400 batch, 9 hours",
        verdict=(ERR,),
        reason=(
            "20 billion tokens at $0.88 per million are $17,600. Nine hours are 617,000 tokens/s, at least 87 "
            "H100s that do nothing but multiply at their peak."
        ),
        figures=(
            Figure(
                name="online",
                unit="$",
                quoted=4800,
                right=17_600,
                compute=lambda: TOGETHER.usd_per_request(TOKENS_D7, 0),
                cause=lambda: ApiPrice(
                    usd_per_million_prompt_tokens=0.24, usd_per_million_output_tokens=0.24
                ).usd_per_request(TOKENS_D7, 0),
                because="$0.24/M",
            ),
            Figure(
                name="batch, half price",
                unit="$",
                quoted=2400,
                right=8800,
                compute=lambda: TOGETHER.usd_per_request(TOKENS_D7, 0) / 2,
                cause=lambda: 0.5 * 4800,
                because="half of the wrong price",
            ),
            Figure(name="spread of its own figures", unit="x", quoted=12, right=12, compute=lambda: 4800 / 400),
            Figure(name="speed of nine hours", unit="tok/s", right=617_284, compute=lambda: TOKENS_D7 / (9 * 3600)),
            Figure(name="H100s for it at 100 % MFU", unit="GPUs", right=87, within=0.02, compute=d7_h100s),
        ),
    ),
    Record(
        id="D8",
        source="S2",
        what="H100 over A100: 2.5 x the FLOPs, 1.6 x the bandwidth",
        verdict=(ERR,),
        reason="Dense bf16: 989 over 312 TFLOPS. The bandwidth ratio is right.",
        figures=(
            Figure(
                name="FLOPs",
                unit="x",
                quoted=2.5,
                right=3.17,
                compute=lambda: gpu("H100-SXM").peak_flops[BF16] / gpu("A100-SXM").peak_flops[BF16],
            ),
            Figure(
                name="bandwidth",
                unit="x",
                quoted=1.6,
                right=1.643,
                rounding=0.05 / 1.643,
                compute=lambda: gpu("H100-SXM").bandwidth_bytes_per_s / gpu("A100-SXM").bandwidth_bytes_per_s,
            ),
        ),
    ),
    Record(
        id="D8b",
        source="S2",
        what="A 200K-token query costs 200 times a 1K query",
        verdict=(OK,),
        reason="Right as a lower bound: attention grows with the square, and 200K tokens of an 8B model cost far more.",
        figures=(
            Figure(
                name="prefill of 200,000 over 1,000 tokens, 8B on H100",
                unit="x",
                quoted=200,
                right=1580,
                within=0.25,
                relation="at least",
                holds=lambda value: value >= 200,
                compute=d8b_ratio,
            ),
        ),
    ),
    Record(
        id="D8c",
        source="S2",
        what="70B in fp16 takes 140 GB and does not fit one H100",
        verdict=(OK,),
        reason="141 GB exactly counted.",
        figures=(
            Figure(
                name="weights",
                unit="GB",
                quoted=140,
                right=141.1,
                rounding=0.01,
                compute=lambda: memory_budget(shape(LLAMA_70B, "H100-SXM")).weights_bytes / 1e9,
            ),
            Figure(
                name="fits",
                quoted="no",
                right="no",
                compute=lambda: yes(memory_budget(shape(LLAMA_70B, "H100-SXM")).fits),
            ),
        ),
    ),
)
