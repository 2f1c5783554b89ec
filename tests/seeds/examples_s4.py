"""Worked examples of S4 (D15 to D23)."""

from __future__ import annotations

from inferencefleet.economics.break_even import OwnGpus, break_even, break_even_tokens_per_month
from inferencefleet.economics.dollars import (
    HOURS_PER_30_DAYS,
    ApiPrice,
    tokens_per_s_for,
    tokens_per_usd,
    usd_per_million_tokens,
    usd_per_month,
)
from inferencefleet.physics.capacity import replica_capacity
from tests.seeds.record import Figure, Record, Verdict
from tests.seeds.shapes import INT4, LLAMA_70B, TOKENS_PER_WORD, fixed, shape

OK, ERR, PHYS, AMB = Verdict.OK, Verdict.ERR, Verdict.PHYS, Verdict.AMB

TOGETHER = ApiPrice(usd_per_million_prompt_tokens=0.90, usd_per_million_output_tokens=0.90, source="S4, as quoted")
A100_MONTH_USD = usd_per_month(3.50, 1, HOURS_PER_30_DAYS)
SYSTEM_PROMPT = "You are a helpful legal assistant. " * 100


def capacity_d15() -> float:
    """Requests/s of Llama-3-70B in int4 on one A100, 1,000 prompt and 250 output tokens, whatever the latency."""
    return replica_capacity(shape(LLAMA_70B, "A100-SXM", 1, INT4), fixed(1000, 250), ()).requests_per_s


def d15_within_capacity() -> str:
    own = OwnGpus(
        usd_per_gpu_hour=3.50, requests_per_s=capacity_d15(), utilisation=0.7, hours_per_month=HOURS_PER_30_DAYS
    )
    return "never" if break_even(own, TOGETHER.usd_per_request(1000, 250)).requests_per_month is None else "yes"


def api_minus_own(tokens: float) -> float:
    """What one A100 saves against the API at this volume, as if it could serve any."""
    return TOGETHER.usd_per_request(tokens, 0) - A100_MONTH_USD


