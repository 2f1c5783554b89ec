"""The gateway in front of the fleet: least-loaded, with one client retry; requests without a ready engine wait here."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from inferencefleet.simulator.engine import StepResult
from inferencefleet.simulator.request import Request
from sandbox.twin.clock import Clock
from sandbox.twin.replica import Drive, Job, Replica

ATTEMPTS = 2
"""A client whose stream breaks asks once more."""


class JobLog(Protocol):
    """Where the truth is written down."""

    def arrived(self, job: Job) -> None: ...

    def first_token(self, job: Job, request: Request) -> None: ...

    def ended(self, job: Job, outcome: str, now_s: float) -> None: ...


class Router:
    def __init__(self, clock: Clock, drive: Drive, log: JobLog) -> None:
        self._clock = clock
        self._drive = drive
        self._log = log
        self.replicas: dict[str, Replica] = {}
        self.waiting: deque[Job] = deque()
        drive.observers.append(self)

    # -- the fleet changes -------------------------------------------------------------------------------------------

    def add(self, replica: Replica) -> None:
        self._clock.catch_up()
        self.replicas[replica.uid] = replica

    def became_ready(self, replica: Replica) -> None:
        now_s = self._clock.catch_up()
        replica.ready = True
        backlog, self.waiting = self.waiting, deque()
        for job in backlog:
            self._route(job, now_s)

    def drain(self, replica: Replica) -> None:
        """Its endpoint is gone; what it has in hand goes on."""
        self._clock.catch_up()
        replica.terminating = True

    def remove(self, replica: Replica) -> None:
        """Its process is gone; clients ask once more."""
        now_s = self._clock.catch_up()
        self.replicas.pop(replica.uid, None)
        for job in self._drive.kill(replica):
            self._broken(job, now_s)

    # -- requests ----------------------------------------------------------------------------------------------------

    def arrive(self, job: Job, now_s: float) -> None:
        self._log.arrived(job)
        self._route(job, now_s)

    def direct(self, replica: Replica, job: Job) -> None:
        """A client that talks to one pod. Raises ValueError in the server's words."""
        self._drive.submit(replica, job, self._clock.catch_up())

    def cancel(self, job: Job) -> None:
        self._clock.catch_up()
        self._drive.abort(job)

    def _route(self, job: Job, now_s: float) -> None:
        target = self._choose(job.model)
        if target is None:
            self.waiting.append(job)
            return
        try:
            self._drive.submit(target, job, now_s)
        except ValueError:
            self._log.ended(job, "refused", now_s)

    def _choose(self, model: str) -> Replica | None:
        """Fewest requests in hand. A node about to be taken back gets new work only when nothing else is there."""
        best: Replica | None = None
        best_load = 0
        for replica in self.replicas.values():
            if not replica.routable() or not replica.serves(model):
                continue
            load = replica.load + (1_000_000 if replica.doomed else 0)
            if best is None or load < best_load:
                best, best_load = replica, load
        return best

    def _broken(self, job: Job, now_s: float) -> None:
        job.replica = None
        if job.on_end is not None:
            job.on_end("aborted")
        elif job.attempts < ATTEMPTS:
            self._route(job, now_s)
        else:
            self._log.ended(job, "failed", now_s)

    # -- what engines report -----------------------------------------------------------------------------------------

    def on_step(self, replica: Replica, result: StepResult) -> None:
        for request in result.first_tokens:
            job = replica.jobs.get(request.id)
            if job is not None and job.on_end is None:
                self._log.first_token(job, request)
        for request in result.finished:
            job = replica.jobs.get(request.id)
            if job is None:
                continue
            replica.forget(job)
            if job.on_tokens is not None:
                job.on_tokens(request.generated, result.ended_s)
            if job.on_end is not None:
                job.on_end("finished")
            else:
                self._log.ended(job, "finished", request.last_token_s or result.ended_s)
        for job in replica.streams.values():
            if job.on_tokens is not None and job.request is not None:
                job.on_tokens(replica.engine.tokens_of(job.request), result.ended_s)
