"""Which quantile of demand is planned for, and what it is when forecasts disagree."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.domain.plan import Candidate, Forecast
from inferencefleet.planning.forecasting.quantile import (
    HIGHEST_QUANTILE,
    normal_quantile,
    planning_quantile,
    pooled_quantile,
    upper_at,
    worth_planning_for,
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


def a_forecast(level: float = 100.0) -> Forecast:
    """Demand of 100 +- 10 requests/s, planned at the declared attainment of 0.9."""
    found = Forecast(
        horizon_s=150, level_per_s=level, trend_per_s2=0, noise_per_s=0, backlog_drain_per_s=0, upper_per_s=0,
        sentence="", quantile=0.9, candidates=(one(level, 10, 1.0),),
    )  # fmt: skip
    return replace(found, upper_per_s=upper_at(found, 0.9))


@pytest.mark.parametrize(
    ("paid", "spot", "rate", "quantile", "why"),
    [
        (500, 0, 130.9, HIGHEST_QUANTILE, "all that the past can tell fits into what is paid already"),
        (120, 0, 120, HIGHEST_QUANTILE, "what is paid is filled, and no more is bought for it"),
        (50, 0, 112.8, 0.9, "the declared attainment is bought at any price"),
        (50, 500, 120.2, 0.978, "spot at a fifth of the price is worth more certainty than on-demand"),
        (118, 500, 120.2, 0.978, "beyond what is paid, spot is worth it a little further"),
    ],
)
def test_every_price_is_planned_for_up_to_its_own_quantile(
    paid: float, spot: float, rate: float, quantile: float, why: str
) -> None:
    offers = ((0.0, paid), (0.78, spot), (3.9, 1e6))
    found, level = worth_planning_for(a_forecast(), offers, attainment=0.9, reference_price=3.9)
    assert found == pytest.approx(rate, abs=0.1), why
    assert level == pytest.approx(quantile, abs=0.003), why


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 200)), max_size=5), st.floats(0.5, 0.99))
def test_more_to_choose_from_is_never_planned_with_less_than_the_declared_attainment(
    offers: list[tuple[float, float]], attainment: float
) -> None:
    declared = a_forecast()
    found, level = worth_planning_for(declared, offers, attainment=attainment, reference_price=4.0)
    assert found >= declared.upper_per_s
    assert found <= upper_at(declared, HIGHEST_QUANTILE) + 1e-6
    assert level >= declared.quantile or level >= attainment


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
