"""When own GPUs are cheaper than an API, checked against a plain search over volumes."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inferencefleet.economics.break_even import BreakEven, OwnGpus, break_even, break_even_tokens_per_month
from inferencefleet.economics.dollars import tokens_per_s_for

MONTH_S = 730 * 3600


def gpus(requests_per_month: float, usd_per_month: float, operations: float = 0.0, least: int = 1) -> OwnGpus:
    return OwnGpus(
        usd_per_gpu_hour=usd_per_month / 730,
        requests_per_s=requests_per_month / MONTH_S,
        operations_usd_per_month=operations,
        least_replicas=least,
    )


def searched(own: OwnGpus, api: float, top: int) -> list[int]:
    """Whole volumes up to `top` at which own GPUs cost no more."""
    return [m for m in range(1, top) if own.usd_per_month_for(m) <= api * m * (1 + 1e-12)]


def test_one_replica_that_pays_breaks_even_at_its_cost_over_the_api_price() -> None:
    found = break_even(gpus(1000, 300), api_usd_per_request=1.0)
    assert found.requests_per_month == pytest.approx(300)
    assert found.replicas == 1
    assert found.uncapped_requests_per_month == pytest.approx(300)
    assert "From 300 requests a month on 1 replica, each full at 1,000" in found.sentence


def test_a_replica_that_cannot_earn_its_rent_never_breaks_even_and_says_why() -> None:
    found = break_even(gpus(1000, 1200), api_usd_per_request=1.0)
    assert found.requests_per_month is None
    assert found.saving_of_full_replica_usd_per_month == pytest.approx(-200)
    assert found.uncapped_requests_per_month == pytest.approx(1200)
    assert "the API charges $1,000, and costs $1,200" in found.sentence


def test_operations_may_need_several_full_replicas_to_pay_for_them() -> None:
    found = break_even(gpus(1000, 900, operations=250), api_usd_per_request=1.0)
    assert found.replicas == 3
    assert found.requests_per_month == pytest.approx(250 + 3 * 900)
    assert found.uncapped_requests_per_month == pytest.approx(1150)


@given(
    full=st.integers(5, 40),
    cost=st.floats(0.5, 30),
    operations=st.floats(0, 60),
    least=st.integers(1, 3),
)
def test_the_answer_is_that_of_a_search_over_all_volumes(full: int, cost: float, operations: float, least: int) -> None:
    own = gpus(full, cost, operations, least)
    assume(full - cost > 0.5)
    found = break_even(own, 1.0)
    assert found.requests_per_month is not None
    assert found.always_from_requests_per_month is not None
    assume(found.always_from_requests_per_month < 20_000)
    cheaper = searched(own, 1.0, math.ceil(found.always_from_requests_per_month) + 3 * full)
    assert cheaper[0] >= found.requests_per_month - 1e-6
    # Volumes are whole in the search: the first whole one after the answer, unless the next replica starts before it.
    assert cheaper[0] <= math.ceil(found.always_from_requests_per_month - 1e-6)
    dearer = set(range(1, cheaper[-1])) - set(cheaper)
    assert max(dearer, default=0) < found.always_from_requests_per_month + 1e-6


@given(cost=st.floats(10, 1000), full=st.floats(1, 2000))
def test_the_capped_answer_is_never_below_the_usual_one(cost: float, full: float) -> None:
    found: BreakEven = break_even(gpus(full, cost, operations=100), api_usd_per_request=1.0)
    if found.requests_per_month is not None:
        assert found.requests_per_month >= found.uncapped_requests_per_month * (1 - 1e-9)


def test_own_gpus_that_pay_under_steady_traffic_may_never_pay_under_swings() -> None:
    # Full, a replica serves 3.6 requests an hour: $1.08 at the API for $1 of GPU; half full, $0.54.
    steady = OwnGpus(usd_per_gpu_hour=1, requests_per_s=0.001)
    swinging = OwnGpus(usd_per_gpu_hour=1, requests_per_s=0.001, utilisation=0.5)
    assert break_even(steady, 0.3).requests_per_month == pytest.approx(730 / 0.3)
    assert break_even(swinging, 0.3).requests_per_month is None
    assert break_even(swinging, 0.6).requests_per_month == pytest.approx(730 / 0.6)


def test_tokens_at_break_even_spread_over_the_month_are_the_speed_at_which_the_price_is_met() -> None:
    tokens = break_even_tokens_per_month(730 * 3.5, 0.9)
    assert tokens / MONTH_S == pytest.approx(tokens_per_s_for(3.5, 0.9))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"usd_per_gpu_hour": 0}, "usd_per_gpu_hour"),
        ({"requests_per_s": 0}, "requests_per_s"),
        ({"hours_per_month": -1}, "hours_per_month"),
        ({"utilisation": 70}, "utilisation"),
        ({"gpus_per_replica": 0}, "gpus_per_replica"),
        ({"least_replicas": 0}, "least_replicas"),
        ({"operations_usd_per_month": -5}, "operations_usd_per_month"),
    ],
)
def test_bad_gpus_are_refused_by_field(change: dict[str, float], field: str) -> None:
    values = {"usd_per_gpu_hour": 1.0, "requests_per_s": 1.0} | change
    with pytest.raises(ValueError, match=rf"^{field} = .*must be "):
        OwnGpus(**values)  # type: ignore[arg-type]


def test_a_free_api_is_refused() -> None:
    with pytest.raises(ValueError, match="a free API is always cheaper"):
        break_even(gpus(10, 1), 0.0)
    with pytest.raises(ValueError, match="give a price"):
        break_even_tokens_per_month(100, 0.0)
