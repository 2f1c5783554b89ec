"""The parts of the twin that need no cluster: container arguments, traffic, routing, the ledger, scenario files."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from inferencefleet.domain.hardware import NumberFormat
from inferencefleet.simulator.engine import StepResult
from inferencefleet.simulator.truth import Truth, build_engine
from sandbox.scenario import SCENARIOS, Delay, Scenario, SloScenario, Target, Traffic, load_scenario, parse_duration
from sandbox.twin.clock import Clock
from sandbox.twin.fine import FineHistogram
from sandbox.twin.ledger import Ledger
from sandbox.twin.podspec import ContainerCrash, read_order, seen_ready_after
from sandbox.twin.replica import Drive, Job, Replica
from sandbox.twin.router import Router
from sandbox.twin.traffic import Player, RateCurve, Trace

ARGS = ["Qwen/Qwen3-32B", "--served-model-name", "chat", "--tensor-parallel-size=2", "--max-num-seqs", "128",
        "--max-num-batched-tokens=1024", "--max-model-len", "16384", "--gpu-memory-utilization", "0.9",
        "--shutdown-timeout=30", "--enable-prefix-caching"]  # fmt: skip


def pod(*args: str, gpus: int = 2, image: str = "vllm/vllm-openai:v0.33.0", **container: Any) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    main = {"name": "vllm", "image": image, "command": ["vllm", "serve"], "args": list(args or ARGS)}
    return {"spec": {"containers": [{**main, "resources": {"limits": limits}, **container}]}}


# -- container arguments ---------------------------------------------------------------------------------------------


def test_the_arguments_of_a_real_pod_become_a_replica_shape() -> None:
    order = read_order(pod(lifecycle={"preStop": {"sleep": {"seconds": 5}}}), "H100-SXM")
    assert order.served_names == ("chat",)
    assert order.shape.tensor_parallel == 2
    assert order.shape.weights is NumberFormat.BF16
    assert order.shape.limits.max_num_seqs == 128
    assert order.shape.limits.max_num_batched_tokens == 1024
    assert (order.pre_stop_s, order.shutdown_timeout_s) == (5.0, 30.0)


def test_an_exec_sleep_counts_as_pre_stop() -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "sleep 15"]}}}
    assert read_order(pod(lifecycle=hook), "H100-SXM").pre_stop_s == 15.0


def test_histogram_buckets_are_read() -> None:
    order = read_order(pod(*ARGS, "--custom-histogram-buckets", '{"inter_token_latency":[0.03,0.06]}'), "H100-SXM")
    assert order.histogram_bounds == {"inter_token_latency": (0.03, 0.06)}


@pytest.mark.parametrize(
    ("args", "image", "message"),
    [
        ((*ARGS, "--max-num-sequences=3"), "vllm/vllm-openai:v0.29.0", "unrecognized arguments: --max-num-sequences=3"),
        ((*ARGS, "--max-num-seqs=many"), "vllm/vllm-openai:v0.29.0", "invalid int value: 'many'"),
        ((*ARGS, "--tensor-parallel-size=4"), "vllm/vllm-openai:v0.29.0", "exceeds the visible GPUs"),
        (("no/such-model",), "vllm/vllm-openai:v0.29.0", "not a valid model identifier"),
        (tuple(ARGS), "vllm/vllm-openai:v0.17.1", "unrecognized arguments: --shutdown-timeout=30"),
        ((*ARGS, "--custom-histogram-buckets={}"), "vllm/vllm-openai:v0.29.0", "unrecognized arguments"),
        ((*ARGS, "--gpu-memory-utilization=1.5"), "vllm/vllm-openai:v0.29.0", "must be in"),
    ],
)
def test_what_the_real_server_refuses_ends_the_container(args: tuple[str, ...], image: str, message: str) -> None:
    with pytest.raises(ContainerCrash, match=message):
        read_order(pod(*args, image=image), "H100-SXM")


def test_a_container_without_gpus_cannot_start() -> None:
    with pytest.raises(ContainerCrash, match="no GPU is visible"):
        read_order(pod(gpus=0), "H100-SXM")


def test_readiness_is_seen_at_the_next_probe() -> None:
    container: dict[str, Any] = {"name": "vllm", "startupProbe": {"periodSeconds": 10, "failureThreshold": 3}}
    assert seen_ready_after(container, 18.0) == 20.0
    assert seen_ready_after({"name": "vllm"}, 18.0) == 18.0
    with pytest.raises(ContainerCrash, match="startup probe"):
        seen_ready_after(container, 45.0)


# -- scenarios -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("*.yaml")))
def test_every_scenario_file_loads(name: str) -> None:
    assert load_scenario(name).name == name


def test_a_typo_in_a_scenario_is_refused_with_its_name() -> None:
    with pytest.raises(ValidationError, match="spotNotise"):
        Scenario.model_validate(
            {"name": "x", "duration": "1m", "pools": [{"name": "p", "capacityType": "spot", "spotNotise": "3s"}]}
        )


def test_a_timeline_names_pools_that_exist() -> None:
    entry = {"at": "5s", "interrupt": {"pool": "other"}}
    with pytest.raises(ValidationError, match="no pool 'other'"):
        Scenario.model_validate(
            {"name": "x", "duration": "1m", "pools": [{"name": "p", "capacityType": "spot"}], "timeline": [entry]}
        )


def test_durations_need_a_unit() -> None:
    assert parse_duration("1m30s") == 90
    assert parse_duration("500ms") == 0.5
    with pytest.raises(ValueError, match="write it like"):
        parse_duration("12")


def test_a_delay_keeps_its_percentiles() -> None:
    from random import Random

    random, delay = Random(1), Delay(p50=10.0, p95=20.0)
    drawn = sorted(delay.sample(random) for _ in range(4000))
    assert drawn[2000] == pytest.approx(10, rel=0.05)
    assert drawn[3800] == pytest.approx(20, rel=0.1)


# -- traffic ---------------------------------------------------------------------------------------------------------


def test_a_rate_curve_offers_what_lies_under_it() -> None:
    curve = RateCurve([(10.0, 2.0), (20.0, 6.0)])
    assert curve.at(0.0) == 2.0
    assert curve.at(15.0) == 4.0
    assert curve.at(99.0) == 6.0
    assert curve.area(0.0, 30.0) == pytest.approx(20 + 40 + 60)
    for requests in (5.0, 20.0, 45.0, 80.0):
        due = curve.advance(0.0, requests)
        assert due is not None
        assert curve.area(0.0, due) == pytest.approx(requests)


def test_a_rate_of_zero_sends_nothing_ever() -> None:
    assert RateCurve([(0.0, 0.0)]).advance(0.0, 1.0) is None


def test_the_recording_keeps_lengths_and_bursts() -> None:
    trace = Trace("azure_llm_2023_conv.csv.gz")
    assert len(trace) == 19366
    assert sum(prompt for prompt, _ in trace.lengths) / len(trace) == pytest.approx(1154.7, abs=0.1)
    assert sum(trace.gaps) / len(trace) == pytest.approx(1.0, abs=0.02)
    # More bursty than Poisson: counts in windows of fifty mean gaps vary more than their mean.
    counts, elapsed = Counter[int](), 0.0
    for gap in trace.gaps:
        elapsed += gap
        counts[int(elapsed / 50)] += 1
    windows = list(counts.values())[:-1]
    mean = sum(windows) / len(windows)
    variance = sum((each - mean) ** 2 for each in windows) / len(windows)
    assert variance / mean > 1.5


class NullLog:
    def __init__(self) -> None:
        self.ended_as: Counter[str] = Counter()

    def arrived(self, job: Job) -> None: ...

    def first_token(self, job: Job, request: object) -> None: ...

    def ended(self, job: Job, outcome: str, now_s: float) -> None:
        self.ended_as[outcome] += 1


class ManualClock(Clock):
    """Plays to a given time instead of the wall's."""

    def play(self, until_s: float) -> None:
        import heapq

        while self._heap and self._heap[0][0] <= until_s:
            due_s, _, action = heapq.heappop(self._heap)
            self._playing_s = due_s
            action(due_s)
        self._playing_s = until_s


