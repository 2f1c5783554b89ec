"""Worked examples of S0 and S1 (D1 to D5)."""

from __future__ import annotations

import math

from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.economics.break_even import OwnGpus, break_even
from inferencefleet.economics.budget import Budget, Workload, roll_up
from inferencefleet.economics.dollars import (
    HOURS_PER_30_DAYS,
    ApiPrice,
    tokens_per_usd,
    usd_per_month,
    usd_per_request,
)
from inferencefleet.physics.memory import memory_budget
from inferencefleet.physics.quick import (
    nominal_weights_bytes,
    quick_fit,
    roofline_s,
)
from tests.seeds.record import Figure, Record, Verdict, yes
from tests.seeds.shapes import BF16, INT8, LLAMA_8B, shape

OK, ERR, PHYS, AMB = Verdict.OK, Verdict.ERR, Verdict.PHYS, Verdict.AMB

MINI = ApiPrice(usd_per_million_prompt_tokens=0.15, usd_per_million_output_tokens=0.60, source="S1, as quoted")
GPT4O = ApiPrice(usd_per_million_prompt_tokens=2.50, usd_per_million_output_tokens=10.00, source="S1, as quoted")
L40S_S1 = OwnGpus(usd_per_gpu_hour=1.60, requests_per_s=1800 / 3600, operations_usd_per_month=500)
"""One L40S of S1; 1,800 requests an hour is its own figure."""
DAYS5_H = 5 * 24


def mini_usd() -> float:
    return MINI.usd_per_request(800, 300)


def budget() -> Budget:
    return roll_up(
        [
            Workload(
                name="Inference", work="inference", gpu="L40S", gpus=2, hours_per_month=730, usd_per_gpu_hour=1.60
            ),
            Workload(name="Tuning", work="fine-tuning", gpu="A100", gpus=4, hours_per_month=40, usd_per_gpu_hour=2.75),
            Workload(
                name="Embeddings", work="inference", gpu="A10G", gpus=1, hours_per_month=730, usd_per_gpu_hour=0.95
            ),
            Workload(
                name="Experiments",
                work="experimentation",
                gpu="A100",
                gpus=2,
                hours_per_month=80,
                usd_per_gpu_hour=2.75,
            ),
        ]
    )


def share(index: int) -> float:
    return 100 * budget().workloads[index].share


def never(own: OwnGpus, usd: float) -> str:
    return "never" if break_even(own, usd).requests_per_month is None else "yes"


def d1_saving() -> float:
    """What the slower, cheaper GPU saves for the tokens that an A100 makes in five days."""
    tokens = 68 * 3600 * DAYS5_H
    return tokens / tokens_per_usd(68, 2.99) - tokens / tokens_per_usd(61, 1.99)


def d2_fit(memory_gb: float, weights: NumberFormat) -> str:
    return yes(quick_fit(nominal_weights_bytes(8e9, weights), memory_gb * 1e9).fits)


def d2_speed(bandwidth_tb: float) -> float:
    return 1 / roofline_s(nominal_weights_bytes(8e9, BF16), bandwidth_tb * 1e12)


