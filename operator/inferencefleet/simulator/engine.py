"""One vLLM replica as a state machine without a clock: continuous batching, chunked prefill, paged KV, preemption.

It follows the scheduler of vLLM V1: every running request is served first (one token each, and the next chunk of
prefills under way), then waiting requests are admitted in order while tokens, sequences and KV blocks last; when a
decoding request finds no block, the youngest running request is preempted and recomputed later.

Work per step is proportional to what changes, not to the batch: decoding sequences advance together, so the sum of
their contexts, the blocks they need next and the step in which each one finishes all follow from the step number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import Protocol

from inferencefleet.simulator.kv import KvBlocks
from inferencefleet.simulator.metrics import EngineMetrics
from inferencefleet.simulator.request import Request, State


class StepTime(Protocol):
    """`inferencefleet.physics.step.StepModel`, as far as an engine needs it."""

    def seconds(
        self, decode_seqs: float, context_tokens_sum: float, prefill_tokens: float, prefill_context_tokens: float
    ) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    kv_blocks: int
    block_size: int = 16
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    max_model_len_tokens: int = 32768
    watermark: float = 0.01
    """Share of blocks kept free for growth when a request is admitted beside others."""
    step_noise: float = 0.03
    """Standard deviation of log(step time)."""
    frontend_s: float = 0.015
    """Tokenising, HTTP and detokenising: added to every first token."""
    itl_target_s: float = float("inf")
    """Token intervals above this are counted on each request."""


@dataclass(slots=True)
class StepResult:
    """What one engine step did."""

    step: int
    started_s: float
    ended_s: float
    decoded: int = 0
    """Sequences that got one more token after `ended_s - started_s`."""
    prefill_tokens: int = 0
    resumed_itl_s: list[float] = field(default_factory=list)
    """Token intervals of requests that came back from a preemption."""
    first_tokens: list[Request] = field(default_factory=list)
    finished: list[Request] = field(default_factory=list)
    preempted: list[Request] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        return self.ended_s - self.started_s

    @property
    def tokens(self) -> int:
        """Tokens generated."""
        return self.decoded + len(self.first_tokens) + len(self.resumed_itl_s)


class Engine:
    """Feed it requests, ask when its step ends, and let it end: `submit`, `next_event_s`, `step`."""

    def __init__(self, config: EngineConfig, step_time: StepTime, seed: int) -> None:
        self.config = config
        self.metrics = EngineMetrics(config.max_model_len_tokens, config.frontend_s)
        self.kv = KvBlocks(config.kv_blocks, config.block_size)
        self.waiting: deque[Request] = deque()
        self.running: dict[int, Request] = {}
        """In order of admission: the last one is preempted first."""
        self.steps = 0
        self._step_time = step_time
        self._random = Random(seed)
        self._watermark_blocks = int(config.watermark * config.kv_blocks)
        self._prefilling: deque[Request] = deque()
        self._completing: list[Request] = []
        self._finish_at: dict[int, list[Request]] = {}
        self._decoding = 0
        self._context_base = 0
        """Sum over decoding requests of (tokens in cache when joining - step of joining)."""
        self._slow_steps = 0
        self._flight: StepResult | None = None

    # -- what the outside sees ---------------------------------------------------------------------------------------

    def next_event_s(self) -> float | None:
        """When the step in flight ends; None while idle."""
        return None if self._flight is None else self._flight.ended_s

    @property
    def in_flight(self) -> int:
        return len(self.running) + len(self.waiting)

    @property
    def context_tokens(self) -> int:
        """Tokens in the cache of decoding requests."""
        return self._context_base + self._decoding * self.steps

    def refusal(self, request: Request) -> str | None:
        """Why this request can never run here; None when it can."""
        total = request.prompt_tokens + request.output_tokens
        if request.prompt_tokens < 1 or request.output_tokens < 1:
            return "prompt and output must hold at least one token"
        if total > self.config.max_model_len_tokens:
            return f"{total} tokens exceed the maximum model length of {self.config.max_model_len_tokens}"
        if self.kv.blocks_for(total) > self.kv.total:
            return f"{total} tokens exceed the KV cache of {self.kv.total * self.kv.block_size} tokens"
        return None

    def tokens_of(self, request: Request) -> int:
        """Tokens this request has generated by the end of the last step."""
        return request.tokens_at(self.steps)

    def submit(self, request: Request, now_s: float) -> None:
        refusal = self.refusal(request)
        if refusal is not None:
            raise ValueError(refusal)
        request.state = State.WAITING
        request.queued_s = now_s
        request.cached_tokens = min(request.cached_tokens, request.prompt_tokens - 1)
        request.target = request.prompt_tokens
        self.waiting.append(request)
        if self._flight is None:
            self._begin(now_s)

    def step(self, now_s: float) -> StepResult:
        """End the step in flight (at its own time, however late `now_s` is) and begin the next one."""
        result = self._flight
        if result is None or now_s < result.ended_s:
            raise RuntimeError("no step ends now")
        self._end(result)
        self._begin(result.ended_s)
        return result

    def stall(self, until_s: float) -> None:
        """The GPU hangs: the step in flight does not end before `until_s`."""
        if self._flight is not None:
            self._flight.ended_s = max(self._flight.ended_s, until_s)

    def abort(self, request: Request) -> None:
        """The client went away, or the server dies: its blocks are free at once."""
        if request.state is State.WAITING:
            self.waiting.remove(request)
        elif request.state in {State.PREFILLING, State.DECODING}:
            self._leave(request)
        else:
            return
        request.state = State.ABORTED
        self.metrics.on_finished(request, "abort")

    def abort_all(self) -> list[Request]:
        aborted = [*self.running.values(), *self.waiting]
        for request in aborted:
            self.abort(request)
        self._flight = None
        return aborted

    # -- the end of a step -------------------------------------------------------------------------------------------

    def _end(self, result: StepResult) -> None:
        now_s, step = result.ended_s, result.step
        self.steps = step
        if result.decoded:
            self.metrics.itl.observe(result.duration_s, result.decoded)
            if result.duration_s > self.config.itl_target_s:
                self._slow_steps += 1
        for request in self._finish_at.pop(step, ()):
            # A preempted or aborted request leaves its old entry behind; it no longer points here.
            if request.state is State.DECODING and request.finish_step == step:
                self._finish(request, now_s, result)
        for request in self._completing:
            if request.state is State.PREFILLING:
                self._emit_after_prefill(request, now_s, result)
        self._completing.clear()
        self.metrics.generation_tokens += result.tokens
        self.metrics.iteration_tokens.observe(result.decoded + result.prefill_tokens)

    def _emit_after_prefill(self, request: Request, now_s: float, result: StepResult) -> None:
        visible_s = now_s + self.config.frontend_s
        if request.first_token_s is None:
            request.first_token_s = visible_s
            self.metrics.on_first_token(request)
            result.first_tokens.append(request)
        else:
            interval = visible_s - (request.last_token_s or visible_s)
            result.resumed_itl_s.append(interval)
            self.metrics.itl.observe(interval)
            request.slow_tokens += interval > self.config.itl_target_s
        request.generated += 1
        request.last_token_s = visible_s
        request.state = State.DECODING
        request.joined_step = result.step
        request.slow_mark = self._slow_steps
        request.finish_step = result.step + request.output_tokens - request.generated
        self._decoding += 1
        self._context_base += request.target - result.step
        self.kv.start_growing(request.target, result.step)
        if request.finish_step == result.step:
            self._finish(request, now_s, result)
        else:
            self._finish_at.setdefault(request.finish_step, []).append(request)

    def _finish(self, request: Request, now_s: float, result: StepResult) -> None:
        self._leave(request)
        request.state = State.FINISHED
        request.last_token_s = now_s + self.config.frontend_s
        self.metrics.on_finished(request, request.finish_reason)
        result.finished.append(request)

    def _leave(self, request: Request) -> None:
        """Take a running request out of the batch; what it generated so far stays on it."""
        del self.running[request.id]
        if request.state is State.DECODING:
            tokens = request.target + self.steps - request.joined_step
            self._decoding -= 1
            self._context_base -= request.target - request.joined_step
            self.kv.stop_growing(request.target, request.joined_step)
            request.generated = request.tokens_at(self.steps)
            request.slow_tokens += self._slow_steps - request.slow_mark
            self.kv.release(self.kv.blocks_for(tokens) + self._growth_in_flight(request))
        else:
            if request in self._prefilling:
                self._prefilling.remove(request)
            self.kv.release(request.blocks)

    def _growth_in_flight(self, request: Request) -> int:
        """A step that has begun has already taken the blocks it fills."""
        if self._flight is None or self._flight.step == self.steps or request.joined_step >= self._flight.step:
            return 0
        before = request.target + self.steps - request.joined_step
        return self.kv.blocks_for(before + 1) - self.kv.blocks_for(before)

    # -- the beginning of a step -------------------------------------------------------------------------------------

    def _begin(self, now_s: float) -> None:
        self._flight = None
        if not self.running and not self.waiting:
            return
        result = StepResult(self.steps + 1, now_s, now_s)
        self._grow(result)
        result.decoded = self._decoding
        context_work = self._schedule_prefills(self.config.max_num_batched_tokens - self._decoding, now_s, result)
        if not result.decoded and not result.prefill_tokens:
            raise RuntimeError("a step without work: the head of the queue cannot be admitted to an empty engine")
        mean_s = self._step_time.seconds(
            self._decoding,
            self._context_base + self._decoding * result.step,
            result.prefill_tokens,
            context_work / result.prefill_tokens if result.prefill_tokens else 0.0,
        )
        sigma = self.config.step_noise
        noise = exp(self._random.gauss(-sigma * sigma / 2, sigma)) if sigma > 0 else 1.0
        result.ended_s = now_s + mean_s * noise
        self._flight = result

    def _grow(self, result: StepResult) -> None:
        """Blocks for the next token of every decoding request; preempt the youngest until they suffice."""
        while (needed := self.kv.growth_at(result.step)) > self.kv.free:
            self._preempt(next(reversed(self.running.values())), result)
        self.kv.allocate(needed)

    def _preempt(self, request: Request, result: StepResult) -> None:
        if request.state is State.DECODING:
            # Its last token came with the last step; the interval to the next one spans the recomputation.
            request.last_token_s = result.started_s + self.config.frontend_s
        self._leave(request)
        request.state = State.WAITING
        request.preemptions += 1
        request.computed = 0
        request.target = request.prompt_tokens + request.generated
        self.waiting.appendleft(request)
        self.metrics.preemptions += 1
        result.preempted.append(request)

    def _schedule_prefills(self, budget: int, now_s: float, result: StepResult) -> float:
        """Fill the token budget with prefill chunks; returns the sum over these tokens of the context before each."""
        work = 0.0
        for request in list(self._prefilling):
            if budget <= 0:
                return work
            work += self._chunk(request, budget, result)
            budget = self.config.max_num_batched_tokens - self._decoding - result.prefill_tokens
        while budget > 0 and self.waiting and not result.preempted and self._admit(now_s):
            work += self._chunk(self._prefilling[-1], budget, result)
            budget = self.config.max_num_batched_tokens - self._decoding - result.prefill_tokens
        return work

    def _admit(self, now_s: float) -> bool:
        """Let the head of the queue in if a sequence and blocks for its whole prompt are free."""
        request = self.waiting[0]
        blocks = self.kv.blocks_for(request.target)
        spare = self.kv.free - (self._watermark_blocks if self.running else 0)
        if len(self.running) >= self.config.max_num_seqs or blocks > spare:
            return False
        self.waiting.popleft()
        self.kv.allocate(blocks)
        request.blocks = blocks
        request.state = State.PREFILLING
        request.computed = request.cached_tokens
        if request.scheduled_s is None:
            request.scheduled_s = now_s
            self.metrics.on_admitted(request)
        self.running[request.id] = request
        self._prefilling.append(request)
        return True

    def _chunk(self, request: Request, budget: int, result: StepResult) -> float:
        tokens = min(budget, request.target - request.computed)
        work = tokens * (request.computed + tokens / 2)
        request.computed += tokens
        result.prefill_tokens += tokens
        if request.computed == request.target:
            self._prefilling.remove(request)
            self._completing.append(request)
        return work
