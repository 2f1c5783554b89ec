"""What running engines have taught about the physics: kept for each fleet, pool and shape of replica."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from inferencefleet.domain.capacity import Scales

WINDOWS_KEPT = 50
"""Windows that a refit looks back on."""
RESIDUALS_KEPT = 50
PROMPT_GROUPS = 16
"""Groups that the spread of prompt lengths is kept in."""
PROBATION_WINDOWS = 3
"""Accepted windows before anything learnt may raise a capacity above the prior."""


class CalibrationPhase(StrEnum):
    """`Frozen`: something was learnt and stays in use, but nothing is learnt now."""

    PRIOR = "Prior"
    LEARNING = "Learning"
    CALIBRATED = "Calibrated"
    FROZEN = "Frozen"


class WindowVerdict(StrEnum):
    """What became of the last window; all but the first leave everything as it was."""

    ACCEPTED = "WindowAccepted"
    NO_METRICS = "NoMetrics"
    INCOMPLETE = "IncompleteMetrics"
    """A series that is needed is missing, not a number, or zero where it cannot be."""
    TOO_FEW_REQUESTS = "TooFewRequests"
    SCALE_EVENT = "ScaleEvent"
    RESTARTED = "EngineRestarted"
    PREEMPTIONS = "Preemptions"
    NOT_STATIONARY = "NotStationary"
    BATCH_MISMATCH = "BatchMismatch"
    """The gauge of running requests and the latencies cannot both be true (Little's law)."""
    STUCK_GAUGE = "StuckGauge"
    HITS_HIDDEN = "PrefixHitsHidden"
    OTHER_MODEL = "OtherModel"
    SPECULATIVE = "SpeculativeDecoding"
    OUTLIER = "Outlier"
    GARBAGE = "UnreadableStatus"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeKey:
    """Which replica it is about. The fingerprint changes with whatever changes the modelled step time."""

    model: str
    gpu: str
    tensor_parallel: int
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.tensor_parallel} x {self.gpu} {self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one engine of a pool did in one rate window, on average: all that predicting it again needs."""

    decode_seqs: float
    """Mean sequences that decode."""
    context_tokens: float
    """Mean cached tokens of each."""
    prompts_per_s: float
    prompt_tokens: float
    """Mean length of a prompt."""
    prefix_hit_ratio: float
    """Share of it that the prefix cache held, 0..1."""
    itl_s: float
    """Mean inter-token latency as measured."""
    prefill_s: float | None = None
    """Mean time from being scheduled to the first token, as measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The smallest and largest operating point that was learnt from."""

    decode_seqs: tuple[float, float]
    prompt_tokens: tuple[float, float]
    output_tokens: tuple[float, float]

    def around(self, decode_seqs: float, prompt_tokens: float, output_tokens: float) -> Envelope:
        """Widened to hold this point."""
        return Envelope(
            decode_seqs=_wider(self.decode_seqs, decode_seqs),
            prompt_tokens=_wider(self.prompt_tokens, prompt_tokens),
            output_tokens=_wider(self.output_tokens, output_tokens),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeCalibration:
    """One replica shape in one pool. Logs are natural; 0 is the prior, positive is slower than modelled."""

    pool: str
    key: ShapeKey
    sigma_log: float
    """Standard deviation of the one-step log errors, as an average that forgets; starts at the prior's."""
    prior_sigma_log: float = Scales().sigma_log
    """The same before anything is measured."""
    itl_log: float = 0.0
    """Average log residual of ITL against the fitted constants, at the observed batch."""
    prefill_log: float = 0.0
    ttft_log: float = 0.0
    """The same of prefill time, and of TTFT at the observed rate."""
    itl_guard_log: float = 0.0
    ttft_guard_log: float = 0.0
    """Added while a measured percentile misses its SLO at a load the model calls safe; never negative."""
    fitted: Scales = Scales()
    """Constants of the last refit that was accepted. They predict; they are not what the hardware physically does."""
    fitted_itl_log: float = 0.0
    """What the fitted constants explain of the last window: log of a factor on all times of the prior."""
    applied: Scales | None = None
    """What capacity is computed with; moves in steps, so that plans stand still while averages breathe."""
    used: int = 0
    rejected: int = 0
    suspects: int = 0
    """Consecutive outliers, negative when they are faster than predicted: three in a row are news, not noise."""
    envelope: Envelope | None = None
    residuals_log: tuple[float, ...] = ()
    """Of predictions made before their window, oldest first."""
    windows: tuple[Window, ...] = ()
    """Oldest first."""
    prompt_shape: tuple[float, ...] = (1.0,)
    """How prompts of the last window spread: means of equally likely groups, ascending, over the mean of all."""
    verdict: WindowVerdict = WindowVerdict.NO_METRICS
    sentence: str = "no window was looked at yet"
    updated_s: float | None = None
    """End of the last accepted window (epoch seconds)."""
    misses: int = 0
    """Windows refused since then."""
    looked_s: float | None = None
    """When the last window was counted."""

    @property
    def itl_factor_log(self) -> float:
        """Log of the factor on all times of the prior that explains the ITL of the last windows."""
        return self.itl_log + self.fitted_itl_log

    @property
    def phase(self) -> CalibrationPhase:
        if self.used == 0:
            return CalibrationPhase.PRIOR
        if self.misses >= PROBATION_WINDOWS:
            return CalibrationPhase.FROZEN
        return CalibrationPhase.LEARNING if self.used < PROBATION_WINDOWS else CalibrationPhase.CALIBRATED


def _wider(bounds: tuple[float, float], value: float) -> tuple[float, float]:
    return min(bounds[0], value), max(bounds[1], value)
