"""What a router is worth: how close to its modelled capacity a fleet may run behind an even spread and behind a
load-aware router.

    python -m benchmarks.routing [--seeds 5]

The requests of the Azure 2023 conversation trace, its two-minute rate made level - slower changes are the forecast's
business - and scaled to each fleet. A fleet keeps its SLO when 99 of 100 requests get their first token within 2 s and
mean intervals within 60 ms. The engines are those of the replay, with the physics' own constants.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from benchmarks.paper import REPOSITORY, Paper, Table
from benchmarks.shapes import a_shape
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.domain.fleet import Routing
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.slo import Slo, SloMetric
from inferencefleet.physics.capacity import replica_capacity
from inferencefleet.simulator.fast import servers
from inferencefleet.simulator.servers import Arrivals, Buckets, EngineKind, Floats, Outcome
from inferencefleet.simulator.truth import Truth

TRACE = REPOSITORY / "sandbox" / "data" / "azure_llm_2023_conv.csv.gz"
LEVEL_S = 120.0
"""The rate is made level over this long: about a rate window and the start of a warm replica."""
TTFT_S, ITL_S, ATTAINMENT = 2.0, 0.06, 0.99
SLOS = (
    Slo(metric=SloMetric.ITL, percentile=95, target_s=ITL_S),
    Slo(metric=SloMetric.TTFT, percentile=95, target_s=TTFT_S),
)
REPLICAS = (1, 2, 4, 8, 16)
ROUTINGS = (Routing.UNIFORM, Routing.LOAD_AWARE)
WARM_UP = 0.1
"""Share of the requests at the start that are not counted."""
NO_BUCKETS = Buckets(prompt_tokens=(1e6,), output_tokens=(1e6,), ttft_s=(1e6,), itl_s=(1e6,), e2e_s=(1e6,))
LIKE_PHYSICS = Truth(replica_spread=0.01, step_noise=0.03)
FLEETS = {  # bound by TTFT: intervals do not tell routers apart
    "Qwen3-32B, 2 x H100, chunks of 512": a_shape(max_num_batched_tokens=512),
    "Llama-3.1-8B, 1 x A100, chunks of 512": a_shape(
        "meta-llama/Llama-3.1-8B-Instruct", "A100-SXM", 1, max_num_batched_tokens=512
    ),
    "Llama-3.1-8B, 1 x L40S, chunks of 256": a_shape(
        "meta-llama/Llama-3.1-8B-Instruct", "L40S", 1, max_num_batched_tokens=256
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """The trace; `level_s` are its arrivals with one request a second on average over every `LEVEL_S`."""

    level_s: Floats
    prompt_tokens: Floats
    output_tokens: Floats


def read_trace() -> Traffic:
    with gzip.open(TRACE, "rt", encoding="utf-8") as text:
        rows = np.array(list(csv.reader(text))[1:], dtype=np.float64)
    arrival_s = (rows[:, 0] - rows[0, 0]) / 1000
    edges = np.arange(0.0, arrival_s[-1] + LEVEL_S, LEVEL_S)
    passed = np.concatenate(([0.0], np.cumsum(np.histogram(arrival_s, edges)[0])))
    level_s = np.interp(arrival_s, edges, passed)
    prompt_tokens, output_tokens = np.maximum(1.0, rows[:, 1]), np.maximum(1.0, rows[:, 2])
    return Traffic(level_s=level_s - level_s[0], prompt_tokens=prompt_tokens, output_tokens=output_tokens)


def capacity_per_s(shape: ReplicaShape, traffic: Traffic) -> float:
    """Of one replica, by physics without its uncertainty, at the lengths of the trace."""
    step = max(1, traffic.prompt_tokens.size // 512)
    lengths = LengthMix(
        prompt_tokens=traffic.prompt_tokens[::step], output_tokens=traffic.output_tokens[::step],
        prefix_hit_ratio=0.0, source="observed",
    )  # fmt: skip
    return replica_capacity(shape, lengths, SLOS, Scales(sigma_log=0.0)).requests_per_s


def attained(
    shape: ReplicaShape, traffic: Traffic, requests_per_s: float, replicas: int, routing: Routing, seed: int
) -> float:
    """Share of requests that were served within the SLO."""
    count = traffic.level_s.size
    turned = np.roll(np.arange(count), -(count * seed // 7))  # another beginning for each seed
    gaps = np.diff(traffic.level_s, prepend=0.0)[turned]
    arrivals = Arrivals(
        arrival_s=np.cumsum(gaps) / requests_per_s,
        prompt_tokens=traffic.prompt_tokens[turned].astype(np.int64),
        output_tokens=traffic.output_tokens[turned].astype(np.int64),
        prefix_tokens=np.zeros(count, dtype=np.int64),
        session=np.full(count, -1, dtype=np.int64),
    )
    fleet = servers(arrivals, routing=routing, buckets=NO_BUCKETS, seed=seed, itl_target_s=ITL_S)
    for number in range(replicas):
        fleet.open(fleet.add(EngineKind(shape=shape, truth=LIKE_PHYSICS), seed=100 * seed + number))
    fleet.run_until(float(arrivals.arrival_s[-1]) + 600.0)
    found = fleet.results()
    good = (found.outcome == Outcome.FINISHED) & (found.ttft_s <= TTFT_S) & (found.tpot_s <= ITL_S)
    return float(np.mean(good[int(WARM_UP * count) :]))


def highest_utilisation(
    shape: ReplicaShape, traffic: Traffic, capacity: float, replicas: int, routing: Routing, seed: int
) -> float:
    """Share of the modelled capacity up to which the SLO is kept, within half a percent."""
    low, high = 0.4, 1.6
    while high - low > 0.005:
        middle = (low + high) / 2
        rate = middle * capacity * replicas
        if attained(shape, traffic, rate, replicas, routing, seed) >= ATTAINMENT:
            low = middle
        else:
            high = middle
    return low


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(1, 1 + parser.parse_args(arguments).seeds)
    paper = Paper("routing", "How close to capacity a fleet may run, by routing", f"1 to {len(seeds)}")
    paper.parts.append(
        "The largest share of the modelled capacity (replicas x what physics gives one) at which 99 of 100 requests "
        f"keep {TTFT_S:g} s to the first token and {1000 * ITL_S:g} ms between tokens; mean over seeds, smallest in "
        "brackets. Requests and their clustering are those of the Azure 2023 conversation trace, its two-minute rate "
        "made level."
    )
    traffic = read_trace()
    for name, shape in FLEETS.items():
        capacity = capacity_per_s(shape, traffic)
        rows = []
        for replicas in REPLICAS:
            by_routing = {
                routing: [highest_utilisation(shape, traffic, capacity, replicas, routing, seed) for seed in seeds]
                for routing in ROUTINGS
            }
            even, aware = (by_routing[routing] for routing in ROUTINGS)
            gain = mean(aware) / mean(even) - 1
            cells = [f"{mean(found):.3f} ({min(found):.3f})" for found in (even, aware)]
            rows.append([str(replicas), *cells, f"{100 * gain:+.1f} %"])
            paper.figures[f"{name}, {replicas} replicas"] = {str(key): value for key, value in by_routing.items()}
        paper.parts += [
            f"## {name}: {capacity:.2f} requests/s a replica",
            Table(("replicas", *map(str, ROUTINGS), "load-aware over even"), rows),
        ]
    paper.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
