"""Time of one tick, writes in a quiet tick, CPU and memory of the operator, by number of fleets.

    python -m benchmarks.tick [--fleets 1,10,100] [--only plan|operator|traffic] [--seed 1]

Three measurements: `plan(snapshot)` alone; the whole tick of the real operator on a genuine API server, where all
fleets are in mode Auto, their pods stay pending because no pool delivers nodes, and no engine reports metrics; and one
fleet whose simulated engines serve constant traffic.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import plan_speed
from benchmarks.paper import Paper, Table, milliseconds
from benchmarks.stage import Scrape, Stage, fleet, pools, stage
from sandbox.demo.session import QUICKSTART, cpu_seconds
from sandbox.processes import resident_bytes
from sandbox.stack import OPERATOR, get_json
from sandbox.waiting import pause, wait_until

PERIOD_S = 2.0
QUIET_TICKS = 20
CALM_TICKS = 4
"""Ticks without a write after which the operator counts as settled."""
TRAFFIC_TICKS = 60
WARM_UP_S = 100.0
"""Start-up, rate windows and the stabilization of scale-down are over then."""
STEADY = Path(__file__).with_name("steady.yaml")
COLUMNS = (
    "fleets", "mean ms", "p95 below ms", "quiet ticks", "object writes", "status writes", "events", "CPU of one core",
    "MiB resident", "s until settled",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What the operator did over at least `QUIET_TICKS` ticks in which nothing changed."""

    fleets: int
    settle_s: float
    ticks: int
    mean_s: float
    p95_below_s: float
    object_writes: int
    status_writes: int
    events: int
    cpu_share: float
    """Of one core."""
    resident_mib: float


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tick")
    parser.add_argument("--fleets", default="1,10,100", help="numbers of fleets, separated by commas")
    parser.add_argument("--only", choices=("plan", "operator", "traffic"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    counts = [int(count) for count in args.fleets.split(",")]
    paper = Paper("tick", "Time of one tick", seed=args.seed)
    if args.only in (None, "plan"):
        planning(paper, counts, args.seed)
    if args.only in (None, "operator"):
        operating(paper, counts)
    if args.only in (None, "traffic"):
        serving(paper, args.seed)
    paper.write()
    return 0


def planning(paper: Paper, counts: Sequence[int], seed: int) -> None:
    found = []
    for count in counts:
        for lengths in (plan_speed.STEADY, plan_speed.CHANGING):
            repetitions = max(5, min(200, 2000 // count))
            found.append(plan_speed.measure(count, lengths, repetitions=repetitions, seed=seed))
            print(f"plan of {count} fleets, {lengths}: {1000 * found[-1].again_s[-1]:.1f} ms", flush=True)
    paper.parts += [
        "## plan(snapshot) alone",
        "Fleets of five models in nine pools whose limits nobody reaches, metrics present; milliseconds of processor "
        "time. The first plan, which remembers no capacity yet, is listed apart; each repetition is one period later "
        "and has the memory of the plan before. Observed lengths change a little with every scrape; declared lengths "
        "do not.",
        *plan_speed.tables(found),
        "The second table is the share of each step in the repetitions.",
    ]
    paper.figures["plan"] = [asdict(each) for each in found]


def operating(paper: Paper, counts: Sequence[int]) -> None:
    found = []
    with stage(PERIOD_S) as scene:
        scene.apply(*pools())
        there = 0
        for count in sorted(counts):
            began = time.monotonic()
            scene.apply(*(fleet(f"fleet-{number:04}") for number in range(there, count)))
            there = count
            settle(scene, count)
            found.append(watch(scene, count, time.monotonic() - began))
            print(found[-1], flush=True)
    paper.parts += [
        "## The whole tick of the operator",
        f"Gather, plan, validate, apply, report, from the operator's own `inferencefleet_tick_duration_seconds`; a "
        f"tick every {PERIOD_S:g} s (15 s by default). p95 is the upper bound of the histogram's bucket. Writes and "
        "events are totals over all quiet ticks. Settled: from `kubectl apply` of the fleets that were added to the "
        "last write of the operator, all objects there.",
        Table(COLUMNS, [row(each) for each in found]),
    ]
    paper.figures["operator"] = [asdict(each) for each in found]


def serving(paper: Paper, seed: int) -> None:
    """One fleet under constant traffic: numbers breathe in every tick, and that alone is no reason to write."""
    with stage(PERIOD_S) as scene:
        scene.stack.apply(QUICKSTART / "pools.yaml")
        scene.stack.apply(QUICKSTART / "fleet.yaml")
        twin = scene.stack.start_twin(str(STEADY), seed=seed)
        began = time.monotonic()
        wait_until(lambda: get_json(f"{twin}/status")["phase"] == "running", "traffic", timeout_s=180, every_s=0.5)
        pause(WARM_UP_S)
        found = watch(scene, 1, time.monotonic() - began, ticks=TRAFFIC_TICKS)
        phase = get_json(f"{twin}/status")["phase"]
        assert phase == "running", f"traffic ended during the measurement: {phase}"
    paper.parts += [
        "## One fleet under constant traffic",
        f"8 requests/s with recorded lengths and random arrivals, metrics read from Prometheus in every tick; counted "
        f"after {WARM_UP_S:g} s of traffic. Numbers alone refresh a status at most once a minute, "
        "and a stabilization window that begins or ends does so twice in 75 s at most.",
        Table(COLUMNS[:-1], [row(found)[:-1]]),
    ]
    paper.figures["traffic"] = asdict(found)


def settle(scene: Stage, count: int) -> None:
    """All Deployments are there, and nothing was written for some ticks."""
    wait_until(
        lambda: len(scene.cluster.kubectl("get", "deployments", "-o", "name").stdout.split()) >= count,
        f"{count} Deployments", timeout_s=900, every_s=0.5,
    )  # fmt: skip
    calm = scene.scrape()
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        pause(PERIOD_S / 4)
        now = scene.scrape()
        if now.writes != calm.writes:
            calm = now
        elif now.ticks - calm.ticks >= CALM_TICKS:
            return
    raise SystemExit(f"{count} fleets: the operator still writes after 900 s")


def row(each: Quiet) -> tuple[str, ...]:
    return (
        f"{each.fleets}", milliseconds(each.mean_s), f"{1000 * each.p95_below_s:g}",
        f"{each.ticks}", f"{each.object_writes}", f"{each.status_writes}", f"{each.events}",
        f"{100 * each.cpu_share:.1f} %", f"{each.resident_mib:.0f}", f"{each.settle_s:.0f}",
    )  # fmt: skip


def watch(scene: Stage, count: int, settle_s: float, ticks: int = QUIET_TICKS) -> Quiet:
    record = scene.stack.record(OPERATOR)
    assert record is not None
    before, began, cpu = scene.scrape(), time.monotonic(), cpu_seconds(record.pid)
    after = before
    while after.ticks - before.ticks < ticks:
        pause(PERIOD_S / 2)
        after = scene.scrape()
    wall = time.monotonic() - began
    seen = after.ticks - before.ticks
    spent = after["tick_duration_seconds_sum"] - before["tick_duration_seconds_sum"]
    return Quiet(
        fleets=count,
        settle_s=settle_s,
        ticks=int(seen),
        mean_s=spent / seen,
        p95_below_s=bucket(before, after, 0.95),
        object_writes=int(after["object_writes_total"] - before["object_writes_total"]),
        status_writes=int(after["status_writes_total"] - before["status_writes_total"]),
        events=int(after["events_total"] - before["events_total"]),
        cpu_share=(cpu_seconds(record.pid) - cpu) / wall,
        resident_mib=resident_bytes(record.pid) / 2**20,
    )


def bucket(before: Scrape, after: Scrape, share: float) -> float:
    """The bound that this share of the ticks between two readings stayed below."""
    counts = {bound: after.tick_buckets[bound] - before.tick_buckets[bound] for bound in after.tick_buckets}
    return min(bound for bound, count in counts.items() if count >= share * counts[float("inf")])


if __name__ == "__main__":
    sys.exit(main())
