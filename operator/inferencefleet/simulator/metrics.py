"""What a vLLM V1 engine counts, under the meanings that vLLM gives these names."""

from __future__ import annotations

from collections.abc import Mapping

from inferencefleet.simulator.histogram import (
    CHOICE_BOUNDS,
    ITERATION_BOUNDS,
    ITL_BOUNDS,
    PHASE_BOUNDS,
    TTFT_BOUNDS,
    Accumulator,
    token_bounds,
)
from inferencefleet.simulator.request import Request

FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")


class EngineMetrics:
    """Counters and histograms; gauges are read off the engine when asked for."""

    def __init__(self, max_model_len_tokens: int, frontend_s: float = 0.0) -> None:
        self._frontend_s = frontend_s
        tokens = token_bounds(max_model_len_tokens)
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.preemptions = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.finished = dict.fromkeys(FINISH_REASONS, 0)
        self.request_prompt_tokens = Accumulator(tokens)
        self.request_generation_tokens = Accumulator(tokens)
        self.request_max_tokens = Accumulator(tokens)
        self.request_computed_tokens = Accumulator(tokens)
        self.request_choices = Accumulator(CHOICE_BOUNDS)
        self.iteration_tokens = Accumulator(ITERATION_BOUNDS)
        self.ttft = Accumulator(TTFT_BOUNDS)
        self.itl = Accumulator(ITL_BOUNDS)
        self.time_per_output_token = Accumulator(ITL_BOUNDS)
        self.e2e = Accumulator(PHASE_BOUNDS)
        self.queue = Accumulator(PHASE_BOUNDS)
        self.inference = Accumulator(PHASE_BOUNDS)
        self.prefill = Accumulator(PHASE_BOUNDS)
        self.decode = Accumulator(PHASE_BOUNDS)

    def rebucket(self, bounds: Mapping[str, tuple[float, ...]]) -> None:
        """`--custom-histogram-buckets` (vLLM 0.33): other bounds for whole families, before anything is observed."""
        families = {
            "time_to_first_token": [self.ttft],
            "inter_token_latency": [self.itl, self.time_per_output_token],
            "request_latency": [self.e2e, self.queue, self.inference, self.prefill, self.decode],
            "request_tokens": [self.request_prompt_tokens, self.request_generation_tokens],
        }
        for family, values in bounds.items():
            for accumulator in families.get(family, ()):
                accumulator.rebucket(values)

    def on_admitted(self, request: Request) -> None:
        self.prefix_queries += request.prompt_tokens
        self.prefix_hits += request.cached_tokens

    def on_first_token(self, request: Request) -> None:
        """vLLM counts a prompt when its prefill is done, cached tokens included."""
        self.prompt_tokens += request.prompt_tokens
        self.cached_tokens += request.cached_tokens
        if request.first_token_s is not None:
            self.ttft.observe(request.first_token_s - request.queued_s)

    def on_finished(self, request: Request, reason: str) -> None:
        self.finished[reason] += 1
        scheduled, first, last = request.scheduled_s, request.first_token_s, request.last_token_s
        if scheduled is None or first is None or last is None:
            return  # aborted before its first token: vLLM has no phases to report either
        self.request_prompt_tokens.observe(request.prompt_tokens)
        self.request_generation_tokens.observe(request.generated)
        self.request_max_tokens.observe(request.generated)
        self.request_computed_tokens.observe(request.prompt_tokens - request.cached_tokens)
        self.request_choices.observe(1)
        self.e2e.observe(last - request.queued_s)
        self.queue.observe(scheduled - request.queued_s)
        # The engine core stamps phases; what the API server adds to a first token is in TTFT and e2e only.
        self.inference.observe(last - scheduled - self._frontend_s)
        self.prefill.observe(first - scheduled - self._frontend_s)
        self.decode.observe(last - first)
        self.time_per_output_token.observe((last - first) / (request.generated - 1) if request.generated > 1 else 0.0)
