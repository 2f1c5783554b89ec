"""What is remembered of a fleet's traffic: rates, lengths, and how well each way to forecast has done. Bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from inferencefleet.domain.lengths import LengthMix
from inferencefleet.domain.observation import Histogram

Points = tuple[tuple[float, float], ...]
"""(epoch seconds, requests per second), oldest first."""
BLOCK_S = 300.0
BLOCKS_KEPT = 14 * 288
"""Two weeks: a weekly season shows from the second week on."""
LEAST_COVERED = 1 / 3
"""Share of a block that must have been watched before its mean is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Mean arrival rates over five minutes each, on the grid of the epoch, up to two weeks of them."""

    first: int = 0
    """Number of the oldest block since the epoch."""
    means: tuple[float | None, ...] = ()
    """Requests per second; None where nothing was seen."""
    open_block: int = 0
    open_sum: float = 0.0
    """Requests of the block that is not over yet, as far as it was watched."""
    open_s: float = 0.0
    """Seconds of it that were watched."""

    def mean_at(self, at_s: float) -> float | None:
        """Rate at a moment, linear between the middles of blocks; None where either of the two is unknown."""
        place = at_s / BLOCK_S - 0.5
        left = int(place // 1)
        share = place - left
        index = left - self.first
        if index < 0 or index + 1 >= len(self.means):
            return None
        before, after = self.means[index], self.means[index + 1]
        return None if before is None or after is None else before + share * (after - before)

    def observed(self, at_s: float, rate_per_s: float, lasted_s: float) -> Blocks:
        """With one more rate that held for `lasted_s` before `at_s`."""
        block = int(at_s // BLOCK_S)
        inside_s = min(lasted_s, at_s - block * BLOCK_S)
        if block == self.open_block:
            return self._longer(rate_per_s, inside_s)
        # What reaches back into the block before belongs to that one.
        last = self._longer(rate_per_s, lasted_s - inside_s) if block == self.open_block + 1 else self
        closed = last._closed(block) if last.open_s > 0 else last
        return replace(closed, open_block=block, open_sum=rate_per_s * inside_s, open_s=inside_s)

    def _longer(self, rate_per_s: float, seconds: float) -> Blocks:
        return replace(self, open_sum=self.open_sum + rate_per_s * seconds, open_s=self.open_s + seconds)

    def _closed(self, next_block: int) -> Blocks:
        mean = self.open_sum / self.open_s if self.open_s >= LEAST_COVERED * BLOCK_S else None
        first, means = self.first, self.means
        missing = self.open_block - (first + len(means))
        if -len(means) <= missing < 0:
            return replace(self, open_block=next_block)  # a metrics store has told of this block, and of more of it
        if not means or not 0 <= missing < BLOCKS_KEPT:
            first, means, missing = self.open_block, (), 0
        means = (*means, *(None,) * missing, mean)
        surplus = max(0, len(means) - BLOCKS_KEPT)
        return replace(self, first=first + surplus, means=means[surplus:], open_block=next_block)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a metrics store still knows of one fleet from before this process began."""

    recent: Points = ()
    """The last half hour, one rate a tick."""
    blocks: Points = ()
    """Start of a five-minute block and its mean rate, up to two weeks."""
    window_s: float = 60.0
    """Rate window of the recent points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthMemory:
    """Token lengths as they have been seen, and the mix that is planned with until it is wrong."""

    prompt: Histogram | None = None
    output: Histogram | None = None
    """Buckets of the last half hour or so: older requests count less. None before the first."""
    prefix_hit_ratio: float | None = None
    seen: float = 0.0
    """Requests seen in all, as far as it matters."""
    at_s: float = 0.0
    mix: LengthMix | None = None
    """What is planned with. It stays the same object while lengths are statistically the same."""
    mix_prompt: Histogram | None = None
    mix_output: Histogram | None = None
    """The buckets that `mix` was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What one way to forecast says of one moment; requests per second."""

    location_per_s: float
    deviation_per_s: float
    """Standard deviation of its errors at this horizon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueForecast:
    """A forecast whose moment has not come yet."""

    made_s: float
    due_s: float
    level: float
    """Share of cases in which `upper_per_s` should hold, 0..1."""
    noise_per_s: float
    now_per_s: float
    guesses: tuple[Guess | None, ...]
    upper_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """How each way to forecast has done lately, in the order of `planning.forecasting.ways.WAYS`."""

    losses: tuple[float, ...] = ()
    """Pinball losses, requests per second, summed with forgetting."""
    weights: tuple[float, ...] = ()
    """Independent forecasts in that sum."""
    drifts: tuple[float, ...] = ()
    """Squared relative errors beyond noise, per second of horizon, summed likewise."""
    log_stretch: float = 0.0
    """Logarithm of what widens all deviations: it grows while bounds are broken too often, and shrinks otherwise."""
    due: tuple[DueForecast, ...] = ()
    dispersion_sum: float = 0.0
    dispersion_windows: float = 0.0
    """Variance over mean of arrivals in a rate window: the sum of single estimates, and how many they are."""
    window_at_s: float = 0.0
    window_per_s: float = 0.0
    """The rate that the next window's is compared with."""
    smooth_at_s: float = 0.0
    smooth_per_s: float = 0.0
    smooth_slope_per_s2: float = 0.0
    """Holt's level and slope."""
