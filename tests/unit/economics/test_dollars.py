"""Dollars and tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferencefleet.economics.budget import Workload, roll_up
from inferencefleet.economics.dollars import (
    ApiPrice,
    blended_usd_per_million_tokens,
    discounted,
    tokens_per_s_for,
    tokens_per_s_per_gb,
    tokens_per_s_per_usd_hour,
    tokens_per_usd,
    usd_hour_per_gb,
    usd_per_million_tokens,
    usd_per_month,
    usd_per_request,
)

PRICE = st.floats(0.01, 1000)
SPEED = st.floats(0.1, 1e6)


@given(price=PRICE, speed=SPEED)
def test_a_dollar_buys_a_million_over_the_price_of_a_million(price: float, speed: float) -> None:
    assert tokens_per_usd(speed, price) == pytest.approx(1e6 / usd_per_million_tokens(price, speed))


@given(price=PRICE, speed=SPEED)
def test_speed_and_price_of_a_million_are_each_others_inverse(price: float, speed: float) -> None:
    assert tokens_per_s_for(price, usd_per_million_tokens(price, speed)) == pytest.approx(speed)


@given(price=PRICE, speed=SPEED)
def test_tokens_a_second_for_a_dollar_an_hour_are_3600_times_fewer_than_tokens_for_a_dollar(
    price: float, speed: float
) -> None:
    assert 3600 * tokens_per_s_per_usd_hour(speed, price) == pytest.approx(tokens_per_usd(speed, price))


def test_a_request_costs_its_prompt_and_its_output() -> None:
    price = ApiPrice(usd_per_million_prompt_tokens=1.0, usd_per_million_output_tokens=4.0)
    assert price.usd_per_request(500_000, 0) == 0.5
    assert price.usd_per_request(0, 500_000) == 2.0


def test_a_month_is_730_hours_unless_said_otherwise() -> None:
    assert usd_per_month(2.0, 3) == 2.0 * 3 * 730
    assert usd_per_month(2.0, 3, hours_per_month=720) == 4320


def test_density_is_per_decimal_gigabyte() -> None:
    assert tokens_per_s_per_gb(1600, 80e9) == 20
    assert usd_hour_per_gb(4, 80e9) == 0.05


@given(share=st.floats(0, 1), small=PRICE, large=PRICE)
def test_a_blend_lies_between_its_two_prices(share: float, small: float, large: float) -> None:
    blend = blended_usd_per_million_tokens(share, small, large)
    assert min(small, large) * (1 - 1e-9) <= blend <= max(small, large) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: usd_per_million_tokens(2, 0), "tokens_per_s"),
        (lambda: tokens_per_usd(100, 0), "usd_per_hour"),
        (lambda: tokens_per_s_for(2, -1), "target_usd_per_million_tokens"),
        (lambda: usd_per_request(10, 0), "requests_per_month"),
        (lambda: blended_usd_per_million_tokens(60, 0.2, 0.8), "share_small"),
        (lambda: discounted(3.5, 40), "off"),
        (lambda: tokens_per_s_per_gb(10, 0), "memory_bytes"),
    ],
)
def test_a_value_without_meaning_is_refused_by_name(call: Callable[[], float], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field} = .*must be .*; "):
        call()


def a_workload(name: str, work: str, gpus: int, hours: float) -> Workload:
    return Workload(name=name, work=work, gpu="L40S", gpus=gpus, hours_per_month=hours, usd_per_gpu_hour=1.0)


def test_a_budget_adds_up_by_workload_and_by_class_of_work() -> None:
    budget = roll_up(
        [
            a_workload("chat", "inference", 2, 730),
            a_workload("search", "inference", 1, 730),
            a_workload("tests", "experimentation", 1, 110),
        ]
    )
    assert budget.usd_per_month == 2300
    assert [(line.name, line.usd_per_month) for line in budget.classes] == [
        ("inference", 2190),
        ("experimentation", 110),
    ]
    assert sum(line.share for line in budget.workloads) == pytest.approx(1)
    assert budget.workloads[0].share == pytest.approx(1460 / 2300)


def test_an_empty_budget_costs_nothing() -> None:
    assert roll_up([]).usd_per_month == 0
    assert roll_up([a_workload("idle", "inference", 0, 0)]).workloads[0].share == 0


def test_a_negative_workload_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="workload 'chat': gpus = -1"):
        a_workload("chat", "inference", -1, 730)
