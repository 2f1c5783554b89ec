"""The fast engines of a replay against the token-level ones: latency percentiles, onset of overload, and speed.

    python -m benchmarks.simulator [--requests 3000] [--seeds 2]

Both get the same arrivals and share the step time and the router's rules; batches, chunks, blocks, queues and clocks
are two programs. Workloads are those that `benchmarks.tails` only checks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import tails
from benchmarks.paper import REPOSITORY, Paper, Table, median
from benchmarks.shapes import a_shape
from benchmarks.tails import Workload, highest_rate, seeds_of
from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.fleet import Routing
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.physics.lengths import lognormal_mix
from inferencefleet.simulator import fast, reference
from inferencefleet.simulator.servers import Arrivals, Buckets, EngineKind, Servers, ServersFactory
from inferencefleet.simulator.truth import Truth

UTILISATIONS = (0.3, 0.5, 0.7, 0.85)
FLEETS = (1, 4)
SHARES = (0.50, 0.95, 0.99)
COLUMNS = tuple(f"{metric}_p{100 * share:.0f}" for metric in ("itl", "ttft", "tpot") for share in SHARES)
AIM, ONSET_AIM, SPEED_AIM = 0.03, 0.02, 200_000
WARM_UP = 0.2
"""Share of the requests whose latencies are not counted."""
NOISY, SILENT = Truth(), Truth(step_noise=0.0)
BUCKETS = Buckets(
    prompt_tokens=(100.0, 1000.0, 10_000.0), output_tokens=(100.0, 1000.0),
    ttft_s=tuple(np.geomspace(0.01, 100.0, 30)),
    itl_s=tuple(np.geomspace(0.002, 20.0, 2000)),
    e2e_s=(1.0, 10.0, 100.0),
)  # fmt: skip
"""Token intervals to 0.5 %."""
COARSE = replace(BUCKETS, itl_s=tuple(np.geomspace(0.005, 5.0, 30)))
"""As many bounds as an engine in production has."""
SCRAPE_S = 15.0


def workloads() -> list[Workload]:
    return [workload for workload in tails.workloads() if not workload.fit]


def arrivals_of(lengths: LengthMix, most: int, requests: int, per_s: float, seed: int, sessions: int = 0) -> Arrivals:
    """Poisson arrivals of requests drawn from the mix; with sessions, half of each prompt was there before."""
    random = np.random.default_rng(seed)
    picks = random.integers(0, lengths.prompt_tokens.size, requests)
    prompts = np.clip(np.rint(lengths.prompt_tokens[picks]), 1, most - 1).astype(np.int64)
    outputs = np.clip(np.rint(lengths.output_tokens[picks]), 1, most - prompts).astype(np.int64)
    return Arrivals(
        arrival_s=np.cumsum(random.exponential(1.0 / per_s, requests)),
        prompt_tokens=prompts,
        output_tokens=outputs,
        prefix_tokens=prompts // 2 if sessions else (prompts * lengths.prefix_hit_ratio).astype(np.int64),
        session=random.integers(0, sessions, requests) if sessions else np.full(requests, -1, dtype=np.int64),
    )


def fleet(
    factory: ServersFactory,
    arrivals: Arrivals,
    shape: ReplicaShape,
    replicas: int,
    truth: Truth,
    seed: int,
    routing: Routing = Routing.LOAD_AWARE,
    buckets: Buckets = BUCKETS,
) -> Servers:
    servers = factory(arrivals, routing=routing, buckets=buckets, seed=seed, itl_target_s=0.1)
    for number in range(replicas):
        servers.open(servers.add(EngineKind(shape=shape, truth=truth), seed=1000 * seed + number))
    return servers


def percentiles(servers: Servers, arrivals: Arrivals) -> dict[str, float]:
    """By the names of `COLUMNS`; warm-up and what comes after the last arrival left out."""
    skip = int(WARM_UP * len(arrivals))
    servers.run_until(float(arrivals.arrival_s[skip]))
    before = servers.counters().itl_hist.sum(axis=0)
    servers.run_until(float(arrivals.arrival_s[-1]))
    counts = (servers.counters().itl_hist.sum(axis=0) - before).cumsum()
    servers.run_until(float(arrivals.arrival_s[-1]) + 1e6)
    results = servers.results()
    bounds = np.append(np.array(BUCKETS.itl_s), np.inf)
    found = {}
    for share in SHARES:
        name = f"p{100 * share:.0f}"
        found[f"itl_{name}"] = float(bounds[np.searchsorted(counts, share * counts[-1])])
        found[f"ttft_{name}"] = float(np.nanquantile(results.ttft_s[skip:], share))
        found[f"tpot_{name}"] = float(np.nanquantile(results.tpot_s[skip:], share))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One workload at one utilisation; errors are signed shares by the names of `COLUMNS`."""

    workload: str
    replicas: int
    utilisation: float
    silent: dict[str, float]
    """The fast engines' error where steps have no noise: what the closed form is off."""
    noisy: dict[str, float]
    """The same with noise, mean percentiles of some seeds."""
    chance: dict[str, float]
    """The token-level engines under other noise and spread against themselves."""


