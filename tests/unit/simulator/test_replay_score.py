"""How a replay is scored: which requests are good, which count, and what series say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferencefleet.simulator import reference
from inferencefleet.simulator.replay import Availability, Decision, Delay, Span, Stage, StageError, replay
from inferencefleet.simulator.replay.replayed import reversals, step_means, verdicts, worst_window
from inferencefleet.simulator.servers import Outcome, Results
from inferencefleet.simulator.truth import Truth
from tests.unit.simulator.staging import (
    CHAT,
    Script,
    a_replayed_fleet,
    a_stage,
    arrivals,
    every,
    play,
    reserved,
)

NAN = float("nan")


def results(*rows: tuple[Outcome, float, float]) -> Results:
    """(outcome, ttft, tpot) of each request."""
    known = {
        "outcome": np.array([row[0] for row in rows], dtype=np.int64),
        "ttft_s": np.array([row[1] for row in rows]),
        "tpot_s": np.array([row[2] for row in rows]),
        "e2e_s": np.array([row[1] + 100 * row[2] for row in rows]),
    }
    rest = {name: np.zeros(len(rows), dtype=np.int64) for name in Results.__dataclass_fields__ if name not in known}
    return Results(**known, **rest)


def judged(
    *rows: tuple[Outcome, float, float], at_s: float = 0.0, end_s: float = 600.0
) -> tuple[list[bool], list[bool]]:
    """Targets are 2 s and 60 ms, and each request has 101 tokens: its deadline is 8 s after it came."""
    traffic = arrivals([at_s] * len(rows), output=101)
    good, counted = verdicts(a_replayed_fleet(), traffic, results(*rows), warm_up_s=0.0, end_s=end_s)
    return good.tolist(), counted.tolist()


def test_a_request_is_good_when_it_finished_and_both_latencies_are_within_their_targets():
    good, counted = judged((Outcome.FINISHED, 2.0, 0.06), (Outcome.FINISHED, 2.1, 0.01), (Outcome.FINISHED, 0.1, 0.07))

    assert good == [True, False, False]
    assert counted == [True, True, True]


def test_what_failed_or_was_refused_is_a_miss():
    good, counted = judged((Outcome.FAILED, 0.1, NAN), (Outcome.REFUSED, NAN, NAN))

    assert good == [False, False]
    assert counted == [True, True]


@pytest.mark.parametrize(
    ("at_s", "ttft_s", "counts"),
    [
        (590.0, 0.5, True),  # its deadline was at 598
        (595.0, 0.5, False),  # its deadline is at 603
        (595.0, 3.0, True),  # its first token came late already
        (597.0, NAN, True),  # no first token after 2 s
        (599.0, NAN, False),  # it may still come in time
    ],
)
def test_what_is_under_way_at_the_end_counts_once_it_can_no_longer_be_good(at_s: float, ttft_s: float, counts: bool):
    good, counted = judged((Outcome.PENDING, ttft_s, NAN), at_s=at_s)

    assert good == [False]
    assert counted == [counts]


def test_the_warm_up_and_what_comes_after_the_end_are_not_counted():
    traffic = arrivals([10.0, 100.0, 700.0], output=101)
    same = [(Outcome.FINISHED, 0.1, 0.01)] * 3

    _, counted = verdicts(a_replayed_fleet(), traffic, results(*same), warm_up_s=60.0, end_s=600.0)

    assert counted.tolist() == [False, True, False]


def test_the_worst_five_minutes_are_neighbours():
    good = np.array([10.0, 0, 10, 10, 10, 10, 10, 10, 5, 5])
    asked = np.full(10, 10.0)

    assert worst_window(good, asked, 5) == pytest.approx(0.8)
    assert worst_window(good, asked, 1) == 0.0
    assert np.isnan(worst_window(np.zeros(3), np.zeros(3), 5))


def test_the_mean_of_a_step_function_is_weighted_by_time():
    means = step_means([0.0, 30.0, 90.0], [0.0, 2.0, 4.0], np.array([0.0, 60.0, 120.0]))

    assert means.tolist() == [1.0, 3.0]


def test_a_reversal_is_a_change_back_within_ten_minutes():
    def change(at_s: float, before: int, after: int) -> Decision:
        return Decision(
            at_s=at_s, fleet=CHAT, before={"a": before}, after={"a": after}, reason="", sentence=""
        )  # fmt: skip

    changes = [change(0, 1, 2), change(300, 2, 1), change(1000, 1, 3), change(1100, 3, 4)]

    assert reversals(changes) == 1


def test_a_move_between_pools_is_no_reversal():
    move = Decision(at_s=60.0, fleet=CHAT, before={"a": 1}, after={"b": 1}, reason="", sentence="")
    grow = Decision(at_s=0.0, fleet=CHAT, before={}, after={"a": 1}, reason="", sentence="")

    assert reversals([grow, move]) == 0


def test_series_add_up_to_the_totals():
    traffic = arrivals(every(1.0, until_s=270.0))
    done = play(
        a_stage(reserved(2), traffic=traffic, initial={"reserved": 2}, duration_s=300.0),
        Script([(150.0, {"reserved": 1})]),
    )
    fleet = done.fleets[0]

    assert fleet.minutes.arrivals.sum() == len(traffic) == fleet.requests
    assert fleet.minutes.ready["reserved"].mean() == pytest.approx(fleet.mean_ready)
    assert fleet.minutes.wanted["reserved"].tolist() == pytest.approx([2.0, 2.0, 1.5, 1.0, 1.0])
    assert sum(series.sum() for series in done.dollars_by_minute.values()) == pytest.approx(done.dollars)
    assert done.attainment == fleet.attainment
    assert fleet.ttft_s[0] < fleet.ttft_s[2]


def test_a_fleet_that_nobody_serves_has_no_good_request():
    traffic = arrivals(every(1.0, until_s=100.0))

    done = play(a_stage(reserved(1), traffic=traffic, duration_s=300.0), Script())

    assert done.attainment == 0.0
    assert done.fleets[0].unfinished == done.fleets[0].requests == 100


def test_two_replays_of_one_seed_are_the_same_and_of_two_seeds_are_not():
    traffic = arrivals(every(0.5, until_s=200.0))
    whole = a_stage(reserved(2), traffic=traffic, initial={"reserved": 1}, duration_s=240.0)
    noisy = {pool: replace(kind, truth=Truth()) for pool, kind in whole.fleets[0].kinds.items()}
    stage = replace(whole, fleets=(replace(whole.fleets[0], kinds=noisy, start_up=Delay(p50_s=30.0, p95_s=60.0)),))

    def once(seed: int) -> tuple[list[float], float]:
        done = play(stage, Script([(60.0, {"reserved": 2})]), seed=seed)
        return done.fleets[0].results.e2e_s.tolist(), done.fleets[0].mean_ready

    first, other = once(1), once(2)
    assert once(1) == first
    assert first[0] != other[0], "engines differ"
    assert first[1] != other[1], "start-up times differ"


def test_progress_reaches_the_whole():
    heard: list[float] = []
    replay(a_stage(reserved(), duration_s=60.0), Script(), engines=reference.servers, seed=1, progress=heard.append)

    assert heard == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration_s": 0.0}, "duration_s is 0; it must be above 0"),
        ({"warm_up_s": 600.0}, "nothing would be scored, shorten the warm-up"),
        ({"rate_window_s": 20.0}, "make the window at least two scrape intervals"),
    ],
)
def test_a_stage_that_cannot_be_played_says_why(change: dict[str, float], message: str):
    with pytest.raises(StageError, match=message):
        a_stage(reserved(), **change)


def test_a_stage_refuses_replicas_in_pools_that_it_does_not_have():
    whole = a_stage(reserved())

    with pytest.raises(StageError, match="names pool 'reserved'; pools are"):
        Stage(name="empty", fleets=whole.fleets, pools=(), duration_s=60.0)


def test_delays_and_markets_are_checked():
    with pytest.raises(StageError, match="0 <= p50 <= p95"):
        Delay(p50_s=10.0, p95_s=5.0)
    with pytest.raises(StageError, match="times ascending"):
        Availability(at_s=(10.0, 0.0), nodes=(1, 2))


def test_a_span_holds_its_beginning_and_not_its_end():
    span = Span(10.0, 20.0)

    assert [span.holds(at_s) for at_s in (9.9, 10.0, 19.9, 20.0)] == [False, True, True, False]
