"""A fleet that speculates is sized as one."""

from __future__ import annotations

from dataclasses import replace

from inferencefleet.domain.capacity import Confidence, Speculation
from inferencefleet.domain.fleet import SpeculativeMethod, SpeculativeTerms
from inferencefleet.planning.size import size
from tests.builders import a_fleet, a_mix, a_pool, a_workload

PLAIN = a_fleet()
ASSUMED = Speculation(draft_tokens=4, acceptance=0.7, draft_cost_ratio=0.04)
TERMS = SpeculativeTerms(method=SpeculativeMethod.EAGLE3, draft_model="acme/eagle3", assumed=ASSUMED)
DRAFTED = a_fleet(engine=replace(PLAIN.engine, speculative=TERMS))


def test_replicas_that_are_chosen_and_replicas_that_run_both_speculate() -> None:
    (chosen,) = size(DRAFTED, [a_pool()], (), a_mix())
    (kept,) = size(DRAFTED, [a_pool()], (a_workload("reserved", 1, 8),), a_mix())
    assert chosen.shape.speculation == kept.shape.speculation == ASSUMED
    assert kept.shape.tensor_parallel == 8


def test_the_plan_says_that_it_trusts_speculation_little() -> None:
    (plain,) = size(PLAIN, [a_pool()], (), a_mix())
    (drafted,) = size(DRAFTED, [a_pool()], (), a_mix())
    assert plain.shape.speculation is None
    assert drafted.capacity.confidence is Confidence.LOW
    assert "Speculative decoding is assumed to have 70% of drafts accepted" in drafted.capacity.caveats[0]
    assert drafted.capacity.requests_per_s != plain.capacity.requests_per_s