def compare(workload: Workload, replicas: int, utilisation: float, requests: int, seeds: int) -> Point:
    rate = replicas * utilisation * highest_rate(workload)
    most = workload.shape.limits.max_model_len_tokens
    drawn = {seed: arrivals_of(workload.lengths, most, requests, rate, seed) for seed in seeds_of(workload, seeds)}

    def means(factory: ServersFactory, truth: Truth, other: int = 0) -> dict[str, float]:
        runs = [
            percentiles(fleet(factory, arrivals, workload.shape, replicas, truth, seed % 10_000 + other), arrivals)
            for seed, arrivals in drawn.items()
        ]
        return {name: float(np.mean([run[name] for run in runs])) for name in COLUMNS}

    def errors(found: dict[str, float], expected: dict[str, float]) -> dict[str, float]:
        return {name: found[name] / expected[name] - 1.0 for name in COLUMNS}

    slow = means(reference.servers, NOISY)
    return Point(
        workload=workload.name,
        replicas=replicas,
        utilisation=utilisation,
        silent=errors(means(fast.servers, SILENT), means(reference.servers, SILENT)),
        noisy=errors(means(fast.servers, NOISY), slow),
        chance=errors(means(reference.servers, NOISY, other=7), slow),
    )


def onset(factory: ServersFactory, workload: Workload, requests: int, seed: int) -> float:
    """The lowest rate, within 0.3 %, at which more than a hundredth of the requests is waiting in the end."""
    unit = arrivals_of(workload.lengths, workload.shape.limits.max_model_len_tokens, requests, 1.0, seed)

    def overloaded(rate: float) -> bool:
        arrivals = replace(unit, arrival_s=unit.arrival_s / rate)
        servers = fleet(factory, arrivals, workload.shape, 1, NOISY, seed % 10_000)
        waiting = []
        for time_s in np.linspace(0.95, 1.0, 12) * arrivals.arrival_s[-1]:
            servers.run_until(float(time_s))
            waiting.append(servers.gauges().waiting[0])
        return bool(np.mean(waiting) > 0.01 * requests)

    low, high = 0.5 * highest_rate(workload), 1.6 * highest_rate(workload)
    while high > 1.003 * low:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if overloaded(middle) else (middle, high)
    return (low * high) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    name: str
    requests: int
    tokens: int
    fast_s: float
    """Seconds of one core, the best of three."""
    reference_s: float | None
    """For the same number of requests; None where it was not run."""


