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
from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.kv import bytes_per_token
from inferencefleet.physics.weights import BYTES_PER_WEIGHT, parameters, weights_bytes

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


def prompt_lookup(tokens: int, acceptance: float) -> Speculation:
    """N-gram drafts: found in the prompt, at no cost worth counting."""
    return Speculation(draft_tokens=tokens, acceptance=acceptance)


def with_drafter(target: ModelSpec, drafter: ModelSpec, tokens: int, acceptance: float) -> Speculation:
    """A separate draft model: at small batches both read the weights of one token, and both keep a cache."""
    ratio = parameters(drafter).active / parameters(target).active
    own = bytes_per_token(target, NumberFormat.BF16)
    return Speculation(
        draft_tokens=tokens,
        acceptance=acceptance,
        draft_cost_ratio=min(1.0, ratio),
        draft_weights_bytes=weights_bytes(drafter, drafter.native_weights),
        draft_kv_ratio=bytes_per_token(drafter, NumberFormat.BF16) / own if own else 0.0,
    )


def with_share(target: ModelSpec, share: float, tokens: int, acceptance: float) -> Speculation:
    """A draft model of unknown shape: its share of a step is taken for its share of weights and cache as well."""
    return Speculation(
        draft_tokens=tokens,
        acceptance=acceptance,
        draft_cost_ratio=share,
        draft_weights_bytes=share * weights_bytes(target, target.native_weights),
        draft_kv_ratio=share,
    )


def with_one_layer(target: ModelSpec, tokens: int, acceptance: float) -> Speculation:
    """EAGLE and multi-token prediction: one more layer of the model, which shares the output head."""
    count = parameters(target)
    layer = (count.active - count.head) / target.layers
    return Speculation(
        draft_tokens=tokens,
        acceptance=acceptance,
        draft_cost_ratio=(layer + count.head) / count.active,
        draft_weights_bytes=BYTES_PER_WEIGHT[NumberFormat.BF16] * (count.dense + count.experts) / target.layers,
        draft_kv_ratio=1 / target.layers,
    )


def with_heads(target: ModelSpec, tokens: int, acceptance: float) -> Speculation:
    """Medusa: for each drafted token a square layer and an output head of its own, without a cache."""
    count = parameters(target)
    head = target.hidden**2 + count.head
    return Speculation(
        draft_tokens=tokens,
        acceptance=acceptance,
        draft_cost_ratio=head / count.active,
        draft_weights_bytes=BYTES_PER_WEIGHT[NumberFormat.BF16] * tokens * head,
    )


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
