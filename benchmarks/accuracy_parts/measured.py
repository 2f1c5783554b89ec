"""What a row measured, as the four quantities that are compared. Seconds and tokens/s of one replica."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.accuracy_parts.cases import Case, Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """None where the row does not hold the quantity."""

    itl_s: float | None
    """Mean time between tokens after the first."""
    ttft_s: float | None
    ttft_is_median: bool
    output_tokens_per_s: float | None
    throughput_is_derived: bool
    """True when only latencies were measured: by Little's law, which holds within 2.4 % where both are known."""
    e2e_s: float | None


def measured(case: Case) -> Measured:
    """The quantities of one row; a mean is preferred, then a median, then what other columns imply."""
    row = case.row
    ttft = row.ttft_mean_s or row.ttft_p50_s
    e2e = row.e2e_mean_s or row.e2e_p50_s
    after_first = (row.osl or 0) * _real_length(case) - 1
    itl = row.tpot_mean_s or row.tpot_p50_s
    if not itl and after_first > 0:
        itl = _difference(row.e2e_mean_s, row.ttft_mean_s, after_first) or _difference(
            row.e2e_p50_s, row.ttft_p50_s, after_first
        )
    itl = itl or row.itl_p50_s
    tokens, derived = _throughput(case, itl, ttft)
    return Measured(
        itl_s=itl or None,
        ttft_s=ttft or None,
        ttft_is_median=not row.ttft_mean_s,
        output_tokens_per_s=tokens,
        throughput_is_derived=derived,
        e2e_s=e2e or None,
    )


def _throughput(case: Case, itl: float | None, ttft: float | None) -> tuple[float | None, bool]:
    """Output tokens/s of one replica, and whether Little's law had to stand in."""
    row, replicas = case.row, case.replicas
    prompt, output = case.lengths.mean_prompt_tokens, case.lengths.mean_output_tokens
    if row.out_tok_s:
        return row.out_tok_s / replicas, False
    if row.req_per_s:
        return row.req_per_s * output / replicas, False
    if row.total_tok_s:
        return row.total_tok_s * output / (prompt + output) / replicas, False
    if case.load is Load.CLOSED and itl and ttft:
        return case.clients * output / (ttft + (output - 1) * itl), True
    return None, False


def _real_length(case: Case) -> float:
    """Mean real output over the nominal one."""
    return case.lengths.mean_output_tokens / case.row.osl if case.row.osl else 1.0


def _difference(whole: float | None, first: float | None, tokens: float) -> float | None:
    if not whole or not first or whole <= first:
        return None
    return (whole - first) / tokens
