"""What a replay may rely on, whichever engines run it: nothing is lost; router, gateway and caches keep their rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferencefleet.domain.capacity import Speculation
from inferencefleet.domain.fleet import Routing
from inferencefleet.simulator.servers import (
    Counters,
    EngineKind,
    NotSimulated,
    Outcome,
    Results,
    Servers,
    ServersFactory,
    uniform_choice,
)
from inferencefleet.simulator.truth import DoesNotStart, Truth
from tests.unit.simulator.servers_cases import BOTH, EXACT, LATER_S, all_finished, fleet, kind, poisson, requests


@pytest.fixture(params=sorted(BOTH))
def factory(request: pytest.FixtureRequest) -> ServersFactory:
    return BOTH[request.param]


def finished_by_slot(servers: Servers) -> list[int]:
    return servers.counters().finished.tolist()


def test_every_request_ends_in_one_outcome_and_counters_say_the_same_as_results(factory: ServersFactory) -> None:
    arrivals = poisson(400, 8.0)
    servers = fleet(factory, arrivals, kind(Truth()), kind(Truth()))
    servers.run_until(20.0)
    servers.kill(0)
    servers.run_until(LATER_S)
    results, counters = servers.results(), servers.counters()
    assert (results.outcome != Outcome.PENDING).all()
    done = results.outcome == Outcome.FINISHED
    assert counters.finished.sum() == done.sum() == np.isfinite(results.e2e_s).sum()
    for slot, finished in enumerate(counters.finished):
        assert finished == (results.slot == slot).sum()
    survivor = results.slot == 1
    assert counters.prompt_tokens[1] == arrivals.prompt_tokens[survivor].sum()
    assert counters.output_tokens[1] == arrivals.output_tokens[survivor].sum()
    assert counters.computed_tokens[1] == counters.prompt_tokens[1] + counters.output_tokens[1]
    assert counters.itl_hist[1].sum() == (arrivals.output_tokens[survivor] - 1).sum()
    assert counters.tpot_sum[1] == pytest.approx(results.tpot_s[survivor].sum())
    for histogram in ("prompt_hist", "output_hist", "ttft_hist", "tpot_hist", "e2e_hist"):
        assert getattr(counters, histogram)[1].sum() == survivor.sum(), histogram


def test_latencies_of_a_lone_request_add_up(factory: ServersFactory) -> None:
    servers = fleet(factory, requests((3.0, 1000, 101)), kind())
    servers.run_until(LATER_S)
    results, counters = servers.results(), servers.counters()
    assert results.e2e_s[0] == pytest.approx(results.ttft_s[0] + 100 * results.tpot_s[0])
    assert counters.itl_sum[0] == pytest.approx(100 * results.tpot_s[0])
    assert counters.ttft_sum[0] == pytest.approx(results.ttft_s[0])
    assert counters.prefill_seconds[0] == pytest.approx(results.ttft_s[0] - EXACT.frontend_s)


def test_a_lost_request_is_sent_once_more_and_its_client_waited_from_the_first_arrival(factory: ServersFactory) -> None:
    servers = fleet(factory, requests((0.0, 1000, 400)), kind(), kind())
    servers.run_until(5.0)
    assert servers.kill(0) == 1
    servers.run_until(LATER_S)
    results = servers.results()
    assert results.outcome[0] == Outcome.FINISHED
    assert (results.retries[0], results.slot[0]) == (1, 1)
    assert results.ttft_s[0] > 5.0
    assert servers.counters().ttft_sum[1] == pytest.approx(results.ttft_s[0] - 5.0)


def test_a_request_that_is_lost_twice_has_failed(factory: ServersFactory) -> None:
    servers = fleet(factory, requests((0.0, 1000, 4000), (0.1, 1000, 4000)), kind(), kind())
    servers.run_until(5.0)
    assert servers.kill(0) == 1
    servers.run_until(10.0)
    assert servers.kill(1) == 2
    third = servers.add(kind(), seed=9)
    servers.open(third)
    servers.run_until(LATER_S)
    results = servers.results()
    assert results.outcome.tolist() == [Outcome.FAILED, Outcome.FINISHED]
    assert np.isnan(results.ttft_s[0])
    assert np.isnan(results.e2e_s[0])
    assert results.slot.tolist() == [-1, third]


def test_requests_wait_at_the_gateway_until_a_replica_opens_and_keep_their_order(factory: ServersFactory) -> None:
    arrivals = requests(*((0.5 * number, 100, 10) for number in range(6)))
    servers = fleet(factory, arrivals)
    slot = servers.add(kind(max_num_seqs=1), seed=1)
    servers.run_until(10.0)
    assert servers.gateway_waiting() == 6
    assert servers.in_flight(slot) == 0
    servers.open(slot)
    assert servers.gateway_waiting() == 0
    assert servers.in_flight(slot) == 6
    servers.run_until(LATER_S)
    results = servers.results()
    assert (np.diff(arrivals.arrival_s + results.ttft_s) > 0).all()
    assert results.ttft_s[0] > 10.0
    assert servers.counters().ttft_sum[slot] == pytest.approx((results.ttft_s + arrivals.arrival_s - 10.0).sum())


def test_a_replica_to_be_avoided_gets_requests_only_when_no_other_is_open(factory: ServersFactory) -> None:
    servers = fleet(factory, requests(*((float(number), 100, 10) for number in range(20))), kind(), kind())
    servers.avoid(0)
    servers.run_until(9.5)
    assert finished_by_slot(servers) == [0, 10]
    servers.close(1)
    servers.run_until(LATER_S)
    assert finished_by_slot(servers) == [10, 10]


def test_a_closed_replica_finishes_what_it_has_and_gets_nothing_more(factory: ServersFactory) -> None:
    servers = fleet(factory, poisson(100, 10.0), kind(), kind())
    servers.run_until(5.0)
    in_hand = servers.in_flight(0)
    before = finished_by_slot(servers)[0]
    servers.close(0)
    assert in_hand > 0
    servers.run_until(LATER_S)
    assert finished_by_slot(servers)[0] == before + in_hand
    assert servers.in_flight(0) == 0
    assert all_finished(servers)


def test_a_request_that_no_cache_or_length_allows_is_refused_and_hurts_nobody(factory: ServersFactory) -> None:
    small = kind(Truth(step_noise=0.0, kv_cache=0.02))
    arrivals = requests((0.0, 33_000, 10), (0.0, 30_000, 10), (0.1, 100, 10))
    servers = fleet(factory, arrivals, small)
    cache = int(servers.gauges().kv_cache_tokens[0])
    assert 100 < cache < 30_000
    servers.run_until(LATER_S)
    results = servers.results()
    assert results.outcome.tolist() == [Outcome.REFUSED, Outcome.REFUSED, Outcome.FINISHED]
    assert servers.counters().prompt_tokens[0] == 100


def test_a_seed_repeats_a_replay_to_the_last_bit_and_another_seed_does_not(factory: ServersFactory) -> None:
    def run(seed: int) -> tuple[Results, Counters]:
        servers = fleet(factory, poisson(300, 8.0), kind(Truth()), kind(Truth()), routing=Routing.UNIFORM, seed=seed)
        servers.run_until(LATER_S)
        return servers.results(), servers.counters()

    (first, counted), (second, again), (other, _) = run(1), run(1), run(2)
    for name in Results.__slots__:
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True), name
    for name in Counters.__slots__:
        assert np.array_equal(getattr(counted, name), getattr(again, name)), name
    assert (first.slot != other.slot).any()
    assert (first.ttft_s != other.ttft_s).any()


def test_looking_often_does_not_change_what_happens(factory: ServersFactory) -> None:
    arrivals = poisson(300, 8.0)
    once = fleet(factory, arrivals, kind(Truth()), kind(Truth()))
    often = fleet(factory, arrivals, kind(Truth()), kind(Truth()))
    once.run_until(1000.0)
    for tick in range(1, 2001):
        often.run_until(tick / 2)
        seen = often.counters()
        assert (seen.itl_hist.sum(axis=1) <= seen.output_tokens).all()
    assert once.results().ttft_s == pytest.approx(often.results().ttft_s, rel=1e-9)
    assert once.results().tpot_s == pytest.approx(often.results().tpot_s, rel=1e-9)
    assert np.array_equal(once.counters().output_tokens, often.counters().output_tokens)


def test_tokens_are_counted_while_a_request_is_still_under_way(factory: ServersFactory) -> None:
    servers = fleet(factory, requests((0.0, 1000, 1000)), kind())
    servers.run_until(5.0)
    early = int(servers.counters().output_tokens[0])
    gauges = servers.gauges()
    assert 0 < early < 1000
    assert (gauges.running[0], gauges.waiting[0]) == (1, 0)
    assert gauges.kv_cache_usage[0] * gauges.kv_cache_tokens[0] == pytest.approx(1000 + early, abs=32)
    assert servers.results().outcome[0] == Outcome.PENDING
    assert np.isfinite(servers.results().ttft_s[0])


def test_token_intervals_over_the_target_are_counted_on_each_request(factory: ServersFactory) -> None:
    # The long prompt of the second request holds up the first for one step.
    arrivals = requests((0.0, 100, 200), (1.0, 8000, 1))
    servers = fleet(factory, arrivals, kind(), itl_target_s=0.1)
    servers.run_until(LATER_S)
    assert servers.results().slow_tokens.tolist() == [1, 0]


def test_the_least_loaded_replica_is_chosen_and_the_first_of_equals(factory: ServersFactory) -> None:
    arrivals = requests(*((0.001 * number, 500, 300) for number in range(7)))
    servers = fleet(factory, arrivals, kind(), kind(), kind())
    servers.run_until(1.0)
    assert [servers.in_flight(slot) for slot in range(3)] == [3, 2, 2]


def test_a_plain_service_spreads_by_chance_and_evenly_in_the_long_run() -> None:
    chosen = np.array([uniform_choice(7, number, 0, 5) for number in range(20_000)])
    shares = np.bincount(chosen, minlength=5) / chosen.size
    assert shares == pytest.approx(np.full(5, 0.2), abs=0.012)
    # A wheel would never choose the same replica twice in a row; chance does so for one request in five.
    assert (chosen[1:] == chosen[:-1]).mean() == pytest.approx(0.2, abs=0.012)
    assert any(uniform_choice(7, number, 1, 5) != chosen[number] for number in range(20))


def test_the_next_turn_of_a_session_finds_its_prefix_where_the_last_one_was_served(factory: ServersFactory) -> None:
    arrivals = requests((0.0, 1000, 50), (10.0, 1400, 50), (20.0, 1400, 50), prefix=[0, 1100, 1100], session=[0, 0, 1])
    servers = fleet(factory, arrivals, kind())
    servers.run_until(LATER_S)
    results, counters = servers.results(), servers.counters()
    assert results.hit_tokens.tolist() == [0, 1050, 0]  # what was cached: prompt and answer of the first turn
    assert results.ttft_s[1] < results.ttft_s[2]
    assert counters.prefix_hits[0] == 1050
    assert counters.prefix_queries[0] == 3800
    assert counters.computed_tokens[0] == 3800 - 1050 + 150


def test_a_prefix_without_a_session_is_always_cached_but_for_one_token(factory: ServersFactory) -> None:
    servers = fleet(factory, requests((0.0, 500, 5), (9.0, 500, 5), prefix=[300, 500]), kind())
    servers.run_until(LATER_S)
    assert servers.results().hit_tokens.tolist() == [300, 499]


def test_a_prefix_is_gone_when_more_new_tokens_came_than_the_cache_has_room_for(factory: ServersFactory) -> None:
    others = [(10.0 + number, 2000, 10) for number in range(20)]
    few, many = others[:3], others
    for between, hit in ((few, 1000), (many, 0)):
        sessions = [0, *range(1, 1 + len(between)), 0]
        prefixes = [0] * (1 + len(between)) + [1000]
        arrivals = requests((0.0, 1000, 10), *between, (100.0, 1500, 10), prefix=prefixes, session=sessions)
        servers = fleet(factory, arrivals, kind(Truth(step_noise=0.0, kv_cache=0.05)))
        assert 10_000 < servers.gauges().kv_cache_tokens[0] < 40_000
        servers.run_until(LATER_S)
        assert servers.results().hit_tokens[-1] == hit


def test_prefix_aware_routing_finds_more_in_caches_than_a_plain_service(factory: ServersFactory) -> None:
    arrivals = poisson(600, 4.0, prompt=2000, sessions=120)
    hits = {}
    for routing in (Routing.UNIFORM, Routing.PREFIX_AWARE):
        servers = fleet(factory, arrivals, kind(), kind(), kind(), kind(), routing=routing)
        servers.run_until(LATER_S)
        counters = servers.counters()
        hits[routing] = counters.prefix_hits.sum() / counters.prefix_queries.sum()
    assert hits[Routing.PREFIX_AWARE] > 1.4 * hits[Routing.UNIFORM] > 0


def test_a_prefix_is_left_behind_when_too_much_waits_where_it_is(factory: ServersFactory) -> None:
    burst = [(10.0, 1500, 500)] * 12
    arrivals = requests((0.0, 1000, 5), *burst, prefix=[0] + [1000] * 12, session=[0] * 13)
    servers = fleet(factory, arrivals, kind(), kind(), routing=Routing.PREFIX_AWARE)
    servers.run_until(10.5)
    # Of n requests in hand, all with the prefix: it is left at n > 1.25 n / 2 + 4, that is after the eleventh.
    assert [servers.in_flight(slot) for slot in range(2)] == [11, 1]


def test_speculation_is_refused_with_a_way_out(factory: ServersFactory) -> None:
    drafting = replace(kind().shape, speculation=Speculation(draft_tokens=3, acceptance=0.7))
    servers = fleet(factory, requests((0.0, 10, 10)))
    with pytest.raises(NotSimulated, match=r"3 draft tokens cannot be replayed.*leave `speculative` out"):
        servers.add(EngineKind(shape=drafting, truth=EXACT), seed=1)


def test_what_vllm_would_not_start_is_not_added(factory: ServersFactory) -> None:
    servers = fleet(factory, requests((0.0, 10, 10)))
    with pytest.raises(DoesNotStart, match="max seq len"):
        servers.add(kind(gpus=1, max_model_len_tokens=40_960), seed=1)
    assert servers.counters().finished.size == 0
    assert servers.add(kind(), seed=1) == 0