RECORDS: tuple[Record, ...] = (
    Record(
        id="D15",
        source="S4",
        what="Break-even of 70B int4 on one A100 ($2,520/month) with an API at $0.90/M: 2.8 million tokens a month",
        verdict=(ERR, PHYS),
        reason=(
            "2,800 million: a factor of 1,000. That is 1,080 tok/s day and night, prompt and output together; "
            "at 70 % of what one A100 does with 1,000-token prompts it is never reached."
        ),
        figures=(
            Figure(name="A100, 720 h", unit="$/month", quoted=2520, right=2520, compute=lambda: A100_MONTH_USD),
            Figure(
                name="break-even",
                unit="tokens/month",
                quoted=2.8e6,
                right=2.8e9,
                compute=lambda: break_even_tokens_per_month(A100_MONTH_USD, 0.90),
                cause=lambda: break_even_tokens_per_month(A100_MONTH_USD, 0.90) / 1000,
                because="$2,520 / $0.90 = 2,800 is in millions of tokens",
            ),
            Figure(name="the speed it takes", unit="tok/s", right=1080, compute=lambda: tokens_per_s_for(3.50, 0.90)),
            Figure(
                name="70B int4 on one A100, 1,000 + 250 tokens, full",
                unit="tok/s",
                right=1140,
                within=0.2,
                compute=lambda: 1250 * capacity_d15(),
            ),
            Figure(name="break-even at 70 % load", quoted="yes", right="never", compute=d15_within_capacity),
        ),
    ),
    Record(
        id="D15b",
        source="S4",
        what="At 10 million tokens a month self-hosting saves $87,480",
        verdict=(ERR,),
        reason=(
            "At 10 million tokens the API costs $9 and the GPU $2,520. $87,480 are saved at 100 billion, which "
            "takes 36 times the speed of break-even."
        ),
        figures=(
            Figure(
                name="saved at 10 million tokens",
                unit="$/month",
                quoted=87_480,
                right=-2511,
                compute=lambda: api_minus_own(10e6),
                cause=lambda: api_minus_own(100e9),
                because="100 billion tokens",
            ),
        ),
    ),
    Record(
        id="D15c",
        source="S4",
        what="Rule of thumb: self-host above 50 million tokens a month",
        verdict=(ERR,),
        reason="50 million tokens cost $45 at the API. Its own arithmetic asks for 2.8 billion.",
        figures=(
            Figure(
                name="self-host from",
                unit="tokens/month",
                quoted=50e6,
                right=2.8e9,
                compute=lambda: break_even_tokens_per_month(A100_MONTH_USD, 0.90),
            ),
            Figure(
                name="API for 50 million", unit="$/month", right=45, compute=lambda: TOGETHER.usd_per_request(50e6, 0)
            ),
        ),
    ),
    Record(
        id="D16",
        source="S4",
        what=(
            "From a price per million (lost) to $1.00 on an A100 at $3.50/h: 833 TPS now, 972 or roughly 3,500 "
            "wanted, 4.2 x"
        ),
        verdict=(ERR,),
        reason=(
            "833, 3,500 and 4.2 all follow from a lost price of $4.20/M when an hour has 1,000 seconds. With "
            "3,600 it is 231 tok/s now and 972 wanted; the ratio survives, both speeds being wrong by one factor."
        ),
        figures=(
            Figure(
                name="speed now, at $4.20/M",
                unit="tok/s",
                quoted=833,
                right=231.5,
                compute=lambda: tokens_per_s_for(3.50, 4.20),
                cause=lambda: tokens_per_s_for(3.50, 4.20) * 3600 / 1000,
                because="1,000 s in an hour",
            ),
            Figure(
                name="speed for $1.00/M",
                unit="tok/s",
                quoted=972,
                right=972.2,
                compute=lambda: tokens_per_s_for(3.50, 1.00),
            ),
            Figure(
                name="the same",
                unit="tok/s",
                quoted=3500,
                right=972.2,
                compute=lambda: tokens_per_s_for(3.50, 1.00),
                cause=lambda: tokens_per_s_for(3.50, 1.00) * 3600 / 1000,
                because="1,000 s in an hour",
            ),
            Figure(
                name="improvement from $4.20",
                unit="x",
                quoted=4.2,
                right=4.2,
                compute=lambda: tokens_per_s_for(3.50, 1.00) / tokens_per_s_for(3.50, 4.20),
            ),
            Figure(
                name="price at 833 tok/s",
                unit="$/M",
                right=1.167,
                compute=lambda: usd_per_million_tokens(3.50, 833),
            ),
            Figure(
                name="price at 833 tok/s on two A100s",
                unit="$/M",
                right=2.334,
                compute=lambda: usd_per_million_tokens(7.00, 833),
            ),
        ),
    ),
    Record(
        id="D17",
        source="S4",
        what="MIG: four 3B models at 800 tok/s instead of one 7B at 1,000 on an A100: 3.2 times cheaper",
        verdict=(AMB,),
        reason="The division is right; it compares a 3B with a 7B model.",
        figures=(
            Figure(
                name="tokens per dollar",
                unit="x",
                quoted=3.2,
                right=3.2,
                compute=lambda: tokens_per_usd(4 * 800, 3.50) / tokens_per_usd(1000, 3.50),
            ),
        ),
    ),
    Record(
        id="D18",
        source="S4",
        what="A system prompt of 1,000 tokens in a million requests: a billion tokens",
        verdict=(OK,),
        reason="As printed; a prefix cache computes them once for each replica.",
        figures=(
            Figure(
                name="prompt tokens", quoted=1e9, right=1e9, compute=lambda: fixed(1000, 1).mean_prompt_tokens * 1e6
            ),
        ),
    ),
    Record(
        id="D19",
        source="S4",
        what="A system prompt of one sentence times 100, commented as 200 tokens",
        verdict=(ERR,),
        reason="600 words; at 0.75 words a token (S3) 800 tokens.",
        figures=(
            Figure(
                name="system prompt",
                unit="tokens",
                quoted=200,
                right=800,
                compute=lambda: len(SYSTEM_PROMPT.split()) * TOKENS_PER_WORD,
            ),
        ),
    ),
    Record(
        id="D20",
        source="S4",
        what="Padding a batch of 50, 150, 200 and 500 tokens wastes 75 % on the first request",
        verdict=(ERR,),
        reason="The first request is padded to 500: 90 %. The whole batch wastes 55 %.",
        figures=(
            Figure(
                name="waste of the first request",
                unit="%",
                quoted=75,
                right=90,
                compute=lambda: 100 * (1 - 50 / max(50, 150, 200, 500)),
                cause=lambda: 100 * (1 - 50 / 200),
                because="padding to 200, as if the fourth request were not there",
            ),
            Figure(
                name="waste of the batch",
                unit="%",
                right=55,
                compute=lambda: 100 * (1 - sum((50, 150, 200, 500)) / (4 * 500)),
            ),
        ),
    ),
    Record(
        id="D21",
        source="S4",
        what="Static batching: 10 beside 2,000 tokens idles 1,990 steps; 50 beside 500 idles 450",
        verdict=(OK,),
        reason="As printed.",
        figures=(
            Figure(name="10 beside 2,000", unit="steps", quoted=1990, right=1990, compute=lambda: max(10, 2000) - 10),
            Figure(name="50 beside 500", unit="steps", quoted=450, right=450, compute=lambda: max(50, 500) - 50),
        ),
    ),
    Record(
        id="D22",
        source="S4",
        what="A request of 50 tokens in a block of 2,048 wastes 96 %",
        verdict=(ERR,),
        reason="97.6 %: rounded generously.",
        figures=(Figure(name="waste", unit="%", quoted=96, right=97.56, compute=lambda: 100 * (1 - 50 / 2048)),),
    ),
    Record(
        id="D23",
        source="S4",
        what="Introduction: a $47,000 mistake, 8 times the estimate, direct revenue",
        verdict=(AMB,),
        reason="The prices and volumes it is computed from are lost on the page.",
        not_testable=(
            'No inputs are left: what remains is "GPT-4 was 60", "daily cost was 14,400" and "0 in direct revenue".'
        ),
    ),
)
