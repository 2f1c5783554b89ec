"""Asks the physics about cases, each distinct question once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from benchmarks.accuracy_parts.cases import Case, Load
from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.operating import OperatingPoint, closed_loop, open_loop, static_batch
from inferencefleet.physics.residence import load

PRIOR = Scales()
MOST_CLIENTS = 8192.0
LEAST_ROUNDS = 2


@dataclass(slots=True)
class Oracle:
    """The physics with a memory: benchmark files repeat their configurations on many dates."""

    _known: dict[Hashable, OperatingPoint] = field(default_factory=dict)
    _shapes: dict[Hashable, int] = field(default_factory=dict)

    def __call__(self, case: Case, scales: Scales = PRIOR) -> OperatingPoint:
        shape = self._shapes.setdefault(case.shape, len(self._shapes))
        key = (shape, *question(case), scales)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = operating_point(case, scales)
        return found


def question(case: Case) -> tuple[Hashable, ...]:
    """Equal for two cases of one replica shape exactly when their predictions are."""
    return (case.lengths.content(), case.load, case.clients, case.requests_per_s, case.rounds)


def operating_point(case: Case, scales: Scales = PRIOR) -> OperatingPoint:
    """The prediction for one case."""
    if case.load is Load.OPEN:
        return open_loop(case.shape, case.lengths, case.requests_per_s, scales)
    if case.load is Load.BATCH:
        return static_batch(case.shape, case.lengths, case.clients, scales)
    if case.load is Load.STEADY:
        return _steady(case, scales)
    if case.clients > MOST_CLIENTS:
        return _crowd(case, scales)
    return closed_loop(case.shape, case.lengths, case.clients, scales, rounds=case.rounds)


def _steady(case: Case, scales: Scales) -> OperatingPoint:
    """The batch was measured, so there is nothing to find out about it; TTFT is that of a request at its rate."""
    state = load(case.shape, case.lengths, scales, case.clients)
    rate = float(state.rate[-1])
    first = float(state.chunks[-1].mean() * state.decode_step_s[-1] + state.extension_s[-1].mean()) * scales.ttft
    return OperatingPoint(
        running=case.clients,
        waiting=0.0,
        itl_mean_s=float(state.itl_mean_s[-1]),
        ttft_mean_s=first,
        ttft_p50_s=first,
        requests_per_s=rate,
        output_tokens_per_s=rate * case.lengths.mean_output_tokens,
        utilisation=1.0,
    )


def _crowd(case: Case, scales: Scales) -> OperatingPoint:
    """More clients than are worth following one by one: the others only wait, each for one more turn."""
    found = closed_loop(case.shape, case.lengths, MOST_CLIENTS, scales, rounds=LEAST_ROUNDS)
    more = case.clients - MOST_CLIENTS
    wait = more / found.requests_per_s
    return replace(
        found,
        waiting=found.waiting + more,
        ttft_mean_s=found.ttft_mean_s + wait,
        ttft_p50_s=found.ttft_p50_s + wait,
        stable=False,
    )


def ttft_s(point: OperatingPoint, is_median: bool) -> float:
    return point.ttft_p50_s if is_median else point.ttft_mean_s


def e2e_s(case: Case, point: OperatingPoint) -> float:
    return point.ttft_mean_s + max(case.lengths.mean_output_tokens - 1, 0.0) * point.itl_mean_s
