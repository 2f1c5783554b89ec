"""A number that guards have held or limited, placed again."""

from __future__ import annotations

from inferencefleet.domain.plan import Reason
from inferencefleet.planning.placement import settle
from tests.unit.planning.claims import HEDGED, RESERVED, SPOT, a_claim, an_offer

OFFERS = [an_offer("reserved", RESERVED, gpus=4), an_offer("on-demand", price=4.0), an_offer("spot", SPOT, price=1.0)]
BY_POOL = {offer.pool: offer for offer in OFFERS}
FREE = {offer.pool: offer.gpus for offer in OFFERS}


def settled(total: int, **current: int) -> dict[str, int]:
    there = {pool.replace("_", "-"): n for pool, n in current.items()}
    placement = settle(a_claim("a", 40, OFFERS), total, there, FREE, BY_POOL)
    return {pool: n for pool, n in placement.replicas.items() if n}


def test_what_runs_stays_where_it_is_although_it_is_dear() -> None:
    assert settled(5, on_demand=5) == {"on-demand": 5}


def test_what_is_added_goes_to_the_cheapest_room() -> None:
    assert settled(7, on_demand=2) == {"on-demand": 2, "reserved": 4, "spot": 1}


def test_what_is_given_up_is_the_dearest() -> None:
    assert settled(4, on_demand=3, spot=2, reserved=1) == {"reserved": 1, "spot": 2, "on-demand": 1}


def test_what_no_longer_fits_moves() -> None:
    placement = settle(a_claim("a", 40, OFFERS), 6, {"on-demand": 6}, {**FREE, "on-demand": 2}, BY_POOL)
    assert placement.replicas == {"reserved": 4, "on-demand": 2, "spot": 0}


def test_the_hedge_holds_for_a_given_number_too() -> None:
    claim = a_claim("a", 20, OFFERS, spot=HEDGED, survive=20, losses={"spot": 4})
    placement = settle(claim, 7, {"spot": 7}, FREE, BY_POOL)
    assert placement.total == 7
    assert placement.replicas["spot"] <= 2, "five of seven must survive the loss of all on spot"


def test_a_number_that_no_pool_can_hold_is_told() -> None:
    small = [an_offer("reserved", RESERVED, gpus=2)]
    placement = settle(a_claim("a", 40, small), 5, {}, {"reserved": 2}, {small[0].pool: small[0]})
    assert placement.total == 2
    assert placement.verdicts[-1].code is Reason.NOT_ENOUGH_GPUS


def test_a_fleet_without_any_usable_pool_gets_nothing_and_is_told_so() -> None:
    placement = settle(a_claim("a", 40, OFFERS, speeds=dict.fromkeys(BY_POOL, 0.0)), 5, {}, FREE, BY_POOL)
    assert placement.total == 0
    assert placement.verdicts[-1].code is Reason.NOT_ENOUGH_GPUS
