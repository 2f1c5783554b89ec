"""Windows of metrics that lie, each in its own way, and what the planner should say of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from inferencefleet.domain.calibration import WindowVerdict
from inferencefleet.domain.capacity import Scales
from inferencefleet.domain.observation import PoolMetrics
from tests.calibrating import Bad, Learner, Synthetic, scaled, with_window

SLOWER = Scales(memory=1.25, compute=0.9, overhead=1.4, ttft=1.3)
FASTER = Scales(memory=0.85, compute=0.95, overhead=0.7, ttft=0.8)
RATES = [1.0, 2.0, 3.0, 1.5, 0.8, 4.0, 2.5, 1.2, 3.5, 2.0]
"""Of one engine; a day in ten minutes, so that batches spread."""


@dataclass(frozen=True)
class Story:
    """What happens to the windows, and what is said of them when they are refused."""

    bend: Bad
    verdict: WindowVerdict | None = None
    """None = accepted, or only some are refused."""


def as_they_are(seen: PoolMetrics, number: int) -> PoolMetrics:
    return seen


def _gauge(factor: float) -> Bad:
    return lambda seen, _: scaled(seen, factor, "running_early", "running_late")


def _stuck(seen: PoolMetrics, number: int) -> PoolMetrics:
    return with_window(seen, running_early=17.0, running_late=17.0)


def _not_a_number(seen: PoolMetrics, number: int) -> PoolMetrics:
    names = ("itl_seconds_per_s", "running_early", "prompts_per_s", "output_tokens_per_s")
    return with_window(seen, **{names[number % len(names)]: math.nan})


def _missing(seen: PoolMetrics, number: int) -> PoolMetrics:
    names = ("itl_seconds_per_s", "running_late", "prompts_per_s", "preemptions_per_s", "resets")
    return with_window(seen, **{names[number % len(names)]: None})


def _dead(seen: PoolMetrics, number: int) -> PoolMetrics:
    return with_window(seen, itl_seconds_per_s=0.0, itl_intervals_per_s=0.0)


def _reset(seen: PoolMetrics, number: int) -> PoolMetrics:
    return with_window(scaled(seen, 0.4, "itl_seconds_per_s", "output_tokens_per_s"), resets=1.0)


def _preempting(seen: PoolMetrics, number: int) -> PoolMetrics:
    names = ("itl_seconds_per_s", "running_early", "running_late")
    return with_window(scaled(seen, 2.2, *names), preemptions_per_s=0.5)


def _other_model(seen: PoolMetrics, number: int) -> PoolMetrics:
    names = ("itl_seconds_per_s", "prefill_seconds_per_s", "running_early", "running_late")
    return with_window(scaled(seen, 0.3, *names), models=("Qwen/Qwen3-8B", "Qwen/Qwen3-32B"))


def _other_latencies(seen: PoolMetrics, number: int) -> PoolMetrics:
    return scaled(seen, 0.3, "itl_seconds_per_s", "prefill_seconds_per_s")


def _milliseconds(*names: str) -> Bad:
    return lambda seen, _: scaled(seen, 1000.0, *names)


def _prefill_at_random(seen: PoolMetrics, number: int) -> PoolMetrics:
    """Small beside decoding, so that Little's law does not show it."""
    return scaled(seen, (0.2, 3.0, 0.5, 2.0, 1.0, 0.3, 1.5)[number % 7], "prefill_seconds_per_s")


def _few(seen: PoolMetrics, number: int) -> PoolMetrics:
    return with_window(seen, requests_per_s=0.2)


def _ramping(seen: PoolMetrics, number: int) -> PoolMetrics:
    return scaled(scaled(seen, 0.4, "running_early"), 1.6, "running_late")


BAD = {
    "gauge doubled": Story(_gauge(2.0), WindowVerdict.BATCH_MISMATCH),
    "gauge halved": Story(_gauge(0.5)),
    "gauge at zero": Story(_gauge(0.0), WindowVerdict.STUCK_GAUGE),
    "gauge stuck": Story(_stuck),
    "not a number": Story(_not_a_number, WindowVerdict.INCOMPLETE),
    "series missing": Story(_missing, WindowVerdict.INCOMPLETE),
    "series dead at zero": Story(_dead, WindowVerdict.INCOMPLETE),
    "counter reset": Story(_reset, WindowVerdict.RESTARTED),
    "preemption storm": Story(_preempting, WindowVerdict.PREEMPTIONS),
    "another model's series": Story(_other_model, WindowVerdict.OTHER_MODEL),
    "another model's latencies": Story(_other_latencies, WindowVerdict.BATCH_MISMATCH),
    "ITL in milliseconds": Story(_milliseconds("itl_seconds_per_s"), WindowVerdict.BATCH_MISMATCH),
    "prefill in milliseconds": Story(_milliseconds("prefill_seconds_per_s"), WindowVerdict.BATCH_MISMATCH),
    "TTFT in milliseconds": Story(_milliseconds("ttft_seconds_per_s")),
    "prefill at random": Story(_prefill_at_random),
    "too few requests": Story(_few, WindowVerdict.TOO_FEW_REQUESTS),
    "ramp within the window": Story(_ramping, WindowVerdict.NOT_STATIONARY),
}


def windows(
    learner: Learner, truth: Scales, count: int, *, seed: int = 1, noise: float = 0.03, first: int = 0
) -> Iterator[PoolMetrics]:
    source = Synthetic(learner.shape, truth, learner.lengths, noise=noise, seed=seed)
    return (source.window(RATES[(first + number) % len(RATES)]) for number in range(count))
