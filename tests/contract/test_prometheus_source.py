"""MetricsSource against a genuine Prometheus that scrapes real vLLM expositions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inferencefleet.adapters.prometheus.queries import Vocabulary
from inferencefleet.adapters.prometheus.source import PrometheusMetricsSource
from inferencefleet.domain.observation import FleetMetrics, MetricsGap
from sandbox.waiting import wait_until
from tests.contract.scraping import Engine, Engines, prometheus, scrape, with_value, without, zeroed
from tests.fakes.worlds import a_fleet

pytestmark = pytest.mark.cluster

CLUSTER = 'north "1" \\ east\n2'
"""A label value that breaks every query in which it is not escaped."""

WINDOW_S = 20
ABORTED = 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="qwen2.5-1.5b"}'


@dataclass
class Stage:
    """All engines of this module, scraped by one Prometheus."""

    engines: Engines = field(default_factory=Engines)
    url: str = ""

    def source(self, **settings: object) -> PrometheusMetricsSource:
        vocabulary = settings.pop("vocabulary", Vocabulary(matchers={"cluster": CLUSTER}))
        defaults: dict[str, object] = {"window_s": WINDOW_S, "attainment_every_s": 0.0}
        return PrometheusMetricsSource(self.url, vocabulary=vocabulary, **{**defaults, **settings})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Engines start idle; after the first scrapes each shows what it has served."""
    new, old, idle = scrape("v1_0.29.0"), scrape("v0_2024-08"), scrape("v1_0.11")
    busy = with_value(with_value(new, "vllm:num_requests_running", 3), "vllm:kv_cache_usage_perc", 0.25)
    specs = [
        ("new", "h100-spot", new),
        ("old", "a100", old),
        ("mixed", "h100-spot", busy),
        ("mixed", "a100", old),
        ("idle", "h100-spot", idle),
        ("specdecode", "h100-spot", scrape("v1_0.24")),
        ("keyless", "h100-spot", without(busy, "vllm:kv_cache_usage_perc")),
        ("dead-gauge", "h100-spot", with_value(busy, "vllm:kv_cache_usage_perc", 0)),
        ("nan", "h100-spot", with_value(busy, "vllm:kv_cache_usage_perc", "NaN")),
        ("aborting", "h100-spot", with_value(new, ABORTED, 50)),
        ("nim", "a10", scrape("v0_2024-10")),
    ]  # fmt: skip
    stage = Stage()
    real = {id(stage.engines.add(Engine(fleet, pool, zeroed(text)))): text for fleet, pool, text in specs}
    late = int((time.time() - 100) * 1000)
    stale = with_value(zeroed(new), "vllm:num_requests_running", 1, late)
    stage.engines.add(Engine("stale", "h100-spot", with_value(stale, "vllm:num_requests_waiting", 1, late)))
    stage.engines.add(Engine("ramp", "h100-spot", zeroed(new)))
    stage.engines.add(Engine("new", "h100-spot", with_value(zeroed(new), "vllm:num_requests_running", 9), "staging"))
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, stage.engines, {"cluster": CLUSTER}) as stage.url:
        engines = list(stage.engines.by_path.values())
        wait_until(lambda: all(engine.scrapes >= 2 for engine in engines), "idle scrapes", timeout_s=30)
        for engine in engines:
            engine.text = real.get(id(engine), engine.text)
            engine.scrapes = 0
        wait_until(lambda: all(engine.scrapes >= 4 for engine in engines), "scrapes of the served", timeout_s=30)
        yield stage


async def read(source: PrometheusMetricsSource, name: str, namespace: str = "prod") -> FleetMetrics | MetricsGap:
    fleet = a_fleet(name, namespace)
    try:
        return (await source.read([fleet]))[fleet.key]
    finally:
        source.close()


async def metrics_of(stage: Stage, name: str, **settings: object) -> FleetMetrics:
    """What is read once the target is up: a scrape that a busy machine delays past its time-out hides it a moment."""
    deadline = time.monotonic() + 10
    found = await read(stage.source(**settings), name)
    while not isinstance(found, FleetMetrics) and time.monotonic() < deadline:
        found = await read(stage.source(**settings), name)
    assert isinstance(found, FleetMetrics), found
    return found


