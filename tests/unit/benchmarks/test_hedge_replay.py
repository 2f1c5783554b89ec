"""The replay of spot markets: what is counted as down, for how long, and that it never looks ahead."""

from __future__ import annotations

import pytest

from benchmarks.hedge import QUESTIONS, Question, Series, one_mood, replay
from inferencefleet.planning import interruptions

QUICK: Question = (300.0, 0.9)
"""Replaced in five minutes; at this attainment a calm market needs no spare."""


def market(*spells: tuple[int, int], gap_s: float = 60.0) -> Series:
    """(ticks, nodes) one after the other."""
    return Series("market", gap_s, tuple(nodes for ticks, nodes in spells for _ in range(ticks)))


def test_a_market_that_takes_nothing_is_never_missed() -> None:
    tally = replay(market((600, 4)))[QUICK]
    assert tally.used_s == 600 * 60
    assert tally.missed_s == 0
    assert tally.hindsight(0.99) == 0


def test_a_loss_counts_for_the_time_of_a_replacement_also_within_a_tick() -> None:
    for gap_s in (60.0, 400.0):
        tally = replay(market((200, 4), (200, 2), gap_s=gap_s))[QUICK]
        assert tally.down_s[2] == pytest.approx(300)
        assert (tally.fixed_s[1], tally.fixed_s[2]) == (pytest.approx(300), 0)
        assert tally.missed_s == pytest.approx(300), "nothing was held ready after a calm"


def test_time_in_which_the_market_gives_nothing_is_not_counted_as_kept() -> None:
    tally = replay(market((100, 4), (5000, 0)))[QUICK]
    assert tally.used_s == pytest.approx(100 * 60 + 300), "only until the replacements serve"


def test_what_comes_later_changes_nothing_of_what_was_counted() -> None:
    """Spares of a prefix are the same whether the market is about to collapse or not."""
    story = ((150, 8), (5, 6), (150, 8), (3, 3), (150, 8))
    short, long = replay(market(*story)), replay(market(*story, (1, 0)))
    for question in QUESTIONS:
        assert long[question].spare_s == pytest.approx(short[question].spare_s)


def test_a_market_that_keeps_taking_half_surprises_twice() -> None:
    tally = replay(market(*[(20, 8), (1, 4)] * 60))[300.0, 0.99]
    assert tally.missed_s == pytest.approx(600), "the first loss in a calm market, and the first in a restless one"
    assert tally.fixed_s[2] == pytest.approx(60 * 300 - 240, rel=0.05), "two spares are never enough"
    assert 4 <= tally.spare_s / tally.used_s <= 8


def test_the_ablation_leaves_the_planner_as_it_was() -> None:
    before = interruptions.RESTLESS_S
    with one_mood():
        assert interruptions.RESTLESS_S == 0
    assert before == interruptions.RESTLESS_S
