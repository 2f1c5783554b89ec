"""Worked examples of S3, and the first of S4 (D9 to D14)."""

from __future__ import annotations

import math

from inferencefleet.catalog import gpu
from inferencefleet.economics.dollars import (
    blended_usd_per_million_tokens,
    discounted,
    usd_per_million_tokens,
)
from inferencefleet.physics.cold_start import cold_start_s
from inferencefleet.physics.kv import bytes_per_token, sequence_bytes
from inferencefleet.physics.memory import GIB, memory_budget
from inferencefleet.physics.quick import (
    batch_one_tokens_per_s,
    concurrency_ceiling,
    decode_floor_s,
    nominal_weights_bytes,
    roofline_s,
)
from tests.seeds.record import Figure, Record, Verdict
from tests.seeds.shapes import BF16, FP8, INT4, LLAMA_8B, LLAMA_70B, shape, with_all_heads_cached

OK, ERR, PHYS, AMB = Verdict.OK, Verdict.ERR, Verdict.PHYS, Verdict.AMB

NO_LOADER = math.inf


def load_s(bytes_per_s: float) -> float:
    """Reading the weights of a 70B in fp16, and nothing else of a cold start."""
    return cold_start_s(
        shape(LLAMA_70B, "A100-SXM", 2),
        image_cached=True,
        engine_start_s=0,
        load_start_s=0,
        storage_bytes_per_s=bytes_per_s,
        loader_bytes_per_s=NO_LOADER,
    )


def kv_8b_bytes(all_heads: bool) -> float:
    """KV cache of one sequence of 4,096 tokens of Llama-3-8B in fp16."""
    spec = shape(LLAMA_8B, "A100-SXM").model
    spec = with_all_heads_cached(spec) if all_heads else spec
    return 4096 * bytes_per_token(spec, BF16)