async def test_everything_a_new_vllm_says_arrives_in_the_vocabulary(stage: Stage) -> None:
    found = await metrics_of(stage, "new")
    assert set(found.pools) == {"h100-spot"}
    pool = found.pools["h100-spot"]
    assert (pool.engines, pool.running, pool.waiting) == (1, 0, 0)
    assert pool.kv_cache_usage_max == 0.0  # known to be idle, not unknown
    # Ten requests within the window: the scrape says 530 prompt tokens, 432 of them cached, 584 generated.
    assert found.completions_per_s == pytest.approx(10 / WINDOW_S, rel=0.3)
    assert found.prompt_tokens_per_s == pytest.approx(530 / WINDOW_S, rel=0.3)
    assert found.output_tokens_per_s == pytest.approx(584 / WINDOW_S, rel=0.3)
    assert found.prefix_hit_ratio == pytest.approx(432 / 530, rel=1e-6)
    assert found.preemptions_per_s == 0.0
    assert found.ttft_s is not None
    assert found.ttft_s.mean == pytest.approx(1.4721 / 10, rel=1e-3)
    assert found.ttft_s.total == pytest.approx(10, rel=0.3)
    assert found.itl_s is not None
    assert found.itl_s.mean == pytest.approx(8.9792 / 574, rel=1e-3)
    assert found.e2e_s is not None
    assert found.e2e_s.mean == pytest.approx(10.4483 / 10, rel=1e-3)
    assert found.prompt_tokens is not None
    assert found.prompt_tokens.mean == pytest.approx(53, rel=1e-3)
    assert found.output_tokens is not None
    assert found.output_tokens.mean == pytest.approx(58.4, rel=1e-3)
    assert found.ttft_s.bounds[-1] == float("inf")
    assert sum(found.ttft_s.counts) == pytest.approx(found.ttft_s.total)
    assert found.ttft_long_s is not None
    assert found.ttft_long_s.mean == pytest.approx(found.ttft_s.mean)
    assert found.window_s == WINDOW_S
    assert 0 <= time.time() - found.at_s < 5


async def test_names_of_an_old_vllm_are_understood_and_what_it_does_not_know_is_none(stage: Stage) -> None:
    found = await metrics_of(stage, "old")
    pool = found.pools["a100"]
    assert (pool.engines, pool.running) == (1, 3)
    assert pool.waiting == 2 + 3  # two models behind one endpoint
    assert pool.kv_cache_usage_max == pytest.approx(0.00262, rel=1e-2)
    assert found.itl_s is not None
    assert found.itl_s.total == pytest.approx(2537, rel=0.3)
    assert found.prefix_hit_ratio is None


async def test_a_fleet_in_the_middle_of_an_upgrade_is_read_in_both_languages(stage: Stage) -> None:
    found = await metrics_of(stage, "mixed")
    assert found.pools["h100-spot"].kv_cache_usage_max == 0.25
    assert found.pools["a100"].kv_cache_usage_max == pytest.approx(0.00262, rel=1e-2)
    assert found.itl_s is not None
    assert found.itl_s.total == pytest.approx(2537 + 574, rel=0.3)
    assert found.completions_per_s == pytest.approx((10 + 6) / WINDOW_S, rel=0.3)
    assert (found.engines, found.running, found.waiting) == (2, 6, 5)


async def test_the_window_of_each_pool_tells_latencies_tokens_restarts_and_models(stage: Stage) -> None:
    found = await metrics_of(stage, "mixed")
    new, old = found.pools["h100-spot"].window, found.pools["a100"].window
    assert new is not None
    assert old is not None
    assert new.itl_mean_s == pytest.approx(8.9792 / 574, rel=1e-3)
    assert new.ttft_mean_s == pytest.approx(1.4721 / 10, rel=1e-3)
    assert new.prefill_mean_s is not None
    assert new.prefill_mean_s < new.ttft_mean_s
    assert new.requests_per_s == pytest.approx(10 / WINDOW_S, rel=0.3)
    assert new.prefix_hit_ratio == pytest.approx(432 / 530, rel=1e-6)
    # 530 prompt tokens of which 432 were cached, and 584 generated.
    assert new.scheduled_tokens_per_s == pytest.approx((530 - 432 + 584) / WINDOW_S, rel=0.4)
    assert (new.preemptions_per_s, new.resets, new.models) == (0.0, 0.0, ("qwen2.5-1.5b",))
    assert new.running_late is not None
    assert 0 < new.running_late <= 3, "a mean over scrapes before and after it began to serve"
    assert old.itl_intervals_per_s == pytest.approx(2537 / WINDOW_S, rel=0.3)
    assert old.prefix_hit_ratio is None
    assert old.scheduled_tokens_per_s is None or old.scheduled_tokens_per_s > 0


async def test_an_engine_before_its_first_request_is_idle_and_its_ratios_are_unknown(stage: Stage) -> None:
    found = await metrics_of(stage, "idle")
    assert found.completions_per_s == 0.0
    assert found.pools["h100-spot"].kv_cache_usage_mean == 0.0
    assert found.prefix_hit_ratio is None  # 0/0
    assert found.ttft_s is not None
    assert found.ttft_s.total == 0
    assert found.ttft_s.mean is None


