"""Traffic of the policy benchmark: what the records say is what is played, at every scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.policies import arrivals as making
from benchmarks.policies import derive, traces
from benchmarks.policies.arrivals import Step
from benchmarks.policies.markets import MARKETS, STORMY, availability
from inferencefleet.simulator.servers import Arrivals, Floats


def dispersion(arrival_s: Floats, over_s: float, lasts_s: float) -> float:
    """Variance of counts over their mean."""
    counts = np.bincount((arrival_s // over_s).astype(int), minlength=int(lasts_s / over_s))
    return float(counts.var() / counts.mean())


def excess(arrivals: Arrivals, over_s: float = 60.0) -> float:
    """Relative variance of counts beyond that of a Poisson process: how bursty the demand itself is."""
    counts = np.bincount((arrivals.arrival_s // over_s).astype(int))[:58]
    return float((counts.var() - counts.mean()) / counts.mean() ** 2)


def test_azure_is_played_as_recorded():
    recorded = traces.azure()
    assert len(recorded) == 19366
    assert recorded.prompt_tokens.mean() == pytest.approx(1155, abs=1)
    assert recorded.output_tokens.mean() == pytest.approx(211, abs=1)
    assert recorded.arrival_s[-1] < traces.AZURE_LASTS_S


def test_mooncake_keeps_its_conversations_and_what_they_share():
    played = traces.mooncake(seed=1)
    assert len(played) == 12031
    follow_ups = played.session >= 0
    turns = np.bincount(played.session[follow_ups])
    assert turns.min() >= 2, "a request that nobody follows up is no conversation"
    assert played.prefix_tokens.sum() / played.prompt_tokens.sum() == pytest.approx(0.366, abs=0.002)
    assert (played.prefix_tokens <= played.prompt_tokens).all()


def test_the_first_turn_of_a_conversation_finds_nothing_of_it_cached():
    played = traces.mooncake(seed=1)
    talking = np.flatnonzero(played.session >= 0)
    first = talking[np.unique(played.session[talking], return_index=True)[1]]
    assert (played.prefix_tokens[first] == 0).all()


def test_requests_of_one_rounded_stamp_are_spread_over_its_three_seconds_in_their_order():
    one, other = traces.mooncake(seed=1), traces.mooncake(seed=2)
    assert (np.diff(one.arrival_s) >= 0).all()
    assert np.abs(one.arrival_s - other.arrival_s).max() <= traces.STAMP_S
    assert (one.prompt_tokens == other.prompt_tokens).all()
    assert np.unique(np.floor(one.arrival_s[:100] % 3)).size == 3


def test_a_conversation_is_told_by_the_second_block_because_all_share_the_first():
    rows = list(
        derive.mooncake(
            [
                {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]},
                {"timestamp": 1, "input_length": 600, "output_length": 5, "hash_ids": [0, 9]},
                {"timestamp": 2, "input_length": 1700, "output_length": 5, "hash_ids": [0, 1, 2, 3]},
            ]
        )
    )
    first, stranger, follow_up = rows
    assert first[3:] == (0, 0)
    assert stranger[3:] == (512, -1), "it shares the system prompt, which every replica has"
    assert follow_up[3:] == (1536, 0), "three blocks of 512 tokens, of the first one's conversation"


@pytest.mark.parametrize(("pool", "weeks"), [("m-large", 1), ("m-small", 2)])
def test_servegen_rates_have_no_holes(pool: str, weeks: int):
    rate, spread = traces.servegen_rates(pool)
    assert rate.size == weeks * 7 * 144
    assert rate.min() > traces.GAP_SHARE * np.median(rate)
    assert spread.min() >= 1


def test_a_week_of_servegen_follows_its_curve_at_the_rate_that_is_asked_for():
    played = traces.servegen("m-large", mean_requests_per_s=1.0, from_s=0, lasts_s=7 * 86400, seed=3)
    rate, _ = traces.servegen_rates("m-large")
    hours = np.bincount((played.arrival_s // 3600).astype(int), minlength=168)
    assert len(played) == pytest.approx(7 * 86400, rel=0.01)
    assert np.corrcoef(hours, rate.reshape(168, 6).mean(axis=1))[0, 1] > 0.99
    assert played.prompt_tokens.mean() == pytest.approx(930, rel=0.1), "the published mean, weighted by client and rate"


def test_the_same_seed_plays_the_same_week_and_another_seed_another():
    one, same, other = (
        traces.servegen("m-small", mean_requests_per_s=0.5, from_s=0, lasts_s=86400, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.arrival_s, same.arrival_s)
    assert len(one) != len(other) or not np.array_equal(one.arrival_s, other.arrival_s)


@pytest.mark.parametrize("wanted", [0.5, 1.0, 4.0, 16.0])
def test_made_traffic_has_the_rate_and_the_dispersion_that_were_asked_for(wanted: float):
    played = making.made([Step(40_000, 5.0, wanted)], traces.fixed_lengths(100, 10), seed=7)
    assert len(played) == pytest.approx(200_000, rel=0.02)
    assert dispersion(played.arrival_s, 40.0, 40_000) == pytest.approx(wanted, rel=0.15)


def test_rates_change_where_the_steps_do():
    played = making.made([Step(100, 50), Step(100, 0), Step(100, 100)], traces.fixed_lengths(100, 10), seed=1)
    counts = np.bincount((played.arrival_s // 100).astype(int), minlength=3)
    assert counts[1] == 0
    assert counts[2] / counts[0] == pytest.approx(2, rel=0.1)


def test_a_dispersion_of_nothing_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="dispersion=0: must be above 0; 1 is a Poisson process"):
        making.made([Step(10, 1, 0)], traces.fixed_lengths(100, 10), seed=1)


@pytest.mark.parametrize("factor", [0.3, 2.5, 12.0])
def test_scaling_keeps_how_bursty_minutes_are(factor: float):
    recorded = traces.azure()
    scaled = making.scaled(recorded, factor, traces.AZURE_LASTS_S, seed=4)
    assert len(scaled) == pytest.approx(factor * len(recorded), rel=0.02)
    assert excess(scaled) == pytest.approx(excess(recorded), rel=0.25)
    assert scaled.arrival_s[-1] < traces.AZURE_LASTS_S


def test_thinning_takes_whole_conversations():
    whole = traces.mooncake(seed=1)
    part = making.thinned(whole, 0.5, seed=2)
    for session in np.unique(part.session[part.session >= 0])[:50]:
        assert (part.session == session).sum() == (whole.session == session).sum()
    assert len(part) == pytest.approx(len(whole) / 2, rel=0.05)


def test_thinning_to_more_than_all_is_refused():
    with pytest.raises(ValueError, match="use `scaled` to get more"):
        making.thinned(traces.azure(), 1.5, seed=1)


def test_copies_of_a_conversation_do_not_share_its_cache():
    whole = traces.mooncake(seed=1)
    double = making.joined([whole, whole])
    assert np.unique(double.session).size == 2 * np.unique(whole.session[whole.session >= 0]).size + 1


def test_what_is_shifted_over_the_end_comes_in_at_the_beginning_without_its_conversation():
    played = making.shifted(
        Arrivals(
            arrival_s=np.array([1.0, 9.0]), prompt_tokens=np.array([10, 20]), output_tokens=np.array([1, 1]),
            prefix_tokens=np.array([0, 5]), session=np.array([0, 0]),
        ), 2.0, 10.0,
    )  # fmt: skip
    assert played.arrival_s.tolist() == [1.0, 3.0]
    assert played.prefix_tokens.tolist() == [0, 0]
    assert played.session.tolist() == [-1, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40_000), st.integers(1, 40_000), st.integers(64, 32768))
def test_nothing_that_is_sent_exceeds_what_the_model_takes(prompt: int, output: int, most: int):
    one = making.of(np.zeros(1), np.array([prompt]), np.array([output]))
    cut = making.fitting(one, most)
    assert cut.prompt_tokens[0] + cut.output_tokens[0] <= most
    assert cut.prompt_tokens[0] >= 1
    assert cut.output_tokens[0] >= 1


def test_a_made_market_spends_as_much_time_without_nodes_as_the_record():
    series = availability(STORMY, lasts_s=4000 * 3600, seed=1, data=None)
    spans = np.diff([*series.at_s, 4000 * 3600.0])
    share = float((spans * np.array(series.nodes)).sum() / (4000 * 3600 * 16))
    assert share == pytest.approx(STORMY.up_s / (STORMY.up_s + STORMY.down_s), abs=0.03)


def test_every_market_is_told_apart_by_its_seed_and_repeats_with_it():
    for market in MARKETS:
        one, same = (availability(market, lasts_s=10_800, seed=5, data=None) for _ in range(2))
        assert one == same
        assert max(one.nodes) <= market.scale * market.most_nodes


def test_a_folder_without_the_recorded_markets_is_refused_with_the_way_out(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="`--spot-data none` for made markets"):
        availability(STORMY, lasts_s=3600, seed=1, data=tmp_path)


def test_a_recorded_market_is_played_from_where_it_has_nodes_to_lose(tmp_path: Path):
    file = tmp_path / STORMY.file
    file.parent.mkdir(parents=True)
    file.write_text('{"metadata": {"gap_seconds": 300}, "data": [0, 0, 0, 4, 4, 2, 0, 0, 0, 0, 0, 0]}')
    for seed in range(5):
        series = availability(STORMY, lasts_s=1200, seed=seed, data=tmp_path)
        assert series.nodes[0] > 0
        assert series.nodes[-1] < series.nodes[0]