def speeds(scale: float) -> Iterator[Speed]:
    """Arrivals, routing, engines, a scrape of everything each 15 s, and the results."""
    chat, long = lognormal_mix(prompt_mean=1155, output_mean=211), lognormal_mix(prompt_mean=4000, output_mean=1000)
    load, uniform, prefix = Routing.LOAD_AWARE, Routing.UNIFORM, Routing.PREFIX_AWARE
    for name, lengths, replicas, routing, utilisation, requests, slow in (
        ("1155/211 tokens, 20 replicas, LoadAware, u = 0.7", chat, 20, load, 0.7, 200_000, True),
        ("1155/211 tokens, 20 replicas, Uniform, u = 0.7", chat, 20, uniform, 0.7, 200_000, False),
        ("1155/211 tokens, 20 replicas, PrefixAware, 20,000 sessions, u = 0.7", chat, 20, prefix, 0.7, 200_000, False),
        ("1155/211 tokens, 20 replicas, LoadAware, u = 1.3", chat, 20, load, 1.3, 200_000, False),
        ("1155/211 tokens, 300 replicas, LoadAware, u = 0.7", chat, 300, load, 0.7, 300_000, False),
        ("4000/1000 tokens, 20 replicas, LoadAware, u = 0.7", long, 20, load, 0.7, 200_000, True),
        ("4000/1000 tokens, 20 replicas, LoadAware, u = 0.3", long, 20, load, 0.3, 200_000, False),
    ):
        shape = a_shape()
        workload = Workload(name=name, fit=False, shape=shape, lengths=lengths)
        count = int(requests * scale)
        rate = replicas * utilisation * highest_rate(workload)
        sessions = 20_000 if routing is prefix else 0
        arrivals = arrivals_of(lengths, shape.limits.max_model_len_tokens, count, rate, 1, sessions)
        few = _first(arrivals, max(1, count // 20))
        yield Speed(
            name=name,
            requests=count,
            tokens=int(arrivals.output_tokens.sum()),
            fast_s=min(_seconds(fast.servers, arrivals, shape, replicas, routing) for _ in range(3)),
            reference_s=20 * _seconds(reference.servers, few, shape, replicas, routing) if slow else None,
        )


def _seconds(
    factory: ServersFactory, arrivals: Arrivals, shape: ReplicaShape, replicas: int, routing: Routing
) -> float:
    """Of processor time: others may use the machine."""
    began = time.process_time()
    servers = fleet(factory, arrivals, shape, replicas, NOISY, 1, routing, COARSE)
    for now_s in np.arange(SCRAPE_S, float(arrivals.arrival_s[-1]) + SCRAPE_S, SCRAPE_S):
        servers.run_until(float(now_s))
        servers.counters()
        servers.gauges()
    servers.run_until(float(arrivals.arrival_s[-1]) + 1e6)
    servers.results()
    return time.process_time() - began


def _first(arrivals: Arrivals, count: int) -> Arrivals:
    return Arrivals(**{name: getattr(arrivals, name)[:count] for name in Arrivals.__slots__})


STARTING = """
import time
began = time.process_time()
import benchmarks.simulator as it
few = it._first(it.arrivals_of(it.workloads()[0].lengths, 32768, 10, 1.0, 1), 10)
it._seconds(it.fast.servers, few, it.a_shape(), 2, it.Routing.LOAD_AWARE)
print(time.process_time() - began)
"""


def start_seconds() -> tuple[float, float]:
    """Imports and ten requests in a new process: without and with machine code from an earlier run."""
    with TemporaryDirectory() as home:
        environment = {**os.environ, "XDG_CACHE_HOME": home, "PYTHONPATH": os.pathsep.join(sys.path)}
        cold, warm = (
            subprocess.run(
                [sys.executable, "-c", STARTING],
                cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True,
            ).stdout
            for _ in range(2)
        )  # fmt: skip
    return float(cold), float(warm)


def accuracy_table(points: Sequence[Point], part: str) -> Table:
    """Median and largest size of the error by fleet and utilisation."""
    rows = []
    for replicas in FLEETS:
        for level in UTILISATIONS:
            here = [point for point in points if (point.replicas, point.utilisation) == (replicas, level)]
            sizes = [[abs(getattr(point, part)[name]) for point in here] for name in COLUMNS]
            cells = (f"{_percent(median(each))} / {_percent(max(each))}" for each in sizes)
            rows.append([str(replicas), f"{level:g}", *cells])
    return Table(("replicas", "u", *COLUMNS), rows)


def bias_table(points: Sequence[Point]) -> Table:
    """Whether errors lean to one side."""
    rows = []
    for part, name in (("noisy", "fast against token-level"), ("chance", "token-level, other draw")):
        signed = [np.array([getattr(point, part)[column] for point in points]) for column in COLUMNS]
        quartiles = [100 * np.quantile(each, (0.25, 0.5, 0.75)) for each in signed]
        rows.append([name, *(f"{middle:+.1f} ({low:+.1f} to {high:+.1f})" for low, middle, high in quartiles)])
    return Table(("", *COLUMNS), rows)


def misses(points: Iterable[Point]) -> Table:
    """Where the aim is missed, and what chance alone does there."""
    rows = [
        [
            point.workload, str(point.replicas), f"{point.utilisation:g}", name, f"{100 * error:+.1f} %",
            f"{100 * point.chance[name]:+.1f} %",
        ]
        for point in points
        for name, error in point.noisy.items()
        if abs(error) > AIM
    ]  # fmt: skip
    return Table(("workload", "replicas", "u", "percentile", "error", "chance"), rows)


def _percent(share: float) -> str:
    return "0" if share < 5e-7 else f"{100 * share:.2g}" if share < 0.01 else f"{100 * share:.1f}"


def describe(
    points: Sequence[Point],
    onsets: Sequence[tuple[str, float, float]],
    quick: Sequence[Speed],
    start_s: tuple[float, float],
    arguments: argparse.Namespace,
) -> list[str | Table]:
    """What to read, in order."""
    noisy = [abs(error) for point in points for error in point.noisy.values()]
    chance = [abs(error) for point in points for error in point.chance.values()]
    silent = max(abs(error) for point in points for error in point.silent.values())
    near = sum(abs(rate / slow - 1) <= ONSET_AIM for _, slow, rate in onsets)
    fastest = sum(each.requests / each.fast_s >= SPEED_AIM for each in quick)
    return [
        f"Without step noise, no percentile differs by more than {100 * silent:.1g} %. With the noise of the simulated "
        f"truth (3 % a step, 1 % between replicas), {sum(error <= AIM for error in noisy)} of {len(noisy)} percentiles "
        f"are within {100 * AIM:.0f} % of the token-level engines; of the token-level engines under another draw, "
        f"{sum(error <= AIM for error in chance)} are within {100 * AIM:.0f} % of themselves. The onset of overload "
        f"is within {100 * ONSET_AIM:.0f} % for {near} of {len(onsets)} workloads. {fastest} of {len(quick)} replays "
        f"run at {SPEED_AIM:,} requests a second or more on one core.",
        "## Speed",
        "Seconds of one core for arrivals, routing, engines, counters and gauges of every replica each "
        f"{SCRAPE_S:.0f} s of simulated time, and results; the best of three. A new process needs {start_s[0]:.0f} s "
        f"for its first requests when kernels must be compiled, and {start_s[1]:.1f} s when an earlier run left them.",
        Table(
            ("replay", "requests", "tokens", "seconds", "requests/s", "tokens/s", "token-level engines, requests/s"),
            [
                [
                    each.name, f"{each.requests:,}", f"{each.tokens:,}", f"{each.fast_s:.2f}",
                    f"{each.requests / each.fast_s:,.0f}", f"{each.tokens / each.fast_s:,.0f}",
                    f"{each.requests / each.reference_s:,.0f}" if each.reference_s else "-",
                ]
                for each in quick
            ],
        ),
        "## Onset of overload",
        "The lowest rate at which more than 1 % of the requests waits at the end of the run.",
        Table(
            ("workload", "token-level", "fast", "error"),
            [
                [name, f"{slow:.3f}/s", f"{rate:.3f}/s", f"{100 * (rate / slow - 1):+.2f} %"]
                for name, slow, rate in onsets
            ],
        ),
        "## Percentiles with noise: median / largest size of the error over workloads, percent",
        f"{arguments.requests} requests a run, {arguments.seeds} runs a point, {len(workloads())} workloads.",
        accuracy_table(points, "noisy"),
        "## What chance alone does: token-level engines under another draw of both against themselves, percent",
        accuracy_table(points, "chance"),
        "## Percentiles without noise, percent",
        "Token intervals are read off buckets 0.5 % wide.",
        accuracy_table(points, "silent"),
        "## Signed errors over all points: median (and quartiles), percent",
        bias_table(points),
        f"## Where an error is over {100 * AIM:.0f} %",
        "*chance* is what another draw does to the token-level engines at the same point. An ITL p50 that is far off "
        "lies where half of all tokens come from steps with prompt tokens: a hair moves it from one mode to the other.",
        misses(points),
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=3000, help="in each run")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of requests in the table of speeds")
    arguments = parser.parse_args(argv)
    paper = Paper(
        name="simulator",
        title="The engines of a replay against the token-level engine",
        seed=f"{arguments.seeds} from the name of each workload",
    )
    quick, (cold_s, warm_s) = list(speeds(arguments.scale)), start_seconds()
    points = [
        compare(workload, replicas, level, arguments.requests, arguments.seeds)
        for workload in workloads()
        for replicas in FLEETS
        for level in UTILISATIONS
    ]
    onsets = [
        (
            one.name,
            *(onset(engines.servers, one, arguments.requests, seeds_of(one, 1)[0]) for engines in (reference, fast)),
        )
        for one in workloads()
    ]
    paper.parts += describe(points, onsets, quick, (cold_s, warm_s), arguments)
    paper.figures = {
        "points": [
            {
                "workload": point.workload, "replicas": point.replicas, "utilisation": point.utilisation,
                "silent": point.silent, "noisy": point.noisy, "chance": point.chance,
            }
            for point in points
        ],
        "onsets": [{"workload": name, "reference": slow, "fast": rate} for name, slow, rate in onsets],
        "speeds": [
            {"name": each.name, "requests": each.requests, "tokens": each.tokens, "fast_s": each.fast_s,
             "reference_s": each.reference_s}
            for each in quick
        ],
        "start_s": {"cold": cold_s, "warm": warm_s},
    }  # fmt: skip
    paper.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
