"""One simulated vLLM server as the rest of the twin sees it, and what drives its engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from inferencefleet.simulator.engine import Engine, StepResult
from inferencefleet.simulator.request import Request
from sandbox.twin.clock import Clock
from sandbox.twin.podspec import VllmOrder


@dataclass(slots=True, eq=False)
class Job:
    """A client's request: it outlives the engines that try to serve it."""

    id: int
    model: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    finish_reason: str = "stop"
    attempts: int = 0
    request: Request | None = None
    """The current attempt."""
    replica: Replica | None = None
    on_tokens: Callable[[int, float], None] | None = None
    """A streaming HTTP client: called with all tokens so far after each step."""
    on_end: Callable[[str], None] | None = None
    """An HTTP client: called with `finished`, `failed` or `aborted`; such jobs are not retried by the twin."""

    def attempt(self) -> Request:
        self.attempts += 1
        self.request = Request(
            id=self.id,
            # TTFT counts from here even when this is the second attempt.
            arrival_s=self.arrival_s,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            finish_reason=self.finish_reason,
        )
        return self.request


@dataclass(slots=True, eq=False)
class Replica:
    """A loaded engine in a pod."""

    namespace: str
    name: str
    uid: str
    pool: str
    node: str
    order: VllmOrder
    engine: Engine
    started_s: float
    """Epoch seconds of the process start."""
    port: int = 0
    ready: bool = False
    terminating: bool = False
    doomed: bool = False
    dead: bool = False
    hung_until_s: float = 0.0
    frozen_until_s: float = 0.0
    """/metrics does not answer before this."""
    jobs: dict[int, Job] = field(default_factory=dict)
    streams: dict[int, Job] = field(default_factory=dict)
    """Those of `jobs` whose client reads along."""

    def routable(self) -> bool:
        return self.ready and not self.terminating and not self.dead

    def serves(self, model: str) -> bool:
        return model in self.order.served_names

    def forget(self, job: Job) -> None:
        self.jobs.pop(job.id, None)
        self.streams.pop(job.id, None)

    @property
    def load(self) -> int:
        return self.engine.in_flight


class Observer(Protocol):
    """Who hears of each step."""

    def on_step(self, replica: Replica, result: StepResult) -> None: ...


class Drive:
    """Lets engines run: puts the end of each step on the clock and tells what the step did."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.observers: list[Observer] = []
        self.steps = 0

    def submit(self, replica: Replica, job: Job, now_s: float) -> None:
        """Raises ValueError with the server's words when the engine refuses the request."""
        request = job.attempt()
        idle = replica.engine.next_event_s() is None
        replica.engine.submit(request, now_s)
        job.replica = replica
        replica.jobs[job.id] = job
        if job.on_tokens is not None:
            replica.streams[job.id] = job
        if idle:
            self._schedule(replica)

    def hang(self, replica: Replica, until_s: float) -> None:
        """No token moves before `until_s`, and nobody is told."""
        replica.hung_until_s = until_s
        self._schedule(replica)

    def _schedule(self, replica: Replica) -> None:
        replica.engine.stall(replica.hung_until_s)
        due_s = replica.engine.next_event_s()
        if due_s is not None:
            self._clock.at(due_s, lambda at_s: self._play(replica, at_s))

    def _play(self, replica: Replica, at_s: float) -> None:
        due_s = replica.engine.next_event_s()
        if replica.dead or due_s is None or due_s > at_s:
            return  # the step was put off by a hang, and is on the clock for later
        result = replica.engine.step(at_s)
        self.steps += 1
        for observer in self.observers:
            observer.on_step(replica, result)
        self._schedule(replica)

    def abort(self, job: Job) -> None:
        """The client went away."""
        if job.replica is not None and job.request is not None:
            job.replica.engine.abort(job.request)
            job.replica.forget(job)

    def kill(self, replica: Replica) -> list[Job]:
        """The process is gone; returns the jobs it leaves behind."""
        if replica.dead:
            return []
        replica.dead, replica.ready = True, False
        replica.engine.abort_all()
        left = list(replica.jobs.values())
        replica.jobs.clear()
        replica.streams.clear()
        return left
