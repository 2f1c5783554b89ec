"""The answer of `simulate` for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from inferencefleet.cli.output import Page, dollars, number, rounded
from inferencefleet.cli.simulate.answer import PEAK, Simulated, one
from inferencefleet.cli.simulate.truth import described
from inferencefleet.simulator.replay import Decision, Replayed

MOST_DECISIONS = 20
"""In the table; the document and the report have all."""
MINUTE_S = 60.0


def document(answer: Simulated) -> dict[str, Any]:
    """Keys as documented in docs/cli.md."""
    truth = answer.truth
    return {
        "kind": "Simulation",
        "fleet": str(answer.fleet.key),
        "seed": answer.seed,
        "hours": rounded(answer.hours),
        "requests": len(answer.stage.fleets[0].arrivals),
        "truth": {name: rounded(getattr(truth, name)) for name in ("memory", "compute", "overhead")}
        | {"kvCache": rounded(truth.kv_cache)},
        "notes": list(answer.notes),
        "policies": [_run(run, answer) for run in answer.runs],
    }


def _run(run: Replayed, answer: Simulated) -> dict[str, Any]:
    fleet = one(run)
    return {
        "policy": run.policy,
        "attainment": _known(fleet.attainment),
        "worstFiveMinutes": _known(fleet.worst_five_minutes),
        "requests": fleet.requests,
        "usd": rounded(run.dollars),
        "usdBeyondReserved": rounded(run.dollars_beyond_reserved),
        "usdPerHour": rounded(run.dollars / answer.hours),
        "usdByPool": {pool: rounded(spent) for pool, spent in run.dollars_by_pool.items()},
        "replicasMean": rounded(fleet.mean_ready),
        "replicasMeanByPool": {pool: rounded(count) for pool, count in ready_means(run).items()},
        "changesPerHour": rounded(fleet.changes_per_hour),
        "reversals": fleet.reversals,
        "ttftSeconds": _percentiles(fleet.ttft_s),
        "tokenIntervalSeconds": _percentiles(fleet.tpot_s),
        "failed": fleet.failed,
        "refused": fleet.refused,
        "unfinished": fleet.unfinished,
        "retries": fleet.retries,
        "preemptions": fleet.preemptions,
        "replicasKilled": fleet.replicas_killed,
        "decisions": [
            {
                "atSeconds": rounded(decision.at_s),
                "from": dict(decision.before),
                "to": dict(decision.after),
                "reason": decision.reason,
                "message": decision.sentence,
            }
            for decision in run.decisions
        ],
    }


def show(answer: Simulated) -> None:
    page = Page()
    fleet = answer.fleet
    page.heading(f"{fleet.key}: {fleet.model.id}, {', '.join(map(str, fleet.slos))}")
    page.say(traffic(answer))
    page.say(f"Engines as they really are: {described(answer.truth)}")
    for note in answer.notes:
        page.say(note)
    page.heading("Policies")
    head = ("POLICY", "WITHIN SLO", "WORST 5 MIN", "DOLLARS", "BEYOND RESERVED", "REPLICAS", "CHANGES/H", "TTFT P95",
            "TOKEN P95", "LOST")  # fmt: skip
    page.table(head, [row(run) for run in answer.runs], right=head[1:])
    page.heading("Pools")
    pools = [
        (run.policy, pool, number(count), dollars(run.dollars_by_pool.get(pool, 0.0)))
        for run in answer.runs
        for pool, count in ready_means(run).items()
    ]
    page.table(("POLICY", "POOL", "REPLICAS", "DOLLARS"), pools, right=("REPLICAS", "DOLLARS"))
    first = answer.runs[0]
    if first.decisions:
        page.heading(f"Decisions of {first.policy}")
        page.table(
            ("AT", "REPLICAS", "WHERE", "WHY"), [decision_row(each) for each in first.decisions[:MOST_DECISIONS]]
        )
        if len(first.decisions) > MOST_DECISIONS:
            page.say(f"... and {len(first.decisions) - MOST_DECISIONS} more: see -o json or --report")
    page.say("")
    page.say(conclusion(answer))
    page.write()


def traffic(answer: Simulated) -> str:
    arrivals = answer.stage.fleets[0].arrivals
    prompt, output = number(arrivals.prompt_tokens.mean()), number(arrivals.output_tokens.mean())
    return (
        f"{len(arrivals):,} requests in {number(answer.hours)} h, prompts of {prompt} and outputs of {output} tokens "
        f"on average; seed {answer.seed}"
    )


def row(run: Replayed) -> tuple[str, ...]:
    fleet = one(run)
    return (
        run.policy, share(fleet.attainment), share(fleet.worst_five_minutes), dollars(run.dollars),
        dollars(run.dollars_beyond_reserved), number(fleet.mean_ready), number(fleet.changes_per_hour),
        seconds(fleet.ttft_s[1]), seconds(fleet.tpot_s[1]), number(fleet.failed + fleet.refused + fleet.unfinished),
    )  # fmt: skip


def decision_row(decision: Decision) -> tuple[str, ...]:
    before, after = sum(decision.before.values()), sum(decision.after.values())
    where = ", ".join(f"{count} {'anywhere' if pool == '*' else pool}" for pool, count in decision.after.items())
    why = f"{decision.reason}: {decision.sentence}" if decision.reason else decision.sentence
    return clock(decision.at_s), f"{before} -> {after}", where or "none", why


def conclusion(answer: Simulated) -> str:
    """Beside the fixed fleet for the peak, where there is one."""
    first = answer.runs[0]
    peak = next((run for run in answer.runs[1:] if run.policy == PEAK), None)
    said = (
        f"{first.policy} keeps {share(one(first).attainment)} of requests within the SLO for {dollars(first.dollars)}"
    )
    if peak is None or not peak.dollars:
        return f"{said}."
    less = 1 - first.dollars / peak.dollars
    word = "less" if less >= 0 else "more"
    return (
        f"{said}: {abs(100 * less):.0f} % {word} than a fixed fleet for the busiest minute, which keeps "
        f"{share(one(peak).attainment)} for {dollars(peak.dollars)}."
    )


def ready_means(run: Replayed) -> Mapping[str, float]:
    """Replicas that served, by pool, over the whole replay."""
    ready = one(run).minutes.ready
    return {pool: float(np.mean(counts)) for pool, counts in ready.items() if counts.size and counts.any()}


def share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}%"


def seconds(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{number(value)} s"


def clock(at_s: float) -> str:
    """`1:05:30` since the replay began."""
    whole = round(at_s)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else rounded(value)


def _percentiles(values: tuple[float, float, float]) -> dict[str, float | None]:
    return {name: _known(value) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}