RECORDS: tuple[Record, ...] = (
    Record(
        id="D1",
        source="S0",
        what="LLaMA-13B: A100 68 tok/s at $2.99/h, RTX 4090 61 tok/s at $1.99/h",
        verdict=(ERR,),
        reason="The tokens per dollar are those of speeds just below the ones printed. The saving needs 2.67 GPUs: one "
        "saves $92.60 for equal tokens in five days, or $120 when the slower GPU simply stops after as long.",
        figures=(
            Figure(
                name="A100",
                unit="tokens/$",
                quoted=81_670,
                right=81_873,
                rounding=1e-5,
                compute=lambda: tokens_per_usd(68, 2.99),
                cause=lambda: tokens_per_usd(67.831, 2.99),
                because="67.83 tok/s",
            ),
            Figure(
                name="RTX 4090",
                unit="tokens/$",
                quoted=110_252,
                right=110_352,
                rounding=1e-5,
                compute=lambda: tokens_per_usd(61, 1.99),
                cause=lambda: tokens_per_usd(60.945, 1.99),
                because="60.945 tok/s",
            ),
            Figure(
                name="advantage of the 4090",
                unit="%",
                quoted=35,
                right=34.8,
                rounding=0.01,
                compute=lambda: 100 * (tokens_per_usd(61, 1.99) / tokens_per_usd(68, 2.99) - 1),
            ),
            Figure(
                name="saved in 5 days, equal tokens, one GPU",
                unit="$",
                quoted=320,
                right=92.60,
                compute=d1_saving,
                cause=lambda: 8 / 3 * (usd_per_month(2.99, 1, DAYS5_H) - usd_per_month(1.99, 1, DAYS5_H)),
                because="the difference of the rates over 120 h for 2.67 GPUs",
            ),
        ),
    ),
    Record(
        id="D2",
        source="S1",
        what="Which GPUs hold an 8B model (weights x 1.2), and its tokens/s for one request",
        verdict=(ERR, PHYS),
        reason=(
            "19.2 GB is within the A10G's 24 GB, so its own code prints Yes. The rule is no verdict either way: "
            "an A10G reports 22.5 GiB, of which an engine has 2.3 GiB left for KV cache. The speed ignores the "
            "format: int8 weights are read twice as fast."
        ),
        figures=(
            *(
                Figure(name=f"{name} FP16 fits", quoted=quoted, right="yes", compute=lambda gb=gb: d2_fit(gb, BF16))
                for name, gb, quoted in (
                    ("A100", 80, "yes"),
                    ("H100", 80, "yes"),
                    ("L40S", 48, "yes"),
                    ("A10G", 24, "no"),
                )
            ),
            *(
                Figure(name=f"{name} INT8 fits", quoted="yes", right="yes", compute=lambda gb=gb: d2_fit(gb, INT8))
                for name, gb in (("A100", 80), ("H100", 80), ("L40S", 48), ("A10G", 24))
            ),
            *(
                Figure(
                    name=f"{name}, one request",
                    unit="tok/s",
                    quoted=quoted,
                    right=right,
                    rounding=0.5 / right,
                    compute=lambda tb=tb: d2_speed(tb),
                )
                for name, tb, quoted, right in (
                    ("A100", 2.0, 125, 125.0),
                    ("H100", 3.35, 209, 209.4),
                    ("L40S", 0.864, 54, 54.0),
                    ("A10G", 0.600, 38, 37.5),
                )
            ),
            Figure(
                name="A10G INT8, one request",
                unit="tok/s",
                quoted=38,
                right=75.0,
                compute=lambda: 1 / roofline_s(nominal_weights_bytes(8e9, INT8), 0.6e12),
                cause=lambda: d2_speed(0.600),
                because="2 bytes a parameter whatever the format",
            ),
            Figure(
                name="A10G FP16, KV cache in vLLM",
                unit="tokens",
                right=18_700,
                within=0.25,
                compute=lambda: memory_budget(shape(LLAMA_8B, "A10G")).kv_cache_tokens,
            ),
        ),
    ),
    Record(
        id="D3",
        source="S1",
        what="Break-even of one L40S ($1.60/h, $500 operations) with GPT-4o-mini, 800 + 300 tokens a request",
        verdict=(ERR, PHYS),
        reason="The printed volume is that of $1,580 a month, not of the $1,668 of its own inputs. And one L40S serves "
        "1,314,000 requests a month, for which the API charges $394 while the GPU costs $1,168: it never breaks even, "
        "and more GPUs only lose more.",
        figures=(
            Figure(name="API", unit="$/request", quoted=0.00030, right=0.00030, compute=mini_usd),
            Figure(
                name="own GPU at 500,000 a month",
                unit="$/request",
                quoted=0.00334,
                right=0.003336,
                compute=lambda: usd_per_request(L40S_S1.usd_per_month_for(500_000), 500_000),
            ),
            Figure(
                name="break-even, capacity ignored",
                unit="requests/month",
                quoted=5_266_666,
                right=5_560_000,
                compute=lambda: break_even(L40S_S1, mini_usd()).uncapped_requests_per_month,
                cause=lambda: (usd_per_month(1.50, 1, HOURS_PER_30_DAYS) + 500) / mini_usd(),
                because="$1.50/h over 720 h",
            ),
            Figure(
                name="the same, a day",
                unit="requests/day",
                quoted=175_556,
                right=185_333,
                compute=lambda: break_even(L40S_S1, mini_usd()).uncapped_requests_per_month / 30,
                cause=lambda: (usd_per_month(1.50, 1, HOURS_PER_30_DAYS) + 500) / mini_usd() / 30,
                because="as above",
            ),
            Figure(
                name="L40S that 5.56M requests need",
                unit="GPUs",
                quoted=1,
                right=5,
                compute=lambda: L40S_S1.replicas_for(5_560_000),
                cause=lambda: L40S_S1.least_replicas,
                because="the throughput is an input that nothing reads",
            ),
            Figure(
                name="saving of a full L40S",
                unit="$/month",
                right=-773.8,
                compute=lambda: break_even(L40S_S1, mini_usd()).saving_of_full_replica_usd_per_month,
            ),
            Figure(
                name="break-even within capacity",
                quoted="yes",
                right="never",
                compute=lambda: never(L40S_S1, mini_usd()),
            ),
        ),
    ),
    Record(
        id="D3b",
        source="S1",
        what="The same with GPT-4o ($2.50/$10.00): under 500,000 requests a month",
        verdict=(OK,),
        reason="$0.005 a request; one L40S serves this volume.",
        figures=(
            Figure(
                name="break-even",
                unit="requests/month",
                quoted=500_000,
                right=333_600,
                relation="<",
                holds=lambda value: value < 500_000,
                compute=lambda: break_even(L40S_S1, GPT4O.usd_per_request(800, 300)).requests_per_month or math.nan,
            ),
        ),
    ),
    Record(
        id="D4",
        source="S1",
        what="Monthly budget: 2 L40S 730 h $1.60, 4 A100 40 h $2.75, 1 A10G 730 h $0.95, 2 A100 80 h $2.75",
        verdict=(ERR,),
        reason=(
            "Its own lines (2,336 + 440 + 694 + 440) add up to 3,910, and its shares to 100.3 %. No set of "
            "inputs gives 3,895 with these lines."
        ),
        figures=(
            Figure(
                name="total",
                unit="$/month",
                quoted=3895,
                right=3909.5,
                rounding=1.3e-4,
                compute=lambda: budget().usd_per_month,
            ),
            *(
                Figure(
                    name=f"share of {name}",
                    unit="%",
                    quoted=quoted,
                    right=right,
                    rounding=0.051 / right,
                    within=0.001,
                    compute=lambda index=index: share(index),
                )
                for index, name, quoted, right in (
                    (0, "inference", 59.9, 59.75),
                    (1, "fine-tuning", 11.3, 11.25),
                    (2, "embeddings", 17.8, 17.74),
                    (3, "experiments", 11.3, 11.25),
                )
            ),
        ),
    ),
    Record(
        id="D5",
        source="S1",
        what="1,000 requests through a router weighted 60/25/15: 601, 249, 150",
        verdict=(OK, ERR),
        reason=(
            "The draw has no seed; all three counts are within one standard deviation of the weights. Its "
            "`cost` strategy takes the largest weight and so returns OpenAI, while its comment says that is the "
            "self-hosted one. The product routes to its own replicas only, so there is nothing of this in it."
        ),
        figures=(
            *(
                Figure(
                    name=name,
                    unit="requests",
                    quoted=quoted,
                    right=1000 * weight,
                    holds=lambda right, quoted=quoted: abs(quoted - right) <= 3 * math.sqrt(right * (1 - right / 1000)),
                    compute=lambda weight=weight: 1000 * weight,
                )
                for name, weight, quoted in (
                    ("OpenAI", 0.60, 601),
                    ("Anthropic", 0.25, 249),
                    ("self-hosted", 0.15, 150),
                )
            ),
            Figure(
                name="provider of the `cost` strategy",
                quoted="self-hosted",
                right="OpenAI",
                compute=lambda: max(
                    {"OpenAI": 0.60, "Anthropic": 0.25, "self-hosted": 0.15}.items(), key=lambda p: p[1]
                )[0],
            ),
        ),
    ),
)
