"""Speculative decoding (sizing physics 1.9): drafted tokens are verified together, in a step that costs more.

With k drafted tokens, each accepted with probability a when those before it were, a step yields

    E[tokens] = 1 + a + ... + a^k = (1 - a^(k+1)) / (1 - a)
    T         = T_step(m = n (k + 1)) + k T_draft(n)

Everything here is an assumption until it is measured: acceptance changes with the prompts and the temperature. In the
one public comparison under load (Llama-3.1-8B with EAGLE-3 and k = 4, vLLM 0.11, H100; inference-perf, KubeCon NA 2025)
drafts cost capacity, 73 instead of 106 requests/s: the time between steps was 1.13-1.16 times the time per token, so
that a step gave 1.14 tokens, an acceptance of 1 in 8. At that acceptance the formulas above give 70 requests/s.
"""

from __future__ import annotations

from inferencefleet.domain.capacity import Speculation
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.weights import parameters

LEAST_ACCEPTANCE = 0.6
"""Below it drafts rarely pay; sampling at temperature 1 with k = 5 has .4-.5 (field guidance, not measured here)."""
MOST_CONCURRENT = 50.0
"""Above it the verified tokens compete for compute with other requests (field guidance, not measured here)."""


def tokens_per_step(speculation: Speculation | None) -> float:
    """Mean tokens that one sequence gains in one step, 1 to k + 1; 1 without speculation."""
    if speculation is None:
        return 1.0
    return sum(speculation.acceptance**drafted for drafted in range(speculation.draft_tokens + 1))


def verified_tokens(speculation: Speculation | None) -> int:
    """Tokens that one decoding sequence brings to a step: its own and the drafted ones."""
    return 1 if speculation is None else 1 + speculation.draft_tokens


def drafting_share(speculation: Speculation | None) -> float:
    """k T_draft / T_step: time of drafting as a share of a decode step without speculation."""
    return 0.0 if speculation is None else speculation.draft_tokens * speculation.draft_cost_ratio


def tpot_s(itl_s: float, speculation: Speculation | None) -> float:
    """Mean time per output token where `itl_s` is the time between steps, which is what vLLM's ITL metric shows."""
    return itl_s / tokens_per_step(speculation)


def drafter_cost_ratio(target: ModelSpec, drafter: ModelSpec) -> float:
    """T_draft / T_step of a separate draft model: at small batches both read the weights of one token."""
    return min(1.0, parameters(drafter).active / parameters(target).active)


def one_layer_cost_ratio(target: ModelSpec) -> float:
    """T_draft / T_step of EAGLE and of multi-token prediction: one layer of the model and its output head."""
    count = parameters(target)
    layers = count.active - count.head
    return (layers / target.layers + count.head) / count.active


def heads_cost_ratio(target: ModelSpec) -> float:
    """T_draft / T_step of Medusa, for each drafted token: a square layer and an output head of its own."""
    count = parameters(target)
    return (target.hidden**2 + count.head) / count.active


def warnings(speculation: Speculation, concurrency: float) -> tuple[str, ...]:
    """What speaks against speculation at this load, in sentences."""
    found = []
    if speculation.acceptance < LEAST_ACCEPTANCE:
        found.append(
            f"Speculative decoding assumes an acceptance of {speculation.acceptance:g}: below {LEAST_ACCEPTANCE:g} "
            "drafts rarely pay for their verification; measure it, or remove spec.engine.speculative."
        )
    if concurrency > MOST_CONCURRENT:
        found.append(
            f"{concurrency:.0f} requests run at once: above about {MOST_CONCURRENT:.0f} verifying drafts takes compute "
            "from other requests; speculative decoding is for few requests at low latency."
        )
    return tuple(found)
