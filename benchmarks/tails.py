"""Latency percentiles of the physics against the discrete-event engine, by utilisation.

    python -m benchmarks.tails [--requests 5000] [--seeds 3]

The engine (`inferencefleet.simulator.engine`) shares the step time with the physics and nothing else: batches, chunks,
queues, KV blocks and preemptions are its own. So the table says what the closed forms of capacity miss, not what the
step time misses. Workloads marked `fit` were looked at when the few constants of the queue were chosen; those marked
`check` were not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper import Paper, Table, median
from benchmarks.shapes import a_shape
from inferencefleet.domain.capacity import Limit, ReplicaShape
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.capacity import operating_latencies_s, replica_capacity
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.physics.prefill import host_s
from inferencefleet.simulator.request import Request
from inferencefleet.simulator.truth import Truth, build_engine

Floats = NDArray[np.float64]
UTILISATIONS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
COLUMNS = ("itl_mean", "itl_p50", "itl_p95", "itl_p99", "ttft_p50", "ttft_p95", "ttft_p99", "e2e_p95")
PERCENTILES = (50, 95, 99)
WARM_UP = 0.25
"""Share of the requests that fills the replica before anything is counted."""
COUNTED = 0.9
"""Requests after this share keep the replica busy until those before are done."""
LIKE_PHYSICS = Truth(replica_spread=0.0, step_noise=0.0, frontend_s=0.0)
"""What the host costs a prompt is added to the times of the engine by the formula of the physics."""
BUSY = 0.8
"""Utilisation above which more requests are simulated: the queues there forget slowly."""
MORE = 3
SEEN = 0.05
"""Share of requests that wait for room where the limits of KV cache and slots should bind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    name: str
    fit: bool
    shape: ReplicaShape
    lengths: LengthMix


@dataclass(slots=True)
class Measured:
    """One run of the engine; seconds."""

    ttft: list[float] = field(default_factory=list)
    e2e: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    """Token intervals that each step ended."""
    waited: float = 0.0
    """Share of requests that found no KV blocks or no slot when they were at the head of the queue."""
    preempted: int = 0

    def percentiles(self) -> dict[str, float]:
        """By the names of `COLUMNS`."""
        step, tokens = np.array(self.step), np.array(self.tokens, dtype=np.float64)
        order = np.argsort(step)
        below = np.cumsum(tokens[order]) / tokens.sum()
        found = {"itl_mean": float((step * tokens).sum() / tokens.sum())}
        for level in PERCENTILES:
            found[f"itl_p{level}"] = float(step[order][np.searchsorted(below, level / 100)])
            found[f"ttft_p{level}"] = float(np.percentile(self.ttft, level))
            found[f"e2e_p{level}"] = float(np.percentile(self.e2e, level))
        return found


def simulate(workload: Workload, requests_per_s: float, requests: int, seed: int) -> Measured:
    """Poisson arrivals of requests drawn from the mix."""
    random = Random(seed)
    engine = build_engine(workload.shape, LIKE_PHYSICS, seed)
    lengths = workload.lengths
    most = workload.shape.limits.max_model_len_tokens
    due: list[Request] = []
    now = 0.0
    for number in range(requests):
        now += random.expovariate(requests_per_s)
        pick = random.randrange(lengths.prompt_tokens.size)
        prompt = min(max(1, round(float(lengths.prompt_tokens[pick]))), most - 1)
        output = max(1, min(round(float(lengths.output_tokens[pick])), most - prompt))
        cached = int(prompt * lengths.prefix_hit_ratio)
        due.append(Request(number, now, prompt, output, cached_tokens=cached))
    found = Measured()
    first, stop = due[int(requests * WARM_UP)].arrival_s, due[int(requests * COUNTED)].arrival_s
    last = due[-1].arrival_s
    due.reverse()
    refused: set[int] = set()
    while due or engine.in_flight:
        ends = engine.next_event_s()
        if ends is None or (due and due[-1].arrival_s <= ends):
            request = due.pop()
            engine.submit(request, request.arrival_s)
            continue
        result = engine.step(ends)
        if first <= result.started_s <= last:
            if result.decoded:
                found.step.append(result.duration_s)
                found.tokens.append(result.decoded)
            found.preempted += len(result.preempted)
            if engine.waiting:
                head = engine.waiting[0]
                # The head of the queue waits although the budget of tokens has room: for blocks or for a slot.
                scarce = engine.kv.blocks_for(head.target) > engine.kv.free - int(0.01 * engine.kv.total)
                if scarce or len(engine.running) >= engine.config.max_num_seqs:
                    refused.add(head.id)
        for request in result.first_tokens:
            if first <= request.arrival_s <= stop:
                host = float(host_s(request.prompt_tokens))
                found.ttft.append(host + (request.first_token_s or 0.0) - request.arrival_s)
        for request in result.finished:
            if first <= request.arrival_s <= stop:
                host = float(host_s(request.prompt_tokens))
                found.e2e.append(host + (request.last_token_s or 0.0) - request.arrival_s)
    found.waited = len(refused) / (requests * (1.0 - WARM_UP))
    return found


