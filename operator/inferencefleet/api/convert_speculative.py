"""`spec.engine.speculative` -> `domain.SpeculativeTerms`: what drafting costs comes from the shapes of both models."""

from __future__ import annotations

from inferencefleet import catalog
from inferencefleet.api.fleet_engine import SpeculativeBlock
from inferencefleet.api.problems import problem
from inferencefleet.domain.capacity import Speculation
from inferencefleet.domain.fleet import Problem, SpeculativeMethod, SpeculativeTerms
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.speculation import drafter_cost_ratio, heads_cost_ratio, one_layer_cost_ratio


def speculative_terms(block: SpeculativeBlock | None, target: ModelSpec) -> SpeculativeTerms | Problem | None:
    """None when the fleet does not speculate; a problem when the cost of drafting cannot be known."""
    if block is None:
        return None
    ratio = block.draft_cost_ratio
    if ratio is None:
        found = _cost_ratio(block, target)
        if isinstance(found, Problem):
            return found
        ratio = found
    return SpeculativeTerms(
        method=block.method,
        draft_model=block.model,
        assumed=Speculation(draft_tokens=block.tokens, acceptance=block.acceptance, draft_cost_ratio=ratio),
    )


def _cost_ratio(block: SpeculativeBlock, target: ModelSpec) -> float | Problem:
    if block.method is SpeculativeMethod.NGRAM:
        return 0.0
    if block.method is SpeculativeMethod.MEDUSA:
        return heads_cost_ratio(target)
    if block.method is not SpeculativeMethod.DRAFT_MODEL:
        return one_layer_cost_ratio(target)
    assert block.model is not None  # a draft model without a name was refused before
    try:
        drafter = catalog.model(block.model)
    except catalog.UnknownModel as error:
        way_out = "Give spec.engine.speculative.draftCostRatio: its parameters over those of the model is a fair guess."
        return problem("spec.engine.speculative.model", block.model, f"{error} {way_out}", code="UnknownModel")
    if drafter.vocab != target.vocab:
        rule = (
            f"has a vocabulary of {drafter.vocab:,} tokens, and {target.id} has {target.vocab:,}: vLLM refuses a draft "
            f"model of another vocabulary; choose a smaller model of the same family."
        )
        return problem("spec.engine.speculative.model", block.model, rule)
    return drafter_cost_ratio(target, drafter)
