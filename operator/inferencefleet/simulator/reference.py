"""The engines of one fleet by the token-level `Engine` of the twin: slow, and the measure of `simulator.fast`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np

from inferencefleet.domain.fleet import Routing
from inferencefleet.simulator.engine import Engine, StepResult
from inferencefleet.simulator.histogram import Accumulator
from inferencefleet.simulator.request import Request, State
from inferencefleet.simulator.servers import (
    CROWDED_FACTOR,
    CROWDED_REQUESTS,
    Arrivals,
    Buckets,
    Counters,
    EngineKind,
    Floats,
    Gauges,
    Integers,
    Outcome,
    Results,
    Servers,
    check_simulated,
    uniform_choice,
)
from inferencefleet.simulator.truth import build_engine


def servers(arrivals: Arrivals, *, routing: Routing, buckets: Buckets, seed: int, itl_target_s: float) -> Servers:
    """A `ServersFactory`."""
    return ReferenceServers(arrivals, routing, buckets, seed, itl_target_s)


@dataclass(slots=True, eq=False)
class _Replica:
    engine: Engine
    alive: bool = True
    open: bool = False
    avoided: bool = False
    computed_tokens: int = 0
    """Everything that entered the KV cache so far: the clock of the prefix cache."""
    prefixes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By session: `computed_tokens` at the last touch, and tokens cached then."""

    def cached(self, session: int, wanted: int) -> int:
        """Tokens of this session's prefix that are still in the cache; least recently used ones went first."""
        found = self.prefixes.get(session)
        if found is None:
            return 0
        touched, tokens = found
        kv = self.engine.kv
        return min(tokens, wanted) if self.computed_tokens - touched < kv.free * kv.block_size else 0


