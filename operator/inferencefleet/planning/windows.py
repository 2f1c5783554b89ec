"""Which windows may teach: an observation of one pool becomes a `Reading`, or is refused with a named reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inferencefleet.domain.calibration import Window, WindowVerdict
from inferencefleet.domain.capacity import ReplicaShape
from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import Phase, PoolMetrics, PoolWindow, Replica
from inferencefleet.physics.residence import resident_context_tokens

LEAST_REQUESTS = 30
LARGEST_DRIFT = 0.2
"""Of the batch within a window; what counting a few requests scatters comes on top."""
LARGEST_MISMATCH = 0.2
"""Between the gauge of running requests and the time that requests spent in the engine (Little's law)."""
HIDDEN_HITS = 0.15
"""Share of prompt tokens that may be missing from what the engine computed before hits must be hidden."""
LARGEST_QUEUE = 0.1
"""Waiting for each running request; above, times to first token are those of an overload."""
API_SERVER_S = 0.1
"""Most that HTTP and tokenising add to a first token on average."""
_NEEDED = (
    "requests_per_s", "prompts_per_s", "prompt_tokens_per_s", "output_tokens_per_s", "itl_seconds_per_s",
    "itl_intervals_per_s", "running_early", "running_late", "preemptions_per_s", "resets",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One pool of one fleet, as it was over the last window."""

    seen: PoolMetrics
    replicas: Sequence[Replica]
    """Of this pool."""
    wanted: int
    """`spec.replicas` of its Deployment."""
    shape: ReplicaShape
    lengths: LengthMix
    served_name: str
    prefix_caching: bool
    at_s: float

    @property
    def window(self) -> PoolWindow:
        assert self.seen.window is not None, "refused before anything reads it"
        return self.seen.window


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A window that may teach."""

    window: Window
    requests_per_s: float
    """Of each engine."""
    output_tokens: float
    """Mean of a request."""
    ttft_s: float | None
    """Mean; None when requests queued, because the model is not of overload, or when it cannot be true."""
    lengths: LengthMix


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A window that changes nothing."""

    verdict: WindowVerdict
    sentence: str


def read(look: Look) -> Reading | Refusal:
    """The window as physics can predict it, unless one of the checks objects; the first objection is told."""
    for check in CHECKS:
        refusal = check(look)
        if refusal is not None:
            return refusal
    seen, engines = look.window, look.seen.engines
    values = _known(seen)
    prompts = values["prompts_per_s"]
    prompt_mean = values["prompt_tokens_per_s"] / prompts
    output_mean = values["output_tokens_per_s"] / values["requests_per_s"]
    lengths = _scaled(look.lengths, prompt_mean, output_mean, seen.prefix_hit_ratio or 0.0)
    return Reading(
        window=Window(
            decode_seqs=values["itl_seconds_per_s"] / engines,
            context_tokens=resident_context_tokens(lengths)[0],
            prompts_per_s=prompts / engines,
            prompt_tokens=prompt_mean,
            prefix_hit_ratio=lengths.prefix_hit_ratio,
            itl_s=values["itl_seconds_per_s"] / values["itl_intervals_per_s"],
            prefill_s=seen.prefill_mean_s,
        ),
        requests_per_s=prompts / engines,
        output_tokens=output_mean,
        ttft_s=seen.ttft_mean_s if _first_tokens_fit(seen) else None,
        lengths=lengths,
    )


def _first_tokens_fit(seen: PoolWindow) -> bool:
    """Time to the first token beyond prefill was spent waiting: Little's law again, for the queue."""
    waiting, total, prefill = seen.waiting_mean, seen.ttft_seconds_per_s, seen.prefill_seconds_per_s
    if waiting is None or total is None:
        return False
    running = ((seen.running_early or 0.0) + (seen.running_late or 0.0)) / 2
    if waiting > max(1.0, LARGEST_QUEUE * running):
        return False
    if prefill is None:
        return True
    queue = total - prefill
    most = max(queue, waiting)
    # Seconds in the API server are in TTFT and in no gauge.
    return queue >= 0 and queue - waiting <= 0.3 * most + math.sqrt(most) + API_SERVER_S * (seen.prompts_per_s or 0.0)


def _scaled(lengths: LengthMix, prompt_mean: float, output_mean: float, hit_ratio: float) -> LengthMix:
    """The fleet's mix with the means of this pool and window."""
    return LengthMix(
        prompt_tokens=lengths.prompt_tokens * (prompt_mean / lengths.mean_prompt_tokens),
        output_tokens=lengths.output_tokens * (output_mean / lengths.mean_output_tokens),
        prefix_hit_ratio=min(1.0, hit_ratio),
        source=lengths.source,
    )


def _known(seen: PoolWindow) -> dict[str, float]:
    return {name: float(getattr(seen, name)) for name in _NEEDED}


def _complete(look: Look) -> Refusal | None:
    if look.seen.window is None:
        return Refusal(verdict=WindowVerdict.NO_METRICS, sentence="the rates of this pool could not be read")
    requests = (look.window.requests_per_s or 0.0) * look.window.window_s
    if look.window.requests_per_s is None or requests < LEAST_REQUESTS:
        return Refusal(
            verdict=WindowVerdict.TOO_FEW_REQUESTS,
            sentence=f"{requests:.0f} requests finished in {look.window.window_s:.0f} s, {LEAST_REQUESTS} are needed",
        )
    for name in _NEEDED:
        value = getattr(look.window, name)
        if value is None or not math.isfinite(value) or value < 0:
            what = name.removesuffix("_per_s").replace("_", " ")
            return Refusal(verdict=WindowVerdict.INCOMPLETE, sentence=f"the series of {what} says nothing")
    silent = [name for name in _NEEDED[1:6] if not getattr(look.window, name) > 0]
    if silent:
        what = ", ".join(name.removesuffix("_per_s").replace("_", " ") for name in silent)
        return Refusal(
            verdict=WindowVerdict.INCOMPLETE,
            sentence=f"{requests:.0f} requests finished, and {what} stands at zero: the series is dead",
        )
    return None


def _one_model(look: Look) -> Refusal | None:
    strange = [name for name in look.window.models if name != look.served_name]
    if not strange:
        return None
    return Refusal(
        verdict=WindowVerdict.OTHER_MODEL,
        sentence=f"engines report {', '.join(strange)} and the fleet serves {look.served_name}",
    )


def _settled(look: Look) -> Refusal | None:
    began_s = look.at_s - look.window.window_s
    ready = [replica for replica in look.replicas if replica.phase is Phase.READY]
    young = [replica.name for replica in ready if replica.since_s > began_s]
    moving = [r.name for r in look.replicas if r.phase in {Phase.STARTING, Phase.TERMINATING} or r.doomed]
    other_size = [r.name for r in ready if r.tensor_parallel != look.shape.tensor_parallel]
    for names, what in (
        (moving, "on the way in or out"),
        (young, "serve for less than a window"),
        (other_size, f"do not run on {look.shape.tensor_parallel} GPUs"),
    ):
        if names:
            return Refusal(verdict=WindowVerdict.SCALE_EVENT, sentence=f"{len(names)} replicas {what}: {names[0]}")
    if look.seen.engines != len(ready) or len(ready) > look.wanted:
        return Refusal(
            verdict=WindowVerdict.SCALE_EVENT,
            sentence=f"{look.seen.engines} engines report, {len(ready)} replicas serve, {look.wanted} are wanted",
        )
    return None


def _unbroken(look: Look) -> Refusal | None:
    if (look.window.resets or 0) > 0:
        return Refusal(
            verdict=WindowVerdict.RESTARTED, sentence="a counter began again: an engine restarted within the window"
        )
    preempted = (look.window.preemptions_per_s or 0.0) * look.window.window_s
    if preempted > 0:
        return Refusal(
            verdict=WindowVerdict.PREEMPTIONS,
            sentence=f"{preempted:.0f} requests were preempted: steps went into computing them again",
        )
    return None


def _stationary(look: Look) -> Refusal | None:
    early, late = look.window.running_early or 0.0, look.window.running_late or 0.0
    mean = (early + late) / 2
    if abs(late - early) <= LARGEST_DRIFT * mean + 2 * math.sqrt(mean):
        return None
    return Refusal(
        verdict=WindowVerdict.NOT_STATIONARY,
        sentence=f"the batch went from {early:.1f} to {late:.1f} within the window",
    )


def _consistent(look: Look) -> Refusal | None:
    """Seconds spent each second in a phase are the requests in it: the gauge must say about the same."""
    seen = look.window
    spent = (seen.itl_seconds_per_s or 0.0) + (seen.prefill_seconds_per_s or 0.0)
    early, late = seen.running_early or 0.0, seen.running_late or 0.0
    gauge = (early + late) / 2
    most = max(spent, gauge)
    if abs(spent - gauge) <= LARGEST_MISMATCH * most + math.sqrt(most):
        return None
    stuck = early == late
    return Refusal(
        verdict=WindowVerdict.STUCK_GAUGE if stuck else WindowVerdict.BATCH_MISMATCH,
        sentence=f"{gauge:.1f} requests run by the gauge{', which does not move,' if stuck else ''} and {spent:.1f} by "
        "the time they spent: one of the two is wrong",
    )


def _hits_told(look: Look) -> Refusal | None:
    """Tokens that were computed must be those that the prefix cache lacked."""
    seen = look.window
    if not look.prefix_caching:
        return None
    prompt, output = seen.prompt_tokens_per_s or 0.0, seen.output_tokens_per_s or 0.0
    computed = None if not seen.scheduled_tokens_per_s else seen.scheduled_tokens_per_s - output
    if computed is None:
        if seen.prefix_hit_ratio is not None:
            return None
        said = "neither prefix hits nor computed tokens are known"
    else:
        told = prompt * (1 - (seen.prefix_hit_ratio or 0.0))
        if told - computed <= HIDDEN_HITS * prompt:
            return None
        said = f"{computed:.0f} prompt tokens/s were computed where {told:.0f} are said to have missed the prefix cache"
    return Refusal(verdict=WindowVerdict.HITS_HIDDEN, sentence=said)


CHECKS: tuple[Callable[[Look], Refusal | None], ...] = (
    _complete, _one_model, _settled, _unbroken, _stationary, _consistent, _hits_told,
)  # fmt: skip
