"""Which quantile of demand is planned for, and what it is when forecasts disagree."""

from __future__ import annotations

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.domain.plan import Candidate
from inferencefleet.planning.forecasting.quantile import (
    HIGHEST_QUANTILE,
    normal_quantile,
    planning_quantile,
    pooled_quantile,
)


@pytest.mark.parametrize("attainment", [0.5, 0.9, 0.99])
def test_at_the_reference_price_the_declared_attainment_is_what_is_planned_for(attainment: float) -> None:
    assert planning_quantile(attainment, next_price=3.9, reference_price=3.9) == pytest.approx(attainment)


def test_a_cheaper_next_replica_is_worth_more_certainty_and_a_dearer_one_never_less() -> None:
    spot = planning_quantile(0.99, next_price=1.3, reference_price=3.9)
    assert spot == pytest.approx(99 / (99 + 1 / 3), rel=1e-6), "short costs 99 times the reference, over a third of it"
    assert planning_quantile(0.99, next_price=39, reference_price=3.9) == 0.99


def test_a_replica_that_is_paid_already_is_worth_as_much_as_the_past_can_tell() -> None:
    assert planning_quantile(0.9, next_price=0, reference_price=3.9) == HIGHEST_QUANTILE
    assert planning_quantile(0.9, next_price=0, reference_price=0) == HIGHEST_QUANTILE


@pytest.mark.parametrize(
    ("attainment", "over", "short", "words"),
    [(1.0, 1, 1, "attainment=1.0"), (0.0, 1, 1, "attainment=0.0"), (0.9, -1, 1, "must not be negative")],
)
def test_impossible_terms_are_refused_by_name(attainment: float, over: float, short: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        planning_quantile(attainment, next_price=over, reference_price=short)


prices = st.floats(0, 100)


@given(st.floats(0.5, 0.998), prices, prices, prices)
def test_more_expensive_spare_never_raises_the_quantile(
    attainment: float, cheap: float, more: float, reference: float
) -> None:
    low, high = (
        planning_quantile(attainment, next_price=price, reference_price=reference) for price in (cheap + more, cheap)
    )
    assert attainment <= low <= high <= HIGHEST_QUANTILE


def one(location: float, deviation: float, weight: float) -> Candidate:
    return Candidate(name="any", location_per_s=location, deviation_per_s=deviation, weight=weight)


def test_forecasts_that_agree_give_the_quantile_of_each() -> None:
    both = [one(10, 2, 0.3), one(10, 2, 0.7)]
    assert pooled_quantile(both, 0.9, 1.0) == pytest.approx(10 + 2 * NormalDist().inv_cdf(0.9))
    assert pooled_quantile(both, 0.9, 2.0) == pytest.approx(10 + 4 * NormalDist().inv_cdf(0.9))


def test_a_forecast_with_more_weight_than_the_tail_must_be_covered() -> None:
    """A fifth of the say goes to one that expects 30: a bound that holds in 95 % of cases cannot stay at 10."""
    split = [one(10, 1, 0.8), one(30, 1, 0.2)]
    assert pooled_quantile(split, 0.95, 1.0) > 29
    assert pooled_quantile(split, 0.75, 1.0) < 13


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e3), st.floats(0.01, 1)), min_size=1, max_size=5),
    st.floats(0.5, 0.999),
)
def test_the_quantile_lies_between_the_candidates_own_and_holds_their_share(
    parts: list[tuple[float, float, float]], level: float
) -> None:
    total = sum(weight for *_, weight in parts)
    candidates = [one(location, deviation, weight / total) for location, deviation, weight in parts]
    found = pooled_quantile(candidates, level, 1.0)
    own = [each.location_per_s + normal_quantile(level) * each.deviation_per_s for each in candidates]
    assert min(own) - 1e-9 <= found <= max(own) + 1e-9
    below = sum(
        each.weight * NormalDist(each.location_per_s, max(each.deviation_per_s, 1e-9)).cdf(found + 1e-6)
        for each in candidates
    )
    assert below >= level - 1e-3
