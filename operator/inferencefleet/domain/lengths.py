"""Prompt and output lengths as a joint sample: means are not enough to size a replica."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.float64]


class _Answered:
    """A place for what `content` has answered; no field, so that it is neither copied nor saved."""

    __slots__ = ("_content",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LengthMix(_Answered):
    """Equally likely requests: entry i of both arrays is one request. Shapes (n,), tokens, n >= 1."""

    prompt_tokens: Tokens
    output_tokens: Tokens
    prefix_hit_ratio: float = 0.0
    """Share of prompt tokens found in the prefix cache, 0..1."""
    source: str = "declared"
    """`declared` (from the spec), `observed` (from histograms) or `blended`."""

    @property
    def mean_prompt_tokens(self) -> float:
        return float(self.prompt_tokens.mean())

    @property
    def mean_output_tokens(self) -> float:
        return float(self.output_tokens.mean())

    def means_only(self) -> LengthMix:
        """As if every request had the mean lengths: what planners that know no distribution assume."""
        return replace(
            self,
            prompt_tokens=np.array([self.mean_prompt_tokens]),
            output_tokens=np.array([self.mean_output_tokens]),
        )

    def content(self) -> bytes:
        """The same for two mixes exactly when they hold the same requests in the same order; where from is ignored."""
        known: bytes | None = getattr(self, "_content", None)
        if known is not None:
            return known
        digest = blake2b(repr(self.prefix_hit_ratio).encode(), digest_size=16)
        digest.update(self.prompt_tokens.tobytes())
        digest.update(self.output_tokens.tobytes())
        object.__setattr__(self, "_content", digest.digest())
        return digest.digest()
