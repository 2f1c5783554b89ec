"""`spec.engine.speculative` -> `domain.SpeculativeTerms`: what drafting costs comes from the shapes of both models."""

from __future__ import annotations

from dataclasses import replace

from inferencefleet import catalog
from inferencefleet.api.fleet_engine import SpeculativeBlock
from inferencefleet.api.problems import problem
from inferencefleet.domain.capacity import Speculation
from inferencefleet.domain.fleet import Problem, SpeculativeMethod, SpeculativeTerms
from inferencefleet.domain.model import ModelSpec
from inferencefleet.physics.speculation import prompt_lookup, with_drafter, with_heads, with_one_layer, with_share


def speculative_terms(block: SpeculativeBlock | None, target: ModelSpec) -> SpeculativeTerms | Problem | None:
    """None when the fleet does not speculate; a problem when the cost of drafting cannot be known."""
    if block is None:
        return None
    assumed = _assumed(block, target)
    if isinstance(assumed, Problem):
        return assumed
    if block.draft_cost_ratio is not None:
        assumed = replace(assumed, draft_cost_ratio=block.draft_cost_ratio)
    return SpeculativeTerms(method=block.method, draft_model=block.model, assumed=assumed)


def _assumed(block: SpeculativeBlock, target: ModelSpec) -> Speculation | Problem:
    if block.method is SpeculativeMethod.NGRAM:
        return prompt_lookup(block.tokens, block.acceptance)
    if block.method is SpeculativeMethod.MEDUSA:
        return with_heads(target, block.tokens, block.acceptance)
    if block.method is not SpeculativeMethod.DRAFT_MODEL:
        return with_one_layer(target, block.tokens, block.acceptance)
    assert block.model is not None  # a draft model without a name was refused before
    return _draft_model(block, block.model, target)


def _draft_model(block: SpeculativeBlock, name: str, target: ModelSpec) -> Speculation | Problem:
    try:
        drafter = catalog.model(name)
    except catalog.UnknownModel as error:
        if block.draft_cost_ratio is not None:
            return with_share(target, block.draft_cost_ratio, block.tokens, block.acceptance)
        way_out = "Give spec.engine.speculative.draftCostRatio: its parameters over those of the model is a fair guess."
        return problem("spec.engine.speculative.model", name, f"{error} {way_out}", code="UnknownModel")
    if drafter.vocab != target.vocab:
        rule = (
            f"has a vocabulary of {drafter.vocab:,} tokens, and {target.id} has {target.vocab:,}: vLLM refuses a draft "
            f"model of another vocabulary; choose a smaller model of the same family."
        )
        return problem("spec.engine.speculative.model", name, rule)
    return with_drafter(target, drafter, block.tokens, block.acceptance)
