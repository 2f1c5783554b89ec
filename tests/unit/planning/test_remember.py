"""The traffic of the past: bounded, on a grid, and given back by a metrics store after a restart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.history import BLOCK_S, BLOCKS_KEPT, Blocks, History
from inferencefleet.domain.plan import Demand
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.planning.forecast import forecast
from inferencefleet.planning.forecasting.skill import dispersion
from inferencefleet.planning.remember import LEAST_APART_S, remember_arrivals, reminded
from tests.builders import NOW_S, a_mix

MIDNIGHT_S = NOW_S - NOW_S % 86_400
KEPT_S = 1800.0


def a_demand(rps: float, *, observed: bool = True) -> Demand:
    return Demand(arrivals_per_s=rps, backlog_requests=0.0, observed=observed, lengths=a_mix(), sentence="")


def lived(*points: tuple[float, float], memory: FleetMemory | None = None) -> FleetMemory:
    """After ticks at these seconds after midnight with these rates."""
    memory = memory or FleetMemory()
    for at_s, rate in points:
        memory = remember_arrivals(memory, a_demand(rate), at_s=MIDNIGHT_S + at_s, kept_s=KEPT_S)
    return memory


def test_half_an_hour_of_ticks_is_kept_oldest_first() -> None:
    memory = lived(*((15.0 * tick, float(tick)) for tick in range(300)))
    assert len(memory.arrivals) == 120
    assert [rate for _, rate in memory.arrivals] == [float(tick) for tick in range(180, 300)]


def test_a_loop_that_is_woken_all_the_time_remembers_no_more_and_always_the_last() -> None:
    memory = lived(*((0.5 * tick, float(tick)) for tick in range(8000)))
    assert len(memory.arrivals) <= KEPT_S / LEAST_APART_S + 2
    assert memory.arrivals[-1] == (MIDNIGHT_S + 3999.5, 7999.0)


def test_what_is_not_observed_is_not_remembered() -> None:
    memory = remember_arrivals(FleetMemory(), a_demand(5, observed=False), at_s=NOW_S, kept_s=KEPT_S)
    assert memory == FleetMemory()


def test_blocks_are_means_over_five_minutes_of_the_time_that_was_watched() -> None:
    memory = lived(*((60.0 * minute, 10.0 if minute <= 5 else 40.0) for minute in range(16)))
    assert memory.blocks.first == MIDNIGHT_S // BLOCK_S
    assert memory.blocks.means == pytest.approx((10, 40, 40))


def test_a_block_that_was_hardly_watched_is_unknown_and_not_zero() -> None:
    memory = lived((0, 10), (60, 10), (240, 10), (900, 50), (960, 50), (1080, 50), (1200, 50))
    assert memory.blocks.means == pytest.approx((10, None, None, 50))


def test_between_the_middles_of_two_blocks_the_rate_is_interpolated_and_beyond_them_unknown() -> None:
    blocks = Blocks(first=0, means=(10.0, 20.0, None, 40.0))
    assert blocks.mean_at(150) == 10
    assert blocks.mean_at(300) == 15
    assert [blocks.mean_at(at_s) for at_s in (100, 600, 900, 1200)] == [None] * 4


def test_two_weeks_are_kept_and_a_longer_silence_begins_anew() -> None:
    full = Blocks(first=1000, means=(1.0,) * BLOCKS_KEPT, open_block=1000 + BLOCKS_KEPT, open_sum=600, open_s=300)
    later = full.observed((1001 + BLOCKS_KEPT) * BLOCK_S + 60, 5.0, 60)
    assert (later.first, len(later.means), later.means[-1]) == (1001, BLOCKS_KEPT, 2.0)
    anew = later.observed((5000 + 2 * BLOCKS_KEPT) * BLOCK_S, 5.0, 60).observed(
        (5001 + 3 * BLOCKS_KEPT) * BLOCK_S + 200, 5.0, 60
    )
    assert len(anew.means) <= BLOCKS_KEPT


def test_a_clock_that_steps_back_loses_nothing_but_the_points_after_it() -> None:
    memory = lived((0, 1), (15, 2), (30, 3), (20, 4))
    assert [rate for _, rate in memory.arrivals] == [1, 2, 4]


def a_history(days: int = 2) -> History:
    return History(
        recent=tuple((MIDNIGHT_S - 1800 + 15 * tick, 12.0 + tick % 2) for tick in range(120)),
        blocks=tuple((MIDNIGHT_S - BLOCK_S * (288 * days - block), 10.0 + block % 288) for block in range(288 * days)),
    )


def test_after_a_restart_the_store_gives_back_seasons_trend_and_burstiness() -> None:
    memory = reminded(FleetMemory(), a_history())
    assert len(memory.arrivals) == 120
    assert len(memory.blocks.means) == 576
    assert dispersion(memory.skill) < 4.2, "even arrivals were seen before the restart"
    ahead, _ = forecast(
        a_demand(12), memory, at_s=MIDNIGHT_S, horizon_s=600, window_s=60, quantile=0.9, drain_s=30
    )  # fmt: skip
    assert "day" in {candidate.name for candidate in ahead.candidates}


def test_what_was_seen_since_the_restart_stays_and_the_past_is_put_before_it() -> None:
    own = lived((-20, 5), (-5, 6))
    memory = reminded(own, a_history())
    assert memory.arrivals[-2:] == own.arrivals
    assert list(memory.arrivals) == sorted(memory.arrivals)
    assert memory.arrivals[0][0] == MIDNIGHT_S - 1800
    grown = lived((100, 7), (250, 7), (400, 7), (550, 7), (700, 7), memory=memory)
    assert len(grown.blocks.means) > 576, "new blocks continue the grid of the old ones"
    assert grown.blocks.means[:576] == memory.blocks.means


def test_a_store_that_knows_nothing_changes_nothing() -> None:
    own = lived((0, 5), (15, 6))
    assert reminded(own, History()) == own


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 1e5)), max_size=60))
def test_whenever_ticks_come_memory_stays_small_sorted_and_within_what_was_seen(
    steps: list[tuple[float, float]],
) -> None:
    at_s, points = 0.0, []
    for wait_s, rate in steps:
        at_s += wait_s
        points.append((at_s, rate))
    memory = lived(*points)
    times = [at for at, _ in memory.arrivals]
    assert times == sorted(set(times))
    assert len(memory.blocks.means) <= BLOCKS_KEPT
    known = [mean for mean in memory.blocks.means if mean is not None]
    assert all(0 <= mean <= max(rate for _, rate in steps) * (1 + 1e-9) for mean in known)
