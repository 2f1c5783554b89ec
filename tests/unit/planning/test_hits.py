"""The prefix hit ratio falls as replicas are added behind a router that does not look at prefixes."""

from __future__ import annotations

import pytest

from inferencefleet.domain.fleet import Routing
from inferencefleet.domain.routing import HitRecord
from inferencefleet.planning.hits import predict, remember

NOTHING = HitRecord()


def seen(*looks: tuple[int, float]) -> HitRecord:
    record = NOTHING
    for index, (replicas, hit) in enumerate(looks * 200):
        record = remember(record, replicas=replicas, hit_ratio=hit, at_s=15.0 * index)
    return record


def test_without_history_half_of_the_hits_are_taken_for_the_same_session_that_spreads_out() -> None:
    assert predict(NOTHING, Routing.UNIFORM, now=4, then=8, hit_ratio=0.4) == pytest.approx(0.30, abs=0.01)
    assert predict(NOTHING, Routing.LOAD_AWARE, now=4, then=2, hit_ratio=0.4) == pytest.approx(0.60, abs=0.01)


def test_a_router_that_follows_prefixes_is_expected_to_keep_its_hits() -> None:
    assert predict(NOTHING, Routing.PREFIX_AWARE, now=4, then=8, hit_ratio=0.4) == 0.4


def test_hits_that_stayed_the_same_at_every_size_are_a_shared_prompt_and_stay() -> None:
    record = seen((2, 0.5), (4, 0.5), (8, 0.5))
    assert predict(record, Routing.UNIFORM, now=4, then=8, hit_ratio=0.5) == pytest.approx(0.5, abs=0.05)


def test_hits_that_halved_with_every_doubling_are_expected_to_halve_again() -> None:
    record = seen((1, 0.8), (2, 0.4), (4, 0.2))
    assert predict(record, Routing.UNIFORM, now=4, then=8, hit_ratio=0.2) == pytest.approx(0.1, abs=0.03)


def test_a_prefix_router_that_turns_out_to_lose_hits_is_believed() -> None:
    record = seen((1, 0.8), (2, 0.4), (4, 0.2))
    assert predict(record, Routing.PREFIX_AWARE, now=2, then=4, hit_ratio=0.4) < 0.3


def test_more_replicas_are_never_expected_to_hit_more() -> None:
    record = seen((2, 0.2), (8, 0.6))
    assert predict(record, Routing.UNIFORM, now=2, then=8, hit_ratio=0.2) <= 0.2


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_ratio_that_is_no_number_teaches_nothing(odd: float) -> None:
    assert remember(NOTHING, replicas=3, hit_ratio=odd, at_s=1.0) == NOTHING


def test_no_replicas_teach_nothing() -> None:
    assert remember(NOTHING, replicas=0, hit_ratio=0.5, at_s=1.0) == NOTHING
