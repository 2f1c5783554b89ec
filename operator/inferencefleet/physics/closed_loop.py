"""A benchmark with a fixed number of clients, request by request (sizing physics 1.4, closed loop).

All clients start together, so prompts queue at first, and those that started together end nearly together: later
requests come in clumps too. Both raise the mean time to first token far above that of a lone request, by up to five
times at 64 clients, and no steady-state formula has it. Between two events all running sequences do the same, so whole
runs of decode steps are taken at once: the cost is per request, not per token.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil

import numpy as np
from numpy.typing import NDArray

from inferencefleet.physics.prefill import host_s
from inferencefleet.physics.step import StepModel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoopRun:
    """Requests in the order in which they were sent; arrays of shape (requests,)."""

    ttft_s: Floats
    itl_s: Floats
    """Mean time between the tokens of each request; NaN for a request of one token."""
    output_tokens: Floats
    seconds: float
    """From the first request to the end of the last."""
    running_mean: float
    """Sequences in the batch, averaged over time."""
    waited: bool
    """Whether a request had to wait for a slot or for KV cache."""


def run_closed_loop(
    step: StepModel,
    prompt_tokens: Floats,
    output_tokens: Floats,
    *,
    clients: int,
    batched_tokens: int,
    slots: int,
    kv_cache_tokens: float,
    prefix_hit_ratio: float = 0.0,
) -> ClosedLoopRun:
    """Serve these requests, each client sending its next one when its last is answered.

    Prompts are prefilled first come, first served, up to `batched_tokens` in one step beside the running sequences. A
    request is admitted while a slot is free and the cache has room for its prompt and half of its output.
    """
    return _Loop(
        step,
        prompt_tokens,
        output_tokens,
        clients,
        batched_tokens,
        slots,
        kv_cache_tokens,
        prefix_hit_ratio,
    ).run()


class _Loop:
    """One run in progress; a heap holds who ends when, counted in decode steps."""

    def __init__(
        self,
        step: StepModel,
        prompts: Floats,
        outputs: Floats,
        clients: int,
        batched_tokens: int,
        slots: int,
        kv_cache_tokens: float,
        hit_ratio: float,
    ) -> None:
        self._step, self._slots, self._batched = step, slots, batched_tokens
        self._prompts, self._outputs = prompts.tolist(), outputs.tolist()
        self._cached = [prompt * hit_ratio for prompt in self._prompts]
        self._host = host_s(prompts).tolist()
        self._room = kv_cache_tokens
        self._now = self._decoded = self._context = self._batch_seconds = 0.0
        self._running = self._sent = self._ended = 0
        self._waited = False
        self._arriving: list[tuple[float, int]] = []
        self._queue: deque[int] = deque()
        self._left: dict[int, float] = {}
        """Prompt tokens still to compute of admitted requests."""
        self._ending: list[tuple[float, int]] = []
        count = len(self._prompts)
        self._start, self._first, self._end = ([0.0] * count for _ in range(3))
        for _ in range(min(clients, count)):
            self._send()

    def run(self) -> ClosedLoopRun:
        """Serve to the end."""
        while self._ended < len(self._prompts):
            while self._arriving and self._arriving[0][0] <= self._now:
                self._queue.append(heappop(self._arriving)[1])
            if self._queue:
                self._prefill()
            elif self._running:
                self._decode()
            else:
                self._now = self._arriving[0][0]
        first, outputs = np.array(self._first), np.array(self._outputs)
        # The way in is part of the arrival; the rest of the host's time is not on the engine's clock.
        ttft = first - np.array(self._start) + np.array(self._host) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            itl = np.where(outputs > 1, (np.array(self._end) - first) / (outputs - 1), np.nan)
        return ClosedLoopRun(
            ttft_s=ttft,
            itl_s=itl,
            output_tokens=outputs,
            seconds=self._now,
            running_mean=self._batch_seconds / self._now,
            waited=self._waited,
        )

    def _send(self) -> None:
        request = self._sent
        if request < len(self._prompts):
            self._sent += 1
            self._start[request] = self._now
            heappush(self._arriving, (self._now + self._host[request] / 2, request))

    def _admit(self, request: int, started: int) -> bool:
        """Whether a queued request may begin; one alone always may."""
        if request in self._left:
            return True
        need = self._prompts[request] + self._outputs[request] / 2
        if self._running + started and (self._running + started >= self._slots or need > self._room):
            self._waited = True
            return False
        self._room -= need
        self._left[request] = max(1.0, self._prompts[request] - self._cached[request])
        return True

    def _prefill(self) -> None:
        """One step that carries prompt tokens."""
        budget = max(1.0, self._batched - self._running)
        tokens = attended = 0.0
        finished: list[int] = []
        while self._queue and budget >= 1 and self._admit(self._queue[0], len(finished)):
            request = self._queue[0]
            left = self._left[request]
            chunk = min(left, budget)
            before = self._prompts[request] - left
            tokens += chunk
            attended += chunk * (before + chunk / 2)
            budget -= chunk
            self._left[request] = left - chunk
            if left > chunk:
                break
            finished.append(self._queue.popleft())
            del self._left[request]
        if not tokens:
            self._decode()
            return
        self._advance(self._step.seconds(self._running, self._context, tokens, attended / tokens), 1)
        for request in finished:
            self._first[request] = self._now
            if self._outputs[request] <= 1:
                self._finish(request)
            else:
                self._running += 1
                self._context += self._prompts[request]
                heappush(self._ending, (self._decoded + self._outputs[request] - 1, request))

    def _decode(self) -> None:
        """All decode steps until the next end or arrival, at the step time of their middle."""
        steps = max(1, ceil(self._ending[0][0] - self._decoded - 1e-9))
        if self._arriving:
            once = self._step.seconds(self._running, self._context)
            steps = min(steps, max(1, ceil((self._arriving[0][0] - self._now) / once)))
        middle = self._context + self._running * (steps - 1) / 2
        self._advance(steps * self._step.seconds(self._running, middle), steps)

    def _advance(self, seconds: float, steps: int) -> None:
        self._now += seconds
        self._batch_seconds += seconds * self._running
        self._decoded += steps
        self._context += self._running * steps
        while self._ending and self._ending[0][0] <= self._decoded + 1e-9:
            request = heappop(self._ending)[1]
            self._running -= 1
            self._context -= self._prompts[request] + self._outputs[request] - 1
            self._finish(request)

    def _finish(self, request: int) -> None:
        self._end[request] = self._now
        self._room += self._prompts[request] + self._outputs[request] / 2
        self._ended += 1
        self._send()