def workloads() -> tuple[Workload, ...]:
    """Half of them to fit, half to check: dense and MoE, one to eight GPUs of several types."""
    return (
        _workload("short chat, 32B on 2 x H100", True, "Qwen/Qwen3-32B", "H100-SXM", 2, "bf16",
                  lognormal_mix(prompt_mean=1000, output_mean=250)),
        _workload("RAG prompts, 8B on H100", True, "meta-llama/Llama-3.1-8B-Instruct", "H100-SXM", 1, "bf16",
                  lognormal_mix(prompt_mean=8000, prompt_p95=16000, output_mean=200)),
        _workload("heavy tail, 8B on A100", True, "meta-llama/Llama-3.1-8B-Instruct", "A100-SXM", 1, "bf16",
                  lognormal_mix(prompt_mean=2000, prompt_p95=7000, output_mean=200, output_p95=650)),
        _workload("long outputs, MoE on H200", True, "Qwen/Qwen3-30B-A3B", "H200", 1, "bf16",
                  lognormal_mix(prompt_mean=500, output_mean=1200)),
        _workload("near the KV limit, 32B fp8 on H100", True, "Qwen/Qwen3-32B", "H100-SXM", 1, "fp8",
                  lognormal_mix(prompt_mean=3000, output_mean=400)),
        _workload("slots, 8B with 48 on L40S", True, "meta-llama/Llama-3.1-8B-Instruct", "L40S", 1, "fp8",
                  lognormal_mix(prompt_mean=600, output_mean=300), max_num_seqs=48),
        _workload("chat, MoE on H100", False, "Qwen/Qwen3-30B-A3B", "H100-SXM", 1, "fp8",
                  lognormal_mix(prompt_mean=1200, output_mean=300)),
        _workload("prefix hits 0.7, 70B fp8 on 4 x H100", False, "meta-llama/Llama-3.3-70B-Instruct", "H100-SXM", 4,
                  "fp8", lognormal_mix(prompt_mean=6000, output_mean=300, prefix_hit_ratio=0.7)),
        _workload("summaries, chunks of 2048, 70B on 8 x H200", False, "meta-llama/Llama-3.3-70B-Instruct", "H200", 8,
                  "bf16", lognormal_mix(prompt_mean=6000, prompt_p95=16000, output_mean=250),
                  max_num_batched_tokens=2048),
        _workload("labels of 20 tokens, 8B on L40S", False, "meta-llama/Llama-3.1-8B-Instruct", "L40S", 1, "bf16",
                  lognormal_mix(prompt_mean=600, output_mean=20)),
        _workload("code, heavy tail, MoE on B200", False, "Qwen/Qwen3-235B-A22B", "B200", 4, "fp8",
                  lognormal_mix(prompt_mean=3000, prompt_p95=10500, output_mean=150, output_p95=500)),
        _workload("reasoning near the KV limit, 14B on A100", False, "Qwen/Qwen3-14B", "A100-SXM", 1, "bf16",
                  lognormal_mix(prompt_mean=1500, output_mean=900, output_p95=2800)),
    )  # fmt: skip


