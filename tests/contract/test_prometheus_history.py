"""The past of arrivals from a genuine Prometheus that holds two days of recorded samples."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from inferencefleet.adapters.prometheus.source import PrometheusMetricsSource
from inferencefleet.domain.history import BLOCK_S
from inferencefleet.domain.snapshot import FleetMemory
from inferencefleet.planning.remember import reminded
from sandbox.toolchain import resolve
from tests.contract.scraping import Engines, prometheus
from tests.fakes.worlds import a_fleet

pytestmark = pytest.mark.cluster

DAYS, SCRAPE_S = 2, 60
DAY_S = 86_400


@dataclass(frozen=True)
class Recorded:
    url: str
    now_s: float

    def rate(self, at_s: float) -> float:
        """Requests per second that the samples were made of: 10 on average, most at noon."""
        return 10 + 5 * math.sin(2 * math.pi * at_s / DAY_S)


def samples(recorded: Recorded, name: str, since_s: float) -> Iterator[str]:
    """OpenMetrics of two pods, one of which started again yesterday; a third of what finishes is aborted."""
    rows: dict[str, list[str]] = {"finished": [], "running": [], "waiting": []}
    for pod, share in (("a", 0.25), ("b", 0.75)):
        labels = f'namespace="prod",inferencefleet_io_fleet="{name}",inferencefleet_io_pool="spot",instance="{pod}"'
        total = 0.0
        at_s = since_s
        while at_s <= recorded.now_s:
            total = 0.0 if pod == "a" and abs(at_s - (recorded.now_s - DAY_S)) < SCRAPE_S / 2 else total
            total += share * recorded.rate(at_s) * SCRAPE_S
            for reason, factor in (("stop", 1.0), ("abort", 0.5)):
                rows["finished"].append(
                    f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {factor * total:.3f} {at_s:.3f}'
                )
            # Twelve more each minute are in the system of the fleet during the last half hour.
            grown = max(0.0, at_s - (recorded.now_s - 1800)) / 60 * 12 * share
            rows["running"].append(f"vllm:num_requests_running{{{labels}}} {grown:.3f} {at_s:.3f}")
            rows["waiting"].append(f"vllm:num_requests_waiting{{{labels}}} 0 {at_s:.3f}")
            at_s += SCRAPE_S
    yield "# TYPE vllm:request_success counter"
    yield from rows["finished"]
    yield "# TYPE vllm:num_requests_running gauge"
    yield from rows["running"]
    yield "# TYPE vllm:num_requests_waiting gauge"
    yield from rows["waiting"]
    yield "# EOF"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("history")
    now_s = time.time() // SCRAPE_S * SCRAPE_S
    text = "\n".join(samples(Recorded("", now_s), "chat", now_s - DAYS * DAY_S)) + "\n"
    (folder / "samples.txt").write_text(text)
    command = [*resolve().promtool, "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    with prometheus(folder, Engines()) as url:
        yield Recorded(url, now_s)


async def test_the_rates_of_two_days_come_back_as_blocks_and_the_last_half_hour_with_what_piles_up(
    recorded: Recorded,
) -> None:
    source = PrometheusMetricsSource(recorded.url, window_s=240)
    chat, nobody = a_fleet("chat"), a_fleet("nobody")
    found = await source.history([chat, nobody], recorded.now_s)
    source.close()
    past = found[chat.key]
    assert (found[nobody.key].recent, found[nobody.key].blocks) == ((), ()), "asked, and known to have no past"
    starts = [at_s for at_s, _ in past.blocks]
    assert starts == sorted(set(starts))
    assert all(at_s % BLOCK_S == 0 for at_s in starts)
    assert len(starts) >= DAYS * 288 - 3
    for at_s, rate in past.blocks[1:]:
        if abs(at_s - (recorded.now_s - DAY_S)) > 2 * BLOCK_S:  # where a pod started again
            assert rate == pytest.approx(recorded.rate(at_s + BLOCK_S / 2), rel=0.03), "aborted requests do not count"
    assert past.recent[-1][0] > recorded.now_s - 60
    at_s, arrivals = past.recent[-1]
    assert arrivals == pytest.approx(recorded.rate(at_s) + 12 / 60, rel=0.05)
    assert len(past.recent) >= 100


async def test_an_operator_that_starts_knows_yesterday_at_once(recorded: Recorded) -> None:
    source = PrometheusMetricsSource(recorded.url, window_s=240)
    chat = a_fleet("chat")
    memory = reminded(FleetMemory(), (await source.history([chat], recorded.now_s))[chat.key])
    source.close()
    yesterday_s = recorded.now_s - DAY_S + 3600
    assert memory.blocks.mean_at(yesterday_s) == pytest.approx(recorded.rate(yesterday_s), rel=0.03)
