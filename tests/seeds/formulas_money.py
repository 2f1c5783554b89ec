"""Formulas of the sources that count dollars."""

from __future__ import annotations

from inferencefleet.economics.break_even import break_even
from inferencefleet.economics.dollars import (
    HOURS_PER_30_DAYS,
    blended_usd_per_million_tokens,
    tokens_per_s_for,
    tokens_per_s_per_gb,
    tokens_per_s_per_usd_hour,
    tokens_per_usd,
    usd_hour_per_gb,
    usd_per_million_tokens,
    usd_per_month,
    usd_per_request,
)
from tests.seeds.examples_s1 import L40S_S1, budget, mini_usd
from tests.seeds.record import Figure, Record, Verdict

OK, ERR, PHYS, AMB = Verdict.OK, Verdict.ERR, Verdict.PHYS, Verdict.AMB


RECORDS: tuple[Record, ...] = (
    Record(
        id="B1",
        source="S0",
        what="TPD = tokens per second / hourly cost",
        verdict=(ERR,),
        reason=(
            "The printed formula gives tokens/s per $/h; its worked numbers are tokens per dollar, 3,600 times as many."
        ),
        figures=(
            Figure(
                name="A100, 68 tok/s at $2.99/h",
                unit="tokens/$",
                quoted=22.74,
                right=81_873,
                compute=lambda: tokens_per_usd(68, 2.99),
                cause=lambda: tokens_per_s_per_usd_hour(68, 2.99),
                because="no 3,600 s in the formula",
            ),
        ),
    ),
    Record(
        id="B2",
        source="S0",
        what="efficiency_score = tok/s per GB of VRAM; cost_density = $/h per GB; throughput_adjusted (not defined)",
        verdict=(OK,),
        reason="Definitions. Neither says what a token costs; the product ranks by dollars at the SLO.",
        figures=(
            Figure(
                name="A100 80 GB, 68 tok/s",
                unit="tok/s per GB",
                right=0.85,
                compute=lambda: tokens_per_s_per_gb(68, 80e9),
            ),
            Figure(
                name="A100 80 GB, $2.99/h", unit="$/h per GB", right=0.0374, compute=lambda: usd_hour_per_gb(2.99, 80e9)
            ),
        ),
    ),
    Record(
        id="B5",
        source="S1",
        what="API $/request = prompt/1e6 x price + output/1e6 x price",
        verdict=(OK,),
        reason="`ApiPrice.usd_per_request`.",
        figures=(
            Figure(name="800 + 300 tokens at $0.15/$0.60", unit="$", quoted=0.0003, right=0.0003, compute=mini_usd),
        ),
    ),
    Record(
        id="B6",
        source="S1",
        what="Self-hosted $/request = ($/h x 730 x GPUs + operations) / requests",
        verdict=(OK,),
        reason="S4 counts 720 hours a month; both are available, 730 is the default.",
        figures=(
            Figure(
                name="L40S, 500,000 requests, 730 h",
                unit="$",
                quoted=0.00334,
                right=0.003336,
                compute=lambda: usd_per_request(usd_per_month(1.60) + 500, 500_000),
            ),
            Figure(
                name="the same with 720 h",
                unit="$",
                right=0.003304,
                compute=lambda: usd_per_request(usd_per_month(1.60, 1, HOURS_PER_30_DAYS) + 500, 500_000),
            ),
        ),
    ),
    Record(
        id="B7",
        source="S1",
        what="Break-even requests = fixed cost / API $/request",
        verdict=(PHYS,),
        reason="It lets one GPU serve any volume. `break_even` caps it: see D3.",
        figures=(
            Figure(
                name="L40S against GPT-4o-mini",
                quoted="5,560,000 requests/month",
                right="never",
                compute=lambda: "never" if break_even(L40S_S1, mini_usd()).requests_per_month is None else "yes",
            ),
        ),
    ),
    Record(
        id="B8",
        source="S1",
        what="Workload $/month = GPUs x hours x $/GPU-h; share of the total",
        verdict=(OK,),
        reason="`roll_up`. The printed total is wrong: see D4.",
        figures=(
            Figure(
                name="2 L40S",
                unit="$/month",
                quoted=2336,
                right=2336,
                compute=lambda: budget().workloads[0].usd_per_month,
            ),
        ),
    ),
    Record(
        id="B17",
        source="S4",
        what="$/M tokens = $/h / (tok/s x 3600) x 1e6; tok/s for a target = $/s x 1e6 / target",
        verdict=(OK,),
        reason="`usd_per_million_tokens` and `tokens_per_s_for`.",
        figures=(
            Figure(
                name="$3.50/h at 1,000 tok/s",
                unit="$/M",
                right=0.9722,
                compute=lambda: usd_per_million_tokens(3.5, 1000),
            ),
            Figure(
                name="speed for $1.00/M",
                unit="tok/s",
                quoted=972,
                right=972.2,
                compute=lambda: tokens_per_s_for(3.5, 1.0),
            ),
        ),
    ),
    Record(
        id="B22",
        source="S4",
        what="Blended price of a cascade = p small + (1 - p) large",
        verdict=(OK,),
        reason="Requests that fall through to the large model cost both; the source leaves them out too.",
        figures=(
            Figure(
                name="50 % at $0.20, 50 % at $0.80",
                unit="$/M",
                quoted=0.50,
                right=0.50,
                compute=lambda: blended_usd_per_million_tokens(0.5, 0.2, 0.8),
            ),
        ),
    ),
    Record(
        id="B26",
        source="S4",
        what="Self-hosted month = $/h x 720",
        verdict=(OK,),
        reason="`usd_per_month` with 720 hours.",
        figures=(
            Figure(
                name="A100 at $3.50/h",
                unit="$/month",
                quoted=2520,
                right=2520,
                compute=lambda: usd_per_month(3.5, 1, HOURS_PER_30_DAYS),
            ),
        ),
    ),
)