def world(replicas: int) -> tuple[ManualClock, Router, NullLog]:
    clock, log = ManualClock(), NullLog()
    clock.play(0.0)
    router = Router(clock, Drive(clock), log)
    for number in range(replicas):
        order = read_order(pod(), "H100-SXM")
        engine = build_engine(order.shape, Truth(), number)
        replica = Replica("default", f"r{number}", f"u{number}", "p", "n", order, engine, 0.0)
        router.add(replica)
        router.became_ready(replica)
    return clock, router, log


def test_traffic_follows_the_curve_and_an_override() -> None:
    clock, router, _ = world(0)
    player = Player(Traffic(model="chat", rate=[(0.0, 10.0)]), clock, router, seed=3)
    player.start(0.0)
    clock.play(100.0)
    assert player.sent == pytest.approx(1000, rel=0.15), "bursts are kept, so counts scatter"
    player.override(1.0, 100.0)
    before = player.sent
    clock.play(200.0)
    assert player.sent - before == pytest.approx(100, rel=0.35)
    player.stop()
    before = player.sent
    clock.play(300.0)
    assert player.sent == before


# -- routing ---------------------------------------------------------------------------------------------------------


def job(number: int, at_s: float = 0.0, output: int = 20) -> Job:
    return Job(number, "chat", at_s, 200, output)


