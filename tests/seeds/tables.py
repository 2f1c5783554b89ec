"""Tables of the sources, as quoted. Data to compare with, never an input of the product."""

from __future__ import annotations

from dataclasses import dataclass

from inferencefleet.domain.hardware import NumberFormat
from tests.seeds.shapes import BF16, FP8, INT4, INT8, LLAMA_8B, LLAMA_70B, LLAMA_405B, MIXTRAL, QWEN_7B

NVFP4 = NumberFormat.NVFP4


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedGpu:
    """One row of a GPU table; None where the table says nothing."""

    source: str
    gpu: str
    """Catalogue name."""
    memory_gb: float | None = None
    bandwidth_tb_per_s: float | None = None
    bf16_tflops: float | None = None
    usd_per_hour: tuple[float, float] | None = None
    differs: str = ""
    """Why the catalogue has another value; empty when it agrees."""


QUOTED_GPUS: tuple[QuotedGpu, ...] = (
    QuotedGpu(
        source="S1", gpu="A100-SXM", memory_gb=80, bandwidth_tb_per_s=2.0, bf16_tflops=312, usd_per_hour=(2.00, 3.50)
    ),
    QuotedGpu(
        source="S1", gpu="H100-SXM", memory_gb=80, bandwidth_tb_per_s=3.35, bf16_tflops=990, usd_per_hour=(3.50, 5.50)
    ),
    QuotedGpu(
        source="S1", gpu="L40S", memory_gb=48, bandwidth_tb_per_s=0.864, bf16_tflops=362, usd_per_hour=(1.20, 2.00)
    ),
    QuotedGpu(
        source="S1",
        gpu="A10G",
        memory_gb=24,
        bandwidth_tb_per_s=0.600,
        bf16_tflops=125,
        usd_per_hour=(0.75, 1.20),
        differs="125 TFLOPS is the A10's dense bf16 figure; the A10G has 70. The table calls the memory of A10G and "
        "L40S GDDR6X; both have GDDR6.",
    ),
    QuotedGpu(source="S2", gpu="B200", memory_gb=192, bandwidth_tb_per_s=8.0, usd_per_hour=(5, 8)),
    QuotedGpu(source="S2", gpu="H200-SXM", memory_gb=141, bandwidth_tb_per_s=4.8, usd_per_hour=(3, 5)),
    QuotedGpu(source="S2", gpu="H100-SXM", memory_gb=80, bandwidth_tb_per_s=3.3, usd_per_hour=(2, 4)),
    QuotedGpu(source="S2", gpu="A100-SXM", memory_gb=80, bandwidth_tb_per_s=2.0, usd_per_hour=(1, 2)),
    QuotedGpu(source="S2", gpu="L40S", memory_gb=48, bandwidth_tb_per_s=0.86, usd_per_hour=(0.80, 1.50)),
    QuotedGpu(
        source="S2",
        gpu="MI355X",
        memory_gb=288,
        bandwidth_tb_per_s=6.0,
        usd_per_hour=(2, 4),
        differs="AMD gives 8 TB/s for the MI355X; 6 TB/s is the MI325X.",
    ),
    QuotedGpu(source="S3", gpu="A100-PCIE-80GB", memory_gb=80, bandwidth_tb_per_s=1.93),
    QuotedGpu(source="S3", gpu="H200-SXM", memory_gb=141, bandwidth_tb_per_s=4.8),
    QuotedGpu(source="S3", gpu="B200", bandwidth_tb_per_s=8.0),
    QuotedGpu(source="S3", gpu="B300", memory_gb=288),
    QuotedGpu(
        source="S3",
        gpu="RTX-PRO-6000",
        memory_gb=96,
        bandwidth_tb_per_s=1.597,
    ),
)

