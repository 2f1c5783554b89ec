"""Windows of metrics as real engines would report them: the simulator's engines under Poisson traffic.

The simulator shares the step-time function with the planner, and nothing else: batching, queues, chunks and Little's
law come out of its scheduler.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import PoolMetrics, PoolWindow
from inferencefleet.simulator.engine import Engine
from inferencefleet.simulator.request import Request
from inferencefleet.simulator.truth import Truth, build_engine

SCRAPE_S = 5.0


@dataclass
class Pool:
    """Engines behind a Service that spreads at random, as one pool; time stands still between windows."""

    shape: ReplicaShape
    truth: Truth
    lengths: LengthMix
    engines: int = 2
    seed: int = 1
    window_s: float = 60.0
    model: str = ""
    _now_s: float = 0.0
    _id: int = 0
    _members: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._members = [build_engine(self.shape, self.truth, self.seed * 100 + i) for i in range(self.engines)]

    def change_truth(self, truth: Truth) -> None:
        """The hardware slows down: new engines, which the caller lets warm up."""
        self.truth = truth
        self._members = [build_engine(self.shape, truth, self.seed * 100 + 50 + i) for i in range(self.engines)]

    def windows(self, rates: Sequence[float], *, warm: bool = True) -> Iterator[PoolMetrics]:
        """One window for each arrival rate of the pool, requests/s; one more to warm up before the first."""
        if warm and rates:
            self._window(rates[0])
        for rate in rates:
            yield self._window(rate)

    def _window(self, rate: float) -> PoolMetrics:
        before = [_counters(engine) for engine in self._members]
        end_s = self._now_s + self.window_s
        gauges: list[tuple[int, int]] = []
        next_arrival, next_scrape = self._now_s + self._gap(rate), self._now_s + SCRAPE_S
        while True:
            due = [(engine.next_event_s(), engine) for engine in self._members]
            step_s, engine = min(((at, e) for at, e in due if at is not None), default=(math.inf, None), key=_first)
            at = min(next_arrival, next_scrape, step_s, end_s)
            if at >= end_s:
                break
            if at == step_s and engine is not None:
                engine.step(at)
            elif at == next_scrape:
                gauges.append((sum(len(e.running) for e in self._members), sum(len(e.waiting) for e in self._members)))
                next_scrape += SCRAPE_S
            else:
                self._submit(at)
                next_arrival = at + self._gap(rate)
        self._now_s = end_s
        after = [_counters(engine) for engine in self._members]
        return self._metrics([sum(b[i] - a[i] for a, b in zip(before, after, strict=True)) for i in range(12)], gauges)

    def _metrics(self, grown: list[float], gauges: list[tuple[int, int]]) -> PoolMetrics:
        per_s = [value / self.window_s for value in grown]
        half = len(gauges) // 2
        running, waiting = [float(g[0]) for g in gauges], [float(g[1]) for g in gauges]
        queries = per_s[8]
        window = PoolWindow(
            window_s=self.window_s,
            requests_per_s=per_s[0],
            prompts_per_s=per_s[1],
            prompt_tokens_per_s=per_s[2],
            output_tokens_per_s=per_s[3],
            scheduled_tokens_per_s=per_s[4],
            prefix_hit_ratio=per_s[7] / queries if queries else None,
            preemptions_per_s=per_s[9],
            itl_seconds_per_s=per_s[5],
            itl_intervals_per_s=per_s[6],
            prefill_seconds_per_s=per_s[10],
            prefills_per_s=per_s[0],
            ttft_seconds_per_s=per_s[11],
            running_early=float(np.mean(running[:half])),
            running_late=float(np.mean(running[half:])),
            waiting_mean=float(np.mean(waiting)),
            resets=0.0,
            models=(self.model or self.shape.model.id,),
        )
        return PoolMetrics(
            engines=self.engines, running=running[-1], waiting=waiting[-1],
            kv_cache_usage_mean=0.3, kv_cache_usage_max=0.4, window=window,
        )  # fmt: skip

    def _gap(self, rate: float) -> float:
        return self._random.expovariate(rate) if rate > 0 else math.inf

    def _submit(self, at: float) -> None:
        pick = self._random.randrange(self.lengths.prompt_tokens.size)
        prompt = max(1, round(float(self.lengths.prompt_tokens[pick])))
        output = max(1, round(float(self.lengths.output_tokens[pick])))
        self._id += 1
        request = Request(
            id=self._id, arrival_s=at, prompt_tokens=prompt, output_tokens=output,
            cached_tokens=int(prompt * self.lengths.prefix_hit_ratio),
        )  # fmt: skip
        engine = self._random.choice(self._members)
        if engine.refusal(request) is None:
            engine.submit(request, at)


def _first(pair: tuple[float, Engine | None]) -> float:
    return pair[0]


def _counters(engine: Engine) -> tuple[float, ...]:
    seen = engine.metrics
    return (
        sum(count for reason, count in seen.finished.items() if reason != "abort"),
        seen.ttft.total,
        seen.prompt_tokens,
        seen.generation_tokens,
        seen.iteration_tokens.sum,
        seen.itl.sum,
        seen.itl.total,
        seen.prefix_hits,
        seen.prefix_queries,
        seen.preemptions,
        seen.prefill.sum,
        seen.ttft.sum,
    )