async def test_token_buckets_are_those_of_the_scrape_whatever_the_context_length(stage: Stage) -> None:
    found = await metrics_of(stage, "specdecode")
    assert found.prompt_tokens is not None
    assert found.prompt_tokens.bounds[-2] == 1e6
    assert found.itl_s is not None
    assert found.itl_s.mean == pytest.approx(0.0797, rel=1e-2)


@pytest.mark.parametrize("name", ["keyless", "dead-gauge", "nan"])
async def test_kv_use_that_is_missing_dead_or_not_a_number_is_unknown_never_zero(stage: Stage, name: str) -> None:
    pool = (await metrics_of(stage, name)).pools["h100-spot"]
    assert pool.running == 3
    assert pool.kv_cache_usage_mean is None
    assert pool.kv_cache_usage_max is None


async def test_aborted_requests_are_not_completions(stage: Stage) -> None:
    assert (await metrics_of(stage, "aborting")).completions_per_s == pytest.approx(10 / WINDOW_S, rel=0.3)


async def test_the_prefix_of_metric_names_can_be_another_one(stage: Stage) -> None:
    found = await metrics_of(stage, "nim", vocabulary=Vocabulary(prefix=""))
    assert found.running == 1
    assert found.completions_per_s == pytest.approx(5 / WINDOW_S, rel=0.3)


async def test_fleets_of_the_same_name_in_two_namespaces_are_kept_apart(stage: Stage) -> None:
    found = await read(stage.source(), "new", "staging")
    assert isinstance(found, FleetMetrics)
    assert found.running == 9


async def test_growth_of_what_is_in_the_system_is_its_slope(stage: Stage) -> None:
    engine = next(engine for engine in stage.engines.by_path.values() if engine.fleet == "ramp")
    idle, started = engine.text, time.monotonic()
    deadline = started + 30
    found = await metrics_of(stage, "ramp", window_s=3)
    # 20 requests more each second, half of them waiting
    while abs((found.in_system_growth_per_s or 0.0) - 20) > 4:
        assert time.monotonic() < deadline, found.in_system_growth_per_s
        grown = 10 * (time.monotonic() - started)
        running = with_value(idle, "vllm:num_requests_running", grown)
        engine.text = with_value(running, "vllm:num_requests_waiting", grown)
        await asyncio.sleep(0.05)
        found = await metrics_of(stage, "ramp", window_s=3)
    engine.text = idle


async def test_a_fleet_without_series_is_a_gap_and_does_not_disturb_the_others(stage: Stage) -> None:
    source, nobody, known = stage.source(), a_fleet("nobody"), a_fleet("new")
    found = await source.read([nobody, known])
    source.close()
    gap = found[nobody.key]
    assert isinstance(gap, MetricsGap)
    assert gap.code == "NoSamples"
    assert "'nobody'" in gap.sentence
    assert isinstance(found[known.key], FleetMetrics)


async def test_samples_that_are_too_old_are_a_gap_with_their_age(stage: Stage) -> None:
    gap = await read(stage.source(max_age_s=60), "stale")
    assert isinstance(gap, MetricsGap)
    assert gap.code == "StaleSamples"
    assert "s old, more than the 60 s that are trusted" in gap.sentence
    trusted = await read(stage.source(max_age_s=250), "stale")
    assert isinstance(trusted, FleetMetrics)
    assert trusted.running == 1
    assert time.time() - trusted.at_s > 90


async def test_a_pod_that_stops_answering_is_no_engine_any_more(stage: Stage) -> None:
    engine = next(
        engine for engine in stage.engines.by_path.values() if (engine.fleet, engine.pool) == ("mixed", "a100")
    )
    text, engine.text = engine.text, ""
    deadline = time.monotonic() + 20
    try:
        while "a100" in (found := await metrics_of(stage, "mixed")).pools:
            assert time.monotonic() < deadline
        assert found.engines == 1
        # What it finished within the window still counts.
        assert found.completions_per_s is not None
        assert found.completions_per_s > 12 / WINDOW_S
    finally:
        engine.text = text


async def test_a_prometheus_that_went_away_is_a_gap_for_every_fleet_that_names_the_address(
    stage: Stage, tmp_path: Path
) -> None:
    with prometheus(tmp_path, Engines()) as url:
        source = PrometheusMetricsSource(url, timeout_s=2)
        answer = (await source.read([a_fleet()]))[a_fleet().key]
        assert isinstance(answer, MetricsGap)
        assert answer.code == "NoSamples"
    started = time.monotonic()
    found = await source.read([a_fleet("one"), a_fleet("two")])
    source.close()
    assert time.monotonic() - started < 8
    assert len(found) == 2
    for gap in found.values():
        assert isinstance(gap, MetricsGap)
        assert gap.code == "PrometheusUnreachable"
        assert url in gap.sentence
        assert "refused" in gap.sentence
