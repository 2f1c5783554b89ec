"""What NVIDIA Dynamo's planner believes of an engine: one iteration's time, linear in the work it does.

Source: ai-dynamo/dynamo, docs/design-docs/planner-design.md (320e674b, "Regression Models") and
planner-config-reference.mdx (08db9ac2): at least 5 and at most 64 observations, retired by 16 buckets.

    seconds(iteration) = a + b x prefill tokens + c x tokens of decoding sequences in the KV cache
    TTFT = the iterations that prefill the queue and one more prompt, in chunks of max_num_batched_tokens
    ITL  = one iteration with the average prefill beside the decoding

Dynamo's engines report every iteration. vLLM does not, so an iteration's time is read as running / tokens per second
(each running sequence gets one token), and its prefill tokens as the prompts that arrive meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inferencefleet.simulator.policy import PodSample

MIN_OBSERVATIONS = 5
MAX_OBSERVATIONS = 64
BUCKETS_EACH_WAY = 4


@dataclass(frozen=True, slots=True)
class Iteration:
    prefill_tokens: float
    decode_tokens: float
    """Tokens in the KV cache of the sequences that decode."""
    seconds: float


def observe(pod: PodSample) -> Iteration | None:
    """None = it does nothing now, or nothing has finished that tells the lengths."""
    if pod.running <= 0 or pod.output_tokens_per_s <= 0 or pod.output_tokens_mean <= 0:
        return None
    seconds = pod.running / pod.output_tokens_per_s
    prompts_per_s = pod.output_tokens_per_s / pod.output_tokens_mean
    return Iteration(
        prefill_tokens=prompts_per_s * pod.prompt_tokens_mean * seconds,
        decode_tokens=pod.kv_cache_usage * pod.kv_cache_tokens,
        seconds=seconds,
    )


class IterationModel:
    def __init__(self) -> None:
        self._kept: list[Iteration] = []
        self._fit: tuple[float, float, float] | None = None

    @property
    def ready(self) -> bool:
        return len(self._kept) >= MIN_OBSERVATIONS

    def add(self, iteration: Iteration) -> None:
        self._kept.append(iteration)
        if len(self._kept) > MAX_OBSERVATIONS:
            self._kept.pop(self._oldest_of_the_fullest_bucket())
        self._fit = None

    def iteration_s(self, prefill_tokens: float, decode_tokens: float) -> float:
        base, prefill, decode = self._coefficients()
        return base + prefill * prefill_tokens + decode * decode_tokens

    def ttft_s(self, queued_tokens: float, decode_tokens: float, *, prompt_tokens: float, chunk: int) -> float:
        work = queued_tokens + prompt_tokens
        whole = int(work // chunk)
        rest = work - whole * chunk
        seconds = whole * self.iteration_s(chunk, decode_tokens)
        return seconds + (self.iteration_s(rest, decode_tokens) if rest > 0 else 0.0)

    def itl_s(self, decode_tokens: float) -> float:
        prefill = sum(kept.prefill_tokens for kept in self._kept) / len(self._kept)
        return self.iteration_s(prefill, decode_tokens)

    def _coefficients(self) -> tuple[float, float, float]:
        """Least squares; work never makes an iteration shorter, so a slope below 0 is dropped and the rest refitted."""
        if self._fit is None:
            work = np.array([(1.0, kept.prefill_tokens, kept.decode_tokens) for kept in self._kept])
            seconds = np.array([kept.seconds for kept in self._kept])
            used = [0, 1, 2]
            while True:
                weights = np.linalg.lstsq(work[:, used], seconds, rcond=None)[0]
                falling = [column for column, weight in zip(used, weights, strict=True) if column and weight < 0]
                if not falling:
                    break
                used.remove(falling[0])
            fit = dict(zip(used, (float(weight) for weight in weights), strict=True))
            self._fit = (max(0.0, fit[0]), fit.get(1, 0.0), fit.get(2, 0.0))
        return self._fit

    def _oldest_of_the_fullest_bucket(self) -> int:
        most_prefill = max(kept.prefill_tokens for kept in self._kept) or 1.0
        most_decode = max(kept.decode_tokens for kept in self._kept) or 1.0
        buckets: dict[tuple[int, int], list[int]] = {}
        for index, kept in enumerate(self._kept):
            column = min(int(BUCKETS_EACH_WAY * kept.prefill_tokens / most_prefill), BUCKETS_EACH_WAY - 1)
            row = min(int(BUCKETS_EACH_WAY * kept.decode_tokens / most_decode), BUCKETS_EACH_WAY - 1)
            buckets.setdefault((column, row), []).append(index)
        return max(buckets.values(), key=len)[0]
