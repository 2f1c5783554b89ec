"""Step 6: one reason for the whole decision."""

from __future__ import annotations

import pytest

from inferencefleet.domain.plan import Demand, Forecast, Reason, Verdict
from inferencefleet.domain.pool import CapacityType
from inferencefleet.planning.explain import PRECEDENCE, hourly_costs, main_reason
from tests.builders import a_mix, a_pool, a_sizing


def demand(observed: bool = True) -> Demand:
    return Demand(
        arrivals_per_s=10, backlog_requests=0, observed=observed, lengths=a_mix(), sentence="10.00 req/s arrive"
    )


def ahead(trend: float = 0.0, drain: float = 0.0) -> Forecast:
    return Forecast(
        horizon_s=100,
        level_per_s=10,
        trend_per_s2=trend,
        noise_per_s=1,
        backlog_drain_per_s=drain,
        upper_per_s=12,
        sentence="12.00 req/s in 100 s",
    )


def said(*codes: Reason) -> list[Verdict]:
    return [Verdict(code=code, sentence=f"because {code}") for code in codes]


@pytest.mark.parametrize("code", PRECEDENCE)
def test_a_clamp_is_the_reason_and_brings_its_own_sentence(code: Reason) -> None:
    assert main_reason(said(Reason.POOL_LIMIT, code), demand(), ahead(), before=3, after=5) == (code, f"because {code}")


def test_what_hurts_most_is_said_first() -> None:
    verdicts = said(Reason.STABILIZING, Reason.REPLACING_DOOMED, Reason.METRICS_MISSING)
    assert main_reason(verdicts, demand(), ahead(), before=3, after=3)[0] is Reason.METRICS_MISSING


@pytest.mark.parametrize(
    ("before", "after", "trend", "drain", "reason"),
    [
        (3, 3, 0.0, 0.0, Reason.DEMAND_MET),
        (3, 5, 0.0, 0.0, Reason.SCALED_UP),
        (3, 5, 0.1, 0.0, Reason.RAMP_AHEAD),
        (3, 3, 0.1, 0.0, Reason.DEMAND_MET),
        (5, 3, 0.0, 0.0, Reason.SCALED_DOWN),
        (3, 5, 0.1, 2.0, Reason.BACKLOG_DRAIN),
    ],
)
def test_without_a_clamp_demand_is_the_reason(
    before: int, after: int, trend: float, drain: float, reason: Reason
) -> None:
    assert main_reason([], demand(), ahead(trend, drain), before=before, after=after)[0] is reason


def test_a_window_that_lets_some_replicas_go_has_scaled_down() -> None:
    assert main_reason(said(Reason.STABILIZING), demand(), ahead(), before=5, after=4)[0] is Reason.SCALED_DOWN


def test_declared_traffic_is_named_as_such() -> None:
    reason, sentence = main_reason([], demand(observed=False), ahead(), before=0, after=3)
    assert (reason, sentence) == (Reason.DECLARED_TRAFFIC, "10.00 req/s arrive")


def test_reserved_gpus_cost_money_but_nothing_at_the_margin() -> None:
    sizings = [a_sizing(a_pool()), a_sizing(a_pool("spot", CapacityType.SPOT))]
    total, marginal = hourly_costs(sizings, {"reserved": 2, "spot": 3})
    assert total == pytest.approx(2 * 2 * 2.1 + 3 * 2 * 1.9)
    assert marginal == pytest.approx(3 * 2 * 1.9)
    assert hourly_costs(sizings, {}) == (0, 0)
