"""The truth about every request: what its client saw, and whether the SLO held, per request and per minute."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from inferencefleet.simulator.engine import StepResult
from inferencefleet.simulator.request import Request
from sandbox.scenario import SloScenario
from sandbox.twin.fine import FineHistogram, SlotSeries
from sandbox.twin.replica import Job, Replica

COLUMNS = (
    "id", "arrival_s", "prompt_tokens", "output_tokens", "outcome", "attempts", "preemptions", "pool", "replica",
    "ttft_s", "mean_itl_s", "slow_tokens", "end_s",
)  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """One ended request; times in seconds since traffic began."""

    job: Job
    outcome: str
    end_s: float
    ttft_s: float
    pool: str
    replica: str

    def row(self, origin_s: float) -> tuple[object, ...]:
        request = self.job.request
        itl = request.mean_itl_s if request is not None else None
        return (
            self.job.id,
            f"{self.job.arrival_s - origin_s:.4f}",
            self.job.prompt_tokens,
            self.job.output_tokens,
            self.outcome,
            self.job.attempts,
            request.preemptions if request is not None else 0,
            self.pool,
            self.replica,
            "" if self.ttft_s == inf else f"{self.ttft_s:.4f}",
            "" if itl is None else f"{itl:.5f}",
            request.slow_tokens if request is not None else 0,
            f"{self.end_s:.4f}",
        )


class Ledger:
    def __init__(self, slo: SloScenario) -> None:
        self.slo = slo
        self.origin_s = 0.0
        self.arrived_count = 0
        self.retried = 0
        self.open: dict[int, Job] = {}
        self.outcomes: list[Outcome] = []
        self._ended_as: Counter[str] = Counter()
        self._by_minute: dict[int, FineHistogram] = {}
        """TTFT of ended requests by the minute of their arrival."""
        self.itl = SlotSeries(slo.itl.target)
        """By the time a token came."""
        self.first_tokens = SlotSeries(slo.ttft.target)
        """By the time the first token came: for the live view; the verdict goes by arrival."""

    # -- called by the router ----------------------------------------------------------------------------------------

    def arrived(self, job: Job) -> None:
        self.arrived_count += 1
        self.open[job.id] = job

    def first_token(self, job: Job, request: Request) -> None:
        if request.first_token_s is not None:
            ttft_s = request.first_token_s - job.arrival_s
            self.first_tokens.observe(request.first_token_s - self.origin_s, ttft_s)

    def ended(self, job: Job, outcome: str, now_s: float) -> None:
        self.open.pop(job.id, None)
        if outcome == "refused":
            job.request = None
        self.retried += job.attempts > 1
        request, replica = job.request, job.replica
        ttft_s = request.ttft_s if request is not None and outcome == "finished" else None
        self._ended_as[outcome] += 1
        self._minute_of(self._by_minute, job).observe(inf if ttft_s is None else ttft_s)
        self.outcomes.append(
            Outcome(
                job=job,
                outcome=outcome,
                end_s=now_s - self.origin_s,
                ttft_s=inf if ttft_s is None else ttft_s,
                pool=replica.pool if replica is not None else "",
                replica=replica.name if replica is not None else "",
            )
        )

    def on_step(self, replica: Replica, result: StepResult) -> None:
        at_s = result.ended_s - self.origin_s
        if result.decoded:
            self.itl.observe(at_s, result.duration_s, result.decoded)
        for interval_s in result.resumed_itl_s:
            self.itl.observe(at_s, interval_s)

    # -- what it says ------------------------------------------------------------------------------------------------

    def live(self, now_s: float, window_s: float = 15.0) -> dict[str, Any]:
        """Latencies of the last seconds."""
        t_s = now_s - self.origin_s
        ttft, itl = (series.between(t_s - window_s, t_s) for series in (self.first_tokens, self.itl))
        return {
            "windowSeconds": window_s,
            "ttftP50Seconds": ttft.percentile(50),
            "ttftP95Seconds": ttft.percentile(95),
            "itlP50Seconds": itl.percentile(50),
            "itlP95Seconds": itl.percentile(95),
        }

    def truth(self, now_s: float, duration_s: float) -> dict[str, Any]:
        """Attainment per request, per token and per minute over what arrived during the scenario."""
        t_s = min(now_s - self.origin_s, duration_s)
        minutes = max(1, int(-(-t_s // 60))) if t_s > 0 else 0
        open_by_minute = self._still_open(now_s)
        everything = FineHistogram(self.slo.ttft.target)
        rows = []
        for minute in range(minutes):
            ttft = FineHistogram(self.slo.ttft.target)
            for known in (self._by_minute, open_by_minute):
                if minute in known:
                    ttft.merge(known[minute])
            everything.merge(ttft)
            itl = self.itl.between(60.0 * minute, min(60.0 * minute + 60, duration_s))
            rows.append(self._minute(minute, ttft, itl))
        tokens = self.itl.between(0.0, duration_s)
        judged = [row["held"] for row in rows if row["requests"]]
        return {
            "ttftTargetSeconds": self.slo.ttft.target,
            "ttftPercentile": self.slo.ttft.percentile,
            "itlTargetSeconds": self.slo.itl.target,
            "itlPercentile": self.slo.itl.percentile,
            "declaredAttainment": self.slo.attainment,
            "requestAttainment": everything.share,
            "tokenAttainment": tokens.share,
            "ttftPSeconds": everything.percentile(self.slo.ttft.percentile),
            "itlPSeconds": tokens.percentile(self.slo.itl.percentile),
            "minuteAttainment": sum(judged) / len(judged) if judged else None,
            "minutes": rows,
        }

    def _minute(self, minute: int, ttft: FineHistogram, itl: FineHistogram) -> dict[str, Any]:
        ttft_p = ttft.percentile(self.slo.ttft.percentile)
        itl_p = itl.percentile(self.slo.itl.percentile)
        return {
            "minute": minute,
            "requests": ttft.total,
            "ttftPSeconds": ttft_p,
            "ttftAttainment": ttft.share,
            "itlPSeconds": itl_p,
            "itlAttainment": itl.share,
            # Shares are exact, percentiles rounded up: the verdict goes by the shares.
            "held": _holds(ttft, self.slo.ttft.percentile) and _holds(itl, self.slo.itl.percentile),
        }

    def _still_open(self, now_s: float) -> dict[int, FineHistogram]:
        """Requests under way: their TTFT if they have it, else that they are at least so old, once that is too old."""
        found: dict[int, FineHistogram] = {}
        for job in self.open.values():
            ttft_s = job.request.ttft_s if job.request is not None else None
            if ttft_s is None and now_s - job.arrival_s > self.slo.ttft.target:
                ttft_s = now_s - job.arrival_s
            if ttft_s is not None:
                self._minute_of(found, job).observe(ttft_s)
        return found

    def _minute_of(self, by_minute: dict[int, FineHistogram], job: Job) -> FineHistogram:
        minute = int((job.arrival_s - self.origin_s) // 60)
        return by_minute.setdefault(minute, FineHistogram(self.slo.ttft.target))

    def counts(self) -> dict[str, int]:
        return {
            "arrived": self.arrived_count,
            "finished": self._ended_as["finished"],
            "failed": self._ended_as["failed"],
            "refused": self._ended_as["refused"],
            "retried": self.retried,
            "open": len(self.open),
        }

    def write(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(each.row(self.origin_s) for each in self.outcomes)
            for job in self.open.values():
                writer.writerow(Outcome(job, "open", 0.0, inf, "", "").row(self.origin_s))


def _holds(histogram: FineHistogram, percentile: int) -> bool:
    return histogram.total == 0 or histogram.good >= histogram.total * percentile / 100
