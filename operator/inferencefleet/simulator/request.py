"""One request as the engine sees it: lengths going in, a few stamps coming out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    NEW = "new"
    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    FINISHED = "finished"
    ABORTED = "aborted"


@dataclass(slots=True, eq=False)
class Request:
    """Mutable on purpose: one object for the whole life of a request, touched only when it changes state.

    While it decodes it is *not* touched: how many tokens it has follows from the engine's step count (`tokens_at`).
    """

    id: int
    arrival_s: float
    """When the client sent it; TTFT counts from here."""
    prompt_tokens: int
    output_tokens: int
    """How many tokens it will generate (known to the simulation, not to the scheduler)."""
    cached_tokens: int = 0
    """Prompt tokens found in the prefix cache."""
    finish_reason: str = "stop"

    state: State = State.NEW
    queued_s: float = 0.0
    scheduled_s: float | None = None
    """First time in a batch."""
    first_token_s: float | None = None
    last_token_s: float | None = None
    generated: int = 0
    """Tokens generated up to `joined_step` while decoding, in all otherwise."""
    preemptions: int = 0
    slow_tokens: int = 0
    """Tokens whose interval was over the engine's ITL target, up to `joined_step` while decoding."""

    computed: int = 0
    """Prompt (and recomputed) tokens whose KV exists, while prefilling."""
    target: int = 0
    """Tokens that must be cached when this prefill ends: prompt, plus what was generated before a preemption."""
    blocks: int = 0
    """KV blocks held when prefill started; growth while decoding follows from the step count."""
    joined_step: int = 0
    finish_step: int = -1
    slow_mark: int = 0
    """The engine's count of slow steps when decoding began."""

    def tokens_at(self, step: int) -> int:
        """Tokens generated when `step` has ended."""
        return self.generated + step - self.joined_step if self.state is State.DECODING else self.generated

    @property
    def ttft_s(self) -> float | None:
        return None if self.first_token_s is None else self.first_token_s - self.arrival_s

    @property
    def mean_itl_s(self) -> float | None:
        if self.first_token_s is None or self.last_token_s is None or self.generated < 2:
            return None
        return (self.last_token_s - self.first_token_s) / (self.generated - 1)