QUANTISED_GB: tuple[tuple[float, NumberFormat, float], ...] = tuple(
    (billions, weights, gigabytes)
    for billions, by_format in (
        (7, (14, 7, 3.5)),
        (9, (18, 9, 4.5)),
        (27, (54, 27, 13.5)),
        (34, (68, 34, 17)),
        (70, (140, 70, 35)),
        (72, (144, 72, 36)),
        (405, (810, 405, 202)),
    )
    for weights, gigabytes in zip((BF16, FP8, INT4), by_format, strict=True)
)
"""S3's quantisation table: billions of parameters, format, GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedBenchmark:
    """One row of S3's benchmark table: 1,024 prompt and 128 output tokens, "batch 128", system decode tok/s."""

    what: str
    billions: float
    gpu: str
    gpus: int
    weights: NumberFormat
    quoted_tokens_per_s: float
    roofline_batch_1: float
    """Nominal weight bytes over nominal bandwidth."""
    model: str | None = None
    """Catalogue id; None for models that it lacks."""
    decode_batch_128: float | None = None
    """Ours: 128 sequences of 1,024 + 64 tokens that only decode."""
    serving: float | None = None
    """Ours: output tokens/s of the largest steady load, with its prefills."""


BENCHMARKS: tuple[QuotedBenchmark, ...] = (
    QuotedBenchmark(
        what="Llama 3 8B",
        billions=8,
        gpu="A100-PCIE-80GB",
        gpus=1,
        weights=BF16,
        quoted_tokens_per_s=110,
        roofline_batch_1=121,
        model=LLAMA_8B,
        decode_batch_128=4200,
        serving=1400,
    ),
    QuotedBenchmark(
        what="Llama 3 8B",
        billions=8,
        gpu="H100-SXM",
        gpus=1,
        weights=FP8,
        quoted_tokens_per_s=460,
        roofline_batch_1=419,
        model=LLAMA_8B,
        decode_batch_128=9700,
        serving=4600,
    ),
    QuotedBenchmark(
        what="Gemma 4 27B",
        billions=27,
        gpu="H200-SXM",
        gpus=1,
        weights=FP8,
        quoted_tokens_per_s=210,
        roofline_batch_1=178,
    ),
    QuotedBenchmark(
        what="Llama 3 70B",
        billions=70,
        gpu="A100-PCIE-80GB",
        gpus=4,
        weights=BF16,
        quoted_tokens_per_s=65,
        roofline_batch_1=55,
        model=LLAMA_70B,
        decode_batch_128=900,
        serving=120,
    ),
    QuotedBenchmark(
        what="Llama 3 70B",
        billions=70,
        gpu="H200-SXM",
        gpus=1,
        weights=FP8,
        quoted_tokens_per_s=180,
        roofline_batch_1=69,
        model=LLAMA_70B,
        decode_batch_128=3200,
        serving=700,
    ),
    QuotedBenchmark(
        what="Qwen2.5-VL 72B",
        billions=72,
        gpu="H100-SXM",
        gpus=2,
        weights=FP8,
        quoted_tokens_per_s=165,
        roofline_batch_1=93,
    ),
    QuotedBenchmark(
        what="Llama 3.1 405B",
        billions=405,
        gpu="B200",
        gpus=8,
        weights=NVFP4,
        quoted_tokens_per_s=380,
        roofline_batch_1=304,
        model=LLAMA_405B,
        decode_batch_128=6000,
        serving=1300,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedFit:
    """A model on GPUs that a table recommends, and what the memory budget makes of it."""

    source: str
    what: str
    model: str
    gpu: str
    gpus: int
    weights: NumberFormat
    max_model_len_tokens: int
    kv_gb: float
    """Room for KV cache, ours."""
    verdict: str
    """`cannot start`: not even one request of the maximum length. `starved`: it starts, and fewer than
    `STARVED_BELOW` requests of 1,000 + 250 tokens run at once. `serves` otherwise."""
    comment: str


STARVED_BELOW = 16

FITS: tuple[QuotedFit, ...] = (
    QuotedFit(
        source="S4",
        what="70B FP16 on 2x A100 80GB",
        model=LLAMA_70B,
        gpu="A100-SXM",
        gpus=2,
        weights=BF16,
        max_model_len_tokens=32_768,
        kv_gb=7.1,
        verdict="cannot start",
        comment="Some 22,000 tokens of KV cache: less than one request of 32,768.",
    ),
    QuotedFit(
        source="S4",
        what="the same, contexts up to 8,192",
        model=LLAMA_70B,
        gpu="A100-SXM",
        gpus=2,
        weights=BF16,
        max_model_len_tokens=8192,
        kv_gb=7.1,
        verdict="starved",
        comment="It loads and then runs a dozen requests at once. The right-sizing table promises 30-50 GB of KV cache "
        "here: 140 + 30 is more than 160.",
    ),
    QuotedFit(
        source="S4",
        what="70B INT8 on 1x A100 80GB",
        model=LLAMA_70B,
        gpu="A100-SXM",
        gpus=1,
        weights=INT8,
        max_model_len_tokens=8192,
        kv_gb=1.4,
        verdict="cannot start",
        comment="72.7 GB of weights, because embeddings and head stay in bf16, leave 4,400 tokens.",
    ),
    QuotedFit(
        source="S4",
        what="70B INT4 on 1x A100 40GB",
        model=LLAMA_70B,
        gpu="A100-SXM-40GB",
        gpus=1,
        weights=INT4,
        max_model_len_tokens=2048,
        kv_gb=-5.0,
        verdict="cannot start",
        comment="40.5 GB of weights with scales and a bf16 head; the engine has 38.7. The nominal 35 GB would fit.",
    ),
    QuotedFit(
        source="S4",
        what="70B INT4 on 2x A100 40GB",
        model=LLAMA_70B,
        gpu="A100-SXM-40GB",
        gpus=2,
        weights=INT4,
        max_model_len_tokens=8192,
        kv_gb=30.4,
        verdict="serves",
        comment="More than the 15-25 GB of the table.",
    ),
    QuotedFit(
        source="S4",
        what="7B INT4 on RTX 4090",
        model=QWEN_7B,
        gpu="RTX-4090",
        gpus=1,
        weights=INT4,
        max_model_len_tokens=4096,
        kv_gb=14.3,
        verdict="serves",
        comment="As the table says.",
    ),
    QuotedFit(
        source="S4",
        what="8B INT4 on A10G",
        model=LLAMA_8B,
        gpu="A10G",
        gpus=1,
        weights=INT4,
        max_model_len_tokens=8192,
        kv_gb=12.7,
        verdict="serves",
        comment="As the table says.",
    ),
    QuotedFit(
        source="S1",
        what="8B FP16 on A10G",
        model=LLAMA_8B,
        gpu="A10G",
        gpus=1,
        weights=BF16,
        max_model_len_tokens=8192,
        kv_gb=2.5,
        verdict="starved",
        comment="Neither the No that S1 prints nor the yes of the 1.2 rule: it starts and runs about a dozen requests.",
    ),
    QuotedFit(
        source="S4",
        what="Mixtral 8x7B on 2x A100 80GB",
        model=MIXTRAL,
        gpu="A100-SXM",
        gpus=2,
        weights=BF16,
        max_model_len_tokens=8192,
        kv_gb=54.8,
        verdict="serves",
        comment="As the table says.",
    ),
)

GOLDEN_DEFAULTS: tuple[tuple[str, str, str, str, str], ...] = (
    ("Chat", "8-16", "4K", "fp8", "low ITL"),
    ("RAG, agents", "16-32", "32K", "fp8", "low TTFT"),
    ("Batch", "64-256", "8K", "int4 or fp8", "throughput"),
)
"""S3: use, batch, context, KV precision, goal."""

LEVERS: tuple[tuple[str, str, str], ...] = (
    (
        "Continuous batching",
        "3-5x",
        "also 10-25x and 23x (Orca), 24x (vLLM) in the same text; Orca is OSDI 2022, not NeurIPS",
    ),
    ("Quantisation", "2-4x", "1.0/0.5/0.25 relative cost: true for memory only, see the fits above"),
    ("PagedAttention", "2-3x", "2-4x and 4-6x elsewhere in the same text"),
    ("Speculative decoding", "1.5-2.5x", "1.5-3x elsewhere; in one public test under load it cost capacity"),
    ("Cascade", "2-3x", "1.82x with its own prices (D14)"),
    ("Semantic and prefix caches", "20-40 %", "the hit ratio of the prefix cache is measured, never assumed"),
)
"""S4's levers: what, as quoted, remark."""