def _workload(
    name: str, fit: bool, id: str, gpu_name: str, gpus: int, weights: str, lengths: LengthMix, **limits: int
) -> Workload:
    return Workload(name=name, fit=fit, shape=a_shape(id, gpu_name, gpus, weights, **limits), lengths=lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One workload at one utilisation: signed errors of the physics by the names of `COLUMNS`."""

    workload: Workload
    utilisation: float
    errors: Mapping[str, float]
    spread: float
    """Standard deviation of the measured TTFT p95 over seeds, as a share of its mean."""
    waited: float
    preempted: int


def highest_rate(workload: Workload) -> float:
    """Requests/s that a full replica completes: utilisation 1."""
    return 1.0 / float(operating_latencies_s(workload.shape, workload.lengths, [1.0])["utilisation"][0])


def seeds_of(workload: Workload, seeds: int) -> list[int]:
    """Other arrivals for each workload, the same in every run of the benchmark."""
    first = crc32(workload.name.encode())
    return [first + number for number in range(seeds)]


def compare(workload: Workload, utilisation: float, requests: int, seeds: int) -> Point:
    """The physics against the mean of the percentiles of some runs."""
    rate = utilisation * highest_rate(workload)
    count = requests * (MORE if utilisation > BUSY else 1)
    runs = [simulate(workload, rate, count, seed) for seed in seeds_of(workload, seeds)]
    measured = [run.percentiles() for run in runs]
    modelled = operating_latencies_s(workload.shape, workload.lengths, [rate], PERCENTILES)
    tails = np.array([each["ttft_p95"] for each in measured])
    return Point(
        workload=workload,
        utilisation=utilisation,
        errors={
            name: float(modelled[name][0]) / float(np.mean([each[name] for each in measured])) - 1.0 for name in COLUMNS
        },
        spread=float(tails.std(ddof=1) / tails.mean()) if seeds > 1 else 0.0,
        waited=float(np.mean([run.waited for run in runs])),
        preempted=sum(run.preempted for run in runs),
    )


def room_binds(workload: Workload, requests: int, seeds: int) -> tuple[Limit, float, float]:
    """Which of KV cache and slots binds, its rate, and the rate at which 5 % of simulated requests wait for room."""
    limits = replica_capacity(workload.shape, workload.lengths, ()).limits_requests_per_s
    limit = min((Limit.KV_MEMORY, Limit.MAX_SEQS), key=lambda each: limits[each])
    low, high = 0.5 * limits[limit], 1.4 * limits[limit]
    for _ in range(6):
        middle = (low + high) / 2
        waited = float(
            np.mean([simulate(workload, middle, requests, seed).waited for seed in seeds_of(workload, seeds)])
        )
        low, high = (middle, high) if waited < SEEN else (low, middle)
    return limit, limits[limit], (low + high) / 2


def summary(points: Iterable[Point], fit: bool) -> Table:
    """Median and largest size of the error by utilisation."""
    chosen = [point for point in points if point.workload.fit is fit]
    rows = []
    for level in UTILISATIONS:
        here = [point for point in chosen if point.utilisation == level]
        sizes = {name: [abs(point.errors[name]) for point in here] for name in COLUMNS}
        spread = median([point.spread for point in here])
        rows.append([
            f"{level:g}", *(f"{100 * median(each):.0f} / {100 * max(each):.0f}" for each in sizes.values()),
            f"{100 * spread:.0f}",
        ])  # fmt: skip
    return Table(("u", *COLUMNS, "seeds"), rows)


def details(points: Iterable[Point]) -> Table:
    """Signed errors of every workload."""
    rows = [
        [
            f"{point.workload.name} ({'fit' if point.workload.fit else 'check'})", f"{point.utilisation:g}",
            *(f"{100 * point.errors[name]:+.0f}" for name in COLUMNS),
            f"{100 * point.spread:.0f}", f"{100 * point.waited:.1f}", str(point.preempted),
        ]
        for point in points
    ]  # fmt: skip
    return Table(("workload", "u", *COLUMNS, "seeds", "waited", "preempted"), rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=5000, help="in each run; three times as many above 0.8")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args(argv)
    paper = Paper(
        name="tails",
        title="Latency percentiles of the physics against the discrete-event engine",
        seed=f"{arguments.seeds} from the name of each workload",
    )
    points = [
        compare(workload, level, arguments.requests, arguments.seeds)
        for workload in workloads()
        for level in UTILISATIONS
    ]
    room = [
        (workload.name, *room_binds(workload, arguments.requests, arguments.seeds))
        for workload in workloads()
        if "limit" in workload.name or "slots" in workload.name
    ]
    paper.parts += [
        f"Errors in percent, {arguments.requests} requests a run (three times as many above u = {BUSY:g}), "
        f"{arguments.seeds} runs a point, Poisson arrivals. Utilisation 1 is the rate that a full replica completes. "
        "The engine shares the step time with the physics and nothing else. *seeds* is the standard deviation of the "
        "measured TTFT p95 over the runs: no error far below it means anything.",
        "## Workloads that were looked at when constants were chosen: median / largest size of the error",
        summary(points, fit=True),
        "## Workloads that were only checked: median / largest size of the error",
        summary(points, fit=False),
        "## Where residents fill their room",
        "The rate at which the physics says that KV cache or slots are full 5 % of the time, and the rate at which 5 % "
        "of the simulated requests find no room at the head of the queue.",
        Table(
            ("workload", "limit", "physics", "engine", "error"),
            [
                [name, str(limit), f"{said:.2f}/s", f"{seen:.2f}/s", f"{100 * (said / seen - 1):+.0f} %"]
                for name, limit, said, seen in room
            ],
        ),
        "## Every workload: signed errors",
        "*waited*: percent of requests that found no room; *preempted*: preemptions in all runs.",
        details(points),
    ]
    paper.figures = {
        "points": [
            {
                "workload": point.workload.name, "fit": point.workload.fit, "utilisation": point.utilisation,
                "errors": dict(point.errors), "spread": point.spread, "waited": point.waited,
                "preempted": point.preempted,
            }
            for point in points
        ],
        "room": [
            {"workload": name, "limit": str(limit), "physics": said, "engine": seen} for name, limit, said, seen in room
        ],
    }  # fmt: skip
    paper.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