RECORDS: tuple[Record, ...] = (
    Record(
        id="D9",
        source="S3",
        what="KV cache of a 70B at 131,072 tokens in fp16: 42.9 GB",
        verdict=(OK,),
        reason="Exactly 40 GiB.",
        figures=(
            Figure(
                name="KV cache of one request",
                unit="GB",
                quoted=42.9,
                right=42.95,
                compute=lambda: float(sequence_bytes(shape(LLAMA_70B, "H200-SXM"), 131_072)) / 1e9,
            ),
        ),
    ),
    Record(
        id="D9b",
        source="S3",
        what="140 GB of weights from a volume of 1 GB/s: over 2.5 minutes; local NVMe 5-7 GB/s",
        verdict=(ERR,),
        reason="140 s are 2.33 minutes; with engine start and image pull the whole cold start is well over 2.5.",
        figures=(
            Figure(
                name="1 GB/s",
                unit="min",
                quoted=2.5,
                right=2.35,
                relation=">",
                holds=lambda value: value > 2.5,
                compute=lambda: load_s(1e9) / 60,
            ),
            Figure(name="NVMe at 5 GB/s", unit="s", right=28.2, compute=lambda: load_s(5e9)),
            Figure(name="NVMe at 7 GB/s", unit="s", right=20.16, compute=lambda: load_s(7e9)),
            Figure(
                name="cold start at 1 GB/s, image cached",
                unit="min",
                right=4.0,
                within=0.2,
                compute=lambda: (
                    cold_start_s(shape(LLAMA_70B, "A100-SXM", 2), image_cached=True, storage_bytes_per_s=1e9) / 60
                ),
            ),
        ),
    ),
    Record(
        id="D9c",
        source="S3",
        what="An H200 gives 1.9 times an H100 on Llama-70B, purely due to bandwidth",
        verdict=(ERR,),
        reason="Bandwidth gives 1.43; the rest of such a result is memory, which lets more requests run at once.",
        figures=(
            Figure(
                name="bandwidth, H200 over H100",
                unit="x",
                quoted=1.9,
                right=1.433,
                compute=lambda: gpu("H200-SXM").bandwidth_bytes_per_s / gpu("H100-SXM").bandwidth_bytes_per_s,
            ),
            Figure(
                name="KV cache beside 70B in fp8 on two GPUs, H200 over H100",
                unit="x",
                right=2.57,
                within=0.1,
                compute=lambda: (
                    memory_budget(shape(LLAMA_70B, "H200-SXM", 2, FP8)).kv_cache_bytes
                    / memory_budget(shape(LLAMA_70B, "H100-SXM", 2, FP8)).kv_cache_bytes
                ),
            ),
        ),
    ),
    Record(
        id="D9d",
        source="S3",
        what="8B in fp8 on an H100 over bf16 on an A100 PCIe: 460/110, a 4x speed-up from fp8 bandwidth",
        verdict=(ERR,),
        reason="Half the bytes at 1.73 times the bandwidth are 3.46; the output head stays in bf16, so really less.",
        figures=(
            Figure(
                name="roofline ratio, half the bytes",
                unit="x",
                quoted=4.18,
                right=3.46,
                compute=lambda: (
                    roofline_s(nominal_weights_bytes(8e9, BF16), gpu("A100-PCIE-80GB").bandwidth_bytes_per_s)
                    / roofline_s(nominal_weights_bytes(8e9, FP8), gpu("H100-SXM").bandwidth_bytes_per_s)
                ),
                cause=lambda: 460 / 110,
                because="its own table, which is no bandwidth measurement (see the benchmark table)",
            ),
            Figure(
                name="roofline ratio, head in bf16",
                unit="x",
                quoted=4.18,
                right=3.24,
                compute=lambda: (
                    batch_one_tokens_per_s(shape(LLAMA_8B, "H100-SXM", 1, FP8))
                    / batch_one_tokens_per_s(shape(LLAMA_8B, "A100-PCIE-80GB"))
                ),
            ),
        ),
    ),
    Record(
        id="D9e",
        source="S3",
        what="The RTX PRO 6000 (1.597 TB/s) has a third of the H200's bandwidth",
        verdict=(OK,),
        reason="Right for the server edition; the workstation card has 1.792 TB/s.",
        figures=(
            Figure(
                name="H200 over RTX PRO 6000 as quoted",
                unit="x",
                quoted=3,
                right=3.006,
                compute=lambda: gpu("H200-SXM").bandwidth_bytes_per_s / gpu("RTX-PRO-6000").bandwidth_bytes_per_s,
            ),
        ),
    ),
    Record(
        id="D10",
        source="S4",
        what="A100 at $3.50/h and 1,000 tok/s: price per million tokens (lost on the page)",
        verdict=(AMB,),
        reason="The formula is right; only its result is missing.",
        figures=(Figure(name="price", unit="$/M", right=0.9722, compute=lambda: usd_per_million_tokens(3.50, 1000)),),
    ),
    Record(
        id="D11",
        source="S4",
        what="A100 at $3.50/h: reserved at 40 % off, spot at 70 % off",
        verdict=(OK,),
        reason="As printed.",
        figures=(
            Figure(name="reserved", unit="$/h", quoted=2.10, right=2.10, compute=lambda: discounted(3.50, 0.40)),
            Figure(name="spot", unit="$/h", quoted=1.05, right=1.05, compute=lambda: discounted(3.50, 0.70)),
        ),
    ),
    Record(
        id="D12",
        source="S4",
        what=(
            "KV cache of Llama-3-8B at 4,096 tokens in fp16, and sequences on an 80 GB A100 beside 16 GB (results lost)"
        ),
        verdict=(ERR,),
        reason=(
            "The formula counts attention heads. Llama-3-8B caches 8 KV heads, a quarter of its 32. The quoted "
            "values are what the printed formula gives."
        ),
        figures=(
            Figure(
                name="KV cache",
                unit="GB",
                quoted=2.147,
                right=0.537,
                compute=lambda: kv_8b_bytes(False) / 1e9,
                cause=lambda: kv_8b_bytes(True) / 1e9,
                because="32 attention heads",
            ),
            Figure(
                name="sequences in 64 GB",
                quoted=29,
                right=119,
                compute=lambda: concurrency_ceiling(64e9, kv_8b_bytes(False)),
                cause=lambda: concurrency_ceiling(64e9, kv_8b_bytes(True)),
                because="32 attention heads",
            ),
            Figure(
                name="sequences in 64 GiB", right=128, compute=lambda: concurrency_ceiling(64 * GIB, kv_8b_bytes(False))
            ),
            Figure(
                name="sequences in what vLLM leaves",
                right=108,
                within=0.03,
                compute=lambda: memory_budget(shape(LLAMA_8B, "A100-SXM")).kv_cache_bytes // kv_8b_bytes(False),
            ),
        ),
    ),
    Record(
        id="D13",
        source="S4",
        what="70B on 2 TB/s: ms per token in fp16 and int4 (lost), 4 times faster",
        verdict=(OK,),
        reason="Nominal bytes. In int4 a real checkpoint has scales and a bf16 head: 3.6 times.",
        figures=(
            Figure(
                name="fp16",
                unit="ms",
                right=70,
                compute=lambda: 1e3 * roofline_s(nominal_weights_bytes(70e9, BF16), 2e12),
            ),
            Figure(
                name="int4",
                unit="ms",
                right=17.5,
                compute=lambda: 1e3 * roofline_s(nominal_weights_bytes(70e9, INT4), 2e12),
            ),
            Figure(
                name="gain",
                unit="x",
                quoted=4,
                right=4,
                compute=lambda: nominal_weights_bytes(70e9, BF16) / nominal_weights_bytes(70e9, INT4),
            ),
            Figure(
                name="gain of a real checkpoint",
                unit="x",
                right=3.62,
                within=0.03,
                compute=lambda: (
                    decode_floor_s(shape(LLAMA_70B, "A100-SXM")) / decode_floor_s(shape(LLAMA_70B, "A100-SXM", 1, INT4))
                ),
            ),
        ),
    ),
    Record(
        id="D14",
        source="S4",
        what=(
            "Cascade: 60 % to a 7B, the rest at $0.80/M: 2.1 times cheaper (price of the 7B lost); Q6: 50 % gives $0.50"
        ),
        verdict=(AMB, OK),
        reason="With the $0.20/M that its Q6 uses the gain is 1.82; 2.1 needs $0.10/M.",
        figures=(
            Figure(
                name="gain at $0.20/M",
                unit="x",
                quoted=2.1,
                right=1.818,
                compute=lambda: 0.80 / blended_usd_per_million_tokens(0.6, 0.20, 0.80),
                cause=lambda: 0.80 / blended_usd_per_million_tokens(0.6, 0.10, 0.80),
                because="a 7B at $0.10/M",
            ),
            Figure(
                name="Q6, step 4",
                unit="$/M",
                quoted=0.50,
                right=0.50,
                compute=lambda: blended_usd_per_million_tokens(0.5, 0.20, 0.80),
            ),
        ),
    ),
)