def test_requests_go_to_the_engine_with_the_least_in_hand() -> None:
    _, router, _ = world(3)
    for number in range(9):
        router.arrive(job(number), 0.0)
    assert [replica.load for replica in router.replicas.values()] == [3, 3, 3]


def test_doomed_and_draining_engines_get_no_new_work() -> None:
    _, router, _ = world(3)
    first, second, third = router.replicas.values()
    first.doomed = True
    router.drain(second)
    for number in range(4):
        router.arrive(job(number), 0.0)
    assert [first.load, second.load, third.load] == [0, 0, 4]
    router.drain(third)
    router.arrive(job(9), 0.0)
    assert first.load == 1, "a doomed engine is better than none"


def test_a_request_without_engine_waits_and_its_ttft_counts_from_arrival() -> None:
    clock, router, log = world(1)
    (replica,) = router.replicas.values()
    replica.ready = False
    waiting = job(1)
    router.arrive(waiting, 0.0)
    assert len(router.waiting) == 1
    clock.play(7.0)
    router.became_ready(replica)
    clock.play(20.0)
    assert log.ended_as == {"finished": 1}
    assert waiting.request is not None
    assert waiting.request.ttft_s is not None
    assert waiting.request.ttft_s > 7.0


def test_a_broken_request_is_retried_once_then_failed() -> None:
    clock, router, log = world(3)
    broken = job(1, output=500)
    router.arrive(broken, 0.0)
    clock.play(0.5)
    assert broken.replica is not None
    router.remove(broken.replica)
    assert broken.attempts == 2
    assert broken.replica is not None
    router.remove(broken.replica)
    assert log.ended_as == {"failed": 1}


def test_a_killed_engine_takes_no_step_any_more() -> None:
    clock, router, _ = world(1)
    (replica,) = router.replicas.values()
    router.arrive(job(1), 0.0)
    router.remove(replica)
    clock.play(5.0)
    assert replica.engine.steps == 0


def test_a_hung_engine_moves_no_token_and_its_clients_feel_it() -> None:
    clock, router, log = world(1)
    (replica,) = router.replicas.values()
    stuck, late = job(1, output=50), job(2, at_s=2.0)
    router.arrive(stuck, 0.0)
    clock.play(0.5)
    router._drive.hang(replica, 10.0)
    before = replica.engine.metrics.generation_tokens
    clock.play(2.0)
    router.arrive(late, 2.0)
    clock.play(9.9)
    assert replica.engine.metrics.generation_tokens == before
    clock.play(20.0)
    assert log.ended_as == {"finished": 2}
    assert late.request is not None
    assert late.request.ttft_s is not None
    assert late.request.ttft_s > 8.0
    assert replica.engine.metrics.itl.counts[-6:-4] != [0, 0], "one token took about ten seconds"


# -- the ledger ------------------------------------------------------------------------------------------------------


def test_fine_percentiles_are_at_most_two_percent_high() -> None:
    histogram = FineHistogram(0.5)
    for index in range(1, 1001):
        histogram.observe(index / 1000)
    assert histogram.percentile(95) == pytest.approx(0.95, rel=0.021)
    assert histogram.share == 0.5


def test_minutes_are_judged_by_arrival_and_waiting_counts_against_them() -> None:
    ledger = Ledger(SloScenario(ttft=Target(target=2.0), itl=Target(target=0.06)))
    router_job = job(1, at_s=10.0)
    ledger.arrived(router_job)
    request = router_job.attempt()
    request.first_token_s, request.generated = 11.0, 5
    ledger.ended(router_job, "finished", 12.0)
    late = job(2, at_s=70.0)
    ledger.arrived(late)
    truth = ledger.truth(75.0, 600.0)
    assert [row["held"] for row in truth["minutes"]] == [True, False]
    assert truth["requestAttainment"] == 0.5
    assert truth["minuteAttainment"] == 0.5


def test_slow_tokens_break_the_minute_in_which_they_came() -> None:
    ledger = Ledger(SloScenario(itl=Target(target=0.06)))
    _, router, _ = world(1)
    (replica,) = router.replicas.values()
    for start_s, seconds in ((10.0, 0.03), (20.0, 0.03), (70.0, 0.09)):
        ledger.on_step(replica, StepResult(1, start_s, start_s + seconds, decoded=10))
    minutes = ledger.truth(120.0, 600.0)["minutes"]
    assert [row["itlAttainment"] for row in minutes] == [1.0, 0.0]