class ReferenceServers:
    """Steps every engine in order of time."""

    def __init__(self, arrivals: Arrivals, routing: Routing, buckets: Buckets, seed: int, itl_target_s: float) -> None:
        self._arrivals, self._routing, self._buckets = arrivals, routing, buckets
        self._seed, self._itl_target_s = seed, itl_target_s
        self._replicas: list[_Replica] = []
        self._gateway: deque[int] = deque()
        self._next = 0
        self._now_s = 0.0
        count = len(arrivals)
        self._prefixes = arrivals.prefix_tokens > 0
        self._results = Results(
            outcome=np.full(count, Outcome.PENDING, dtype=np.int64),
            ttft_s=np.full(count, nan),
            tpot_s=np.full(count, nan),
            e2e_s=np.full(count, nan),
            slot=np.full(count, -1, dtype=np.int64),
            retries=np.zeros(count, dtype=np.int64),
            preemptions=np.zeros(count, dtype=np.int64),
            hit_tokens=np.zeros(count, dtype=np.int64),
            slow_tokens=np.zeros(count, dtype=np.int64),
        )

    # -- replicas come and go ----------------------------------------------------------------------------------------

    def add(self, kind: EngineKind, *, seed: int) -> int:
        check_simulated(kind.shape)
        engine = build_engine(kind.shape, kind.truth, seed, self._itl_target_s)
        metrics, buckets = engine.metrics, self._buckets
        metrics.request_prompt_tokens.rebucket(buckets.prompt_tokens)
        metrics.request_generation_tokens.rebucket(buckets.output_tokens)
        metrics.ttft.rebucket(buckets.ttft_s)
        metrics.itl.rebucket(buckets.itl_s)
        metrics.time_per_output_token.rebucket(buckets.itl_s)
        metrics.e2e.rebucket(buckets.e2e_s)
        self._replicas.append(_Replica(engine))
        return len(self._replicas) - 1

    def open(self, slot: int) -> None:
        self._replicas[slot].open = True
        for _ in range(len(self._gateway)):
            self._route(self._gateway.popleft())

    def avoid(self, slot: int) -> None:
        self._replicas[slot].avoided = True

    def close(self, slot: int) -> None:
        self._replicas[slot].open = False

    def kill(self, slot: int) -> int:
        replica = self._replicas[slot]
        replica.open = replica.alive = False
        engine = replica.engine
        lost = [*engine.running.values(), *engine.waiting]
        engine.running.clear()
        engine.waiting.clear()
        for request in lost:
            self._results.ttft_s[request.id] = nan
            self._results.preemptions[request.id] += request.preemptions
            if self._results.retries[request.id]:
                self._results.outcome[request.id] = Outcome.FAILED
            else:
                self._results.retries[request.id] = 1
                self._route(request.id)
        return len(lost)

    # -- time passes -------------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        return self._now_s

    def run_until(self, until_s: float) -> None:
        due = self._arrivals.arrival_s
        while self._next < due.size and due[self._next] <= until_s:
            self._step_until(float(due[self._next]))
            self._route(self._next)
            self._next += 1
        self._step_until(until_s)

    def _step_until(self, until_s: float) -> None:
        """Replicas do not see each other, so each may run ahead to this time alone."""
        for slot, replica in enumerate(self._replicas):
            if not replica.alive:
                continue
            while (ends := replica.engine.next_event_s()) is not None and ends <= until_s:
                self._note(slot, replica, replica.engine.step(ends))
        self._now_s = max(self._now_s, until_s)

    def _note(self, slot: int, replica: _Replica, result: StepResult) -> None:
        replica.computed_tokens += result.prefill_tokens + result.tokens
        for request in result.first_tokens:
            self._results.ttft_s[request.id] = request.ttft_s
        for request in (*result.finished, *result.first_tokens):
            more = request.output_tokens if request.state is State.FINISHED else 0
            self._touch(replica, request.id, request.prompt_tokens + more)
        for request in result.finished:
            results, number = self._results, request.id
            last, first = request.last_token_s, request.first_token_s
            assert last is not None
            assert first is not None
            results.outcome[number] = Outcome.FINISHED
            results.tpot_s[number] = request.mean_itl_s or 0.0
            results.e2e_s[number] = last - request.arrival_s
            results.slot[number] = slot
            results.preemptions[number] += request.preemptions
            results.slow_tokens[number] = request.slow_tokens

    def _touch(self, replica: _Replica, number: int, tokens: int) -> None:
        session = int(self._arrivals.session[number])
        if session >= 0:
            replica.prefixes[session] = (replica.computed_tokens, tokens)

    # -- the router --------------------------------------------------------------------------------------------------

    def _route(self, number: int) -> None:
        """To a replica, or to the end of the queue at the gateway."""
        open_slots = [slot for slot, replica in enumerate(self._replicas) if replica.open]
        slots = [slot for slot in open_slots if not self._replicas[slot].avoided] or open_slots
        if not slots:
            self._gateway.append(number)
            return
        slot = self._choose(number, slots)
        replica, arrivals = self._replicas[slot], self._arrivals
        prompt = int(arrivals.prompt_tokens[number])
        request = Request(
            id=number,
            arrival_s=float(arrivals.arrival_s[number]),
            prompt_tokens=prompt,
            output_tokens=int(arrivals.output_tokens[number]),
            cached_tokens=min(self._hit(replica, number), max(0, prompt - 1)),
        )
        if replica.engine.refusal(request) is not None:
            self._results.outcome[number] = Outcome.REFUSED
            return
        self._results.hit_tokens[number] = request.cached_tokens
        replica.engine.submit(request, self._now_s)

    def _choose(self, number: int, slots: list[int]) -> int:
        if self._routing is Routing.UNIFORM:
            return slots[uniform_choice(self._seed, number, int(self._results.retries[number]), len(slots))]
        loads = {slot: self._replicas[slot].engine.in_flight for slot in slots}
        least = min(slots, key=lambda slot: (loads[slot], slot))
        if self._routing is Routing.PREFIX_AWARE and self._arrivals.session[number] >= 0:
            best = min(slots, key=lambda slot: (-self._hit(self._replicas[slot], number), loads[slot], slot))
            crowded = CROWDED_FACTOR * sum(loads.values()) / len(slots) + CROWDED_REQUESTS
            if self._hit(self._replicas[best], number) > 0 and loads[best] <= crowded:
                return best
        return least

    def _hit(self, replica: _Replica, number: int) -> int:
        wanted = int(self._arrivals.prefix_tokens[number])
        session = int(self._arrivals.session[number])
        return wanted if session < 0 or wanted == 0 else replica.cached(session, wanted)

    # -- what is to be seen ------------------------------------------------------------------------------------------

    def in_flight(self, slot: int) -> int:
        return self._replicas[slot].engine.in_flight

    def gateway_waiting(self) -> int:
        return len(self._gateway)

    def counters(self) -> Counters:
        metrics = [replica.engine.metrics for replica in self._replicas]
        buckets = self._buckets
        prompt, prompt_sum = _histogram([each.request_prompt_tokens for each in metrics], buckets.prompt_tokens)
        output, output_sum = _histogram([each.request_generation_tokens for each in metrics], buckets.output_tokens)
        ttft, ttft_sum = _histogram([each.ttft for each in metrics], buckets.ttft_s)
        itl, itl_sum = _histogram([each.itl for each in metrics], buckets.itl_s)
        tpot, tpot_sum = _histogram([each.time_per_output_token for each in metrics], buckets.itl_s)
        e2e, e2e_sum = _histogram([each.e2e for each in metrics], buckets.e2e_s)
        return Counters(
            finished=_integers(each.finished["stop"] for each in metrics),
            first_tokens=ttft.sum(axis=1),
            prompt_tokens=_integers(each.prompt_tokens for each in metrics),
            output_tokens=_integers(each.generation_tokens for each in metrics),
            prefix_queries=_integers(each.prefix_queries for each in metrics),
            prefix_hits=_integers(each.prefix_hits for each in metrics),
            preemptions=_integers(each.preemptions for each in metrics),
            computed_tokens=_integers(each.computed_tokens for each in self._replicas),
            prefill_seconds=np.array([each.prefill.sum for each in metrics], dtype=np.float64),
            prefills=_integers(each.prefill.total for each in metrics),
            prompt_hist=prompt,
            prompt_sum=prompt_sum,
            output_hist=output,
            output_sum=output_sum,
            ttft_hist=ttft,
            ttft_sum=ttft_sum,
            itl_hist=itl,
            itl_sum=itl_sum,
            tpot_hist=tpot,
            tpot_sum=tpot_sum,
            e2e_hist=e2e,
            e2e_sum=e2e_sum,
        )

    def gauges(self) -> Gauges:
        engines = [replica.engine for replica in self._replicas]
        return Gauges(
            running=_integers(len(each.running) for each in engines),
            waiting=_integers(len(each.waiting) for each in engines),
            kv_cache_usage=np.array(
                [replica.engine.kv.usage if replica.alive else 0.0 for replica in self._replicas], dtype=np.float64
            ),
            kv_cache_tokens=_integers(each.kv.total * each.kv.block_size for each in engines),
        )

    def results(self) -> Results:
        found = self._results
        return Results(**{name: getattr(found, name).copy() for name in Results.__slots__})


def _integers(values: Iterable[int]) -> Integers:
    return np.fromiter(values, dtype=np.int64)


def _histogram(accumulators: Sequence[Accumulator], bounds: Sequence[float]) -> tuple[Integers, Floats]:
    """Counts of shape (slots, bounds + 1), and sums."""
    counts = np.array([each.counts for each in accumulators], dtype=np.int64)
    sums = np.array([each.sum for each in accumulators], dtype=np.float64)
    return counts.reshape(len(accumulators), len(bounds) + 1), sums
