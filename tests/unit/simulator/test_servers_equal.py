"""The fast engines against the token-level ones: without noise the same to the last digits, with it the same tails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencefleet.domain.fleet import Routing
from inferencefleet.simulator.servers import Arrivals, Counters, EngineKind, Gauges, Results, Servers, ServersFactory
from inferencefleet.simulator.truth import Truth
from tests.unit.simulator.servers_cases import BOTH, BUCKETS, EXACT, LATER_S, fleet, kind, poisson, requests

TIGHT = kind(
    Truth(step_noise=0.0, replica_spread=0.01, kv_cache=0.012),
    max_num_seqs=12, max_num_batched_tokens=256, max_model_len_tokens=4096,
)  # fmt: skip
"""A cache of a few thousand tokens and small batches, so that a few requests meet every limit."""
PLACED_BY_MEANS = {"itl_hist"}
"""Token intervals of a run of steps are counted by their mean, so that a few lie in the next bucket."""

Event = tuple[str, int]


def play(factory: ServersFactory, arrivals: Arrivals, routing: Routing, events: list[Event]) -> Servers:
    """Replicas come and go at whole seconds."""
    servers = fleet(factory, arrivals, TIGHT, TIGHT, routing=routing)
    slots = 2
    for second, (act, slot) in enumerate(events):
        servers.run_until(second + 1.0)
        if act == "add":
            servers.open(servers.add(TIGHT, seed=slots))
            slots += 1
        else:
            getattr(servers, act)(slot % slots)
    servers.run_until(LATER_S)
    return servers


def assert_equal(slow: Servers, quick: Servers) -> None:
    for kind_of, one, other in (
        (Results, slow.results(), quick.results()),
        (Counters, slow.counters(), quick.counters()),
        (Gauges, slow.gauges(), quick.gauges()),
    ):
        for name in kind_of.__slots__:
            if name not in PLACED_BY_MEANS:
                expected, found = getattr(one, name), getattr(other, name)
                assert found == pytest.approx(expected, rel=1e-8, abs=1e-9, nan_ok=True), name


@st.composite
def loads(draw: st.DrawFn) -> Arrivals:
    lengths = st.tuples(
        st.floats(0.0, 8.0), st.integers(1, 1500), st.integers(1, 400), st.integers(0, 1500), st.integers(-1, 3)
    )
    drawn = sorted(draw(st.lists(lengths, min_size=1, max_size=60)))
    return requests(
        *(each[:3] for each in drawn), prefix=[each[3] for each in drawn], session=[each[4] for each in drawn]
    )


EVENTS = st.lists(
    st.tuples(st.sampled_from(["add", "open", "close", "avoid", "kill"]), st.integers(0, 5)), max_size=8
).filter(lambda events: not _opens_a_dead_replica(events))


def _opens_a_dead_replica(events: list[Event]) -> bool:
    """The cloud never does."""
    slots, dead = 2, set()
    for act, slot in events:
        if act == "add":
            slots += 1
            continue
        if slot % slots in dead:
            return True
        if act == "kill":
            dead.add(slot % slots)
    return False


@settings(deadline=None, max_examples=60, derandomize=True)
@given(arrivals=loads(), routing=st.sampled_from(list(Routing)), events=EVENTS)
def test_without_noise_every_request_and_counter_is_the_same(
    arrivals: Arrivals, routing: Routing, events: list[Event]
) -> None:
    slow, quick = (play(BOTH[name], arrivals, routing, events) for name in ("reference", "fast"))
    assert_equal(slow, quick)


WORKLOADS: dict[str, Callable[[], tuple[Arrivals, EngineKind]]] = {
    "chat": lambda: (poisson(1200, 9.0), kind(EXACT)),
    "long outputs in a small cache": lambda: (
        poisson(600, 4.0, prompt=3000, output=800), kind(EXACT, gpus=1, weights="fp8"),
    ),
    "preemptions": lambda: (
        poisson(200, 4.0, prompt=300, output=300, seed=3),
        kind(Truth(step_noise=0.0, kv_cache=0.012, watermark=0.05), max_num_seqs=12, max_num_batched_tokens=256),
    ),
    "answers that outgrow sliding windows": lambda: (
        poisson(200, 1.0, prompt=30, output=500), kind(EXACT, id="openai/gpt-oss-20b", gpus=1, weights="mxfp4"),
    ),
    "few slots": lambda: (poisson(600, 7.0, prompt=600, output=300), kind(EXACT, max_num_seqs=16)),
    "chunks of 512": lambda: (poisson(600, 2.0, prompt=6000), kind(EXACT, max_num_batched_tokens=512)),
    "experts and sliding windows": lambda: (
        poisson(800, 8.0, prompt=2000, output=400), kind(EXACT, id="openai/gpt-oss-20b", gpus=1, weights="mxfp4"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKLOADS)
def test_without_noise_real_shapes_agree_request_by_request(name: str) -> None:
    arrivals, one = WORKLOADS[name]()
    slow, quick = (fleet(BOTH[which], arrivals, one, one) for which in ("reference", "fast"))
    for servers in (slow, quick):
        servers.run_until(LATER_S)
    for field in ("outcome", "slot", "ttft_s", "tpot_s", "e2e_s", "preemptions"):
        expected, found = getattr(slow.results(), field), getattr(quick.results(), field)
        assert found == pytest.approx(expected, rel=1e-8), field
    assert (quick.counters().preemptions.sum() > 10) == (name in {"preemptions", "long outputs in a small cache"})


def quantiles(servers: Servers) -> dict[str, float]:
    counts = servers.counters().itl_hist.sum(axis=0).cumsum()
    bounds = np.append(BUCKETS.itl_s, np.inf)
    found = {}
    for share in (0.50, 0.95, 0.99):
        found[f"itl_p{100 * share:.0f}"] = float(bounds[np.searchsorted(counts, share * counts[-1])])
        found[f"ttft_p{100 * share:.0f}"] = float(np.quantile(servers.results().ttft_s, share))
        found[f"tpot_p{100 * share:.0f}"] = float(np.quantile(servers.results().tpot_s, share))
    return found


@pytest.mark.parametrize("per_s", [2.0, 6.0])
def test_with_noise_the_tails_agree_within_3_percent(per_s: float) -> None:
    arrivals = poisson(4000, per_s, seed=2)
    slow, quick = (fleet(BOTH[which], arrivals, kind(Truth())) for which in ("reference", "fast"))
    for servers in (slow, quick):
        servers.run_until(LATER_S)
    expected = quantiles(slow)
    assert quantiles(quick) == pytest.approx(expected, rel=0.03)
    assert quick.counters().itl_sum == pytest.approx(slow.counters().itl_sum, rel=0.005)


def test_noise_of_many_steps_averages_out_as_if_each_were_drawn() -> None:
    arrivals = requests(*((10.0 * number, 500, 100) for number in range(200)))
    spreads = {}
    for name, factory in BOTH.items():
        servers = fleet(factory, arrivals, kind(Truth(step_noise=0.05)))
        servers.run_until(LATER_S)
        spreads[name] = float(np.log(servers.results().tpot_s).std())
    assert spreads["reference"] == pytest.approx(0.05 / 99**0.5, rel=0.15)
    assert spreads["fast"] == pytest.approx(spreads["reference"], rel=0.2)
