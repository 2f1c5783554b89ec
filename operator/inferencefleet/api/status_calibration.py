"""`status.calibration` of an InferenceFleet: what running engines have taught, for people and for the next operator."""

from __future__ import annotations

from pydantic import Field

from inferencefleet.api.base import ApiModel, Timestamp
from inferencefleet.domain.calibration import CalibrationPhase

MEMORY_VERSION = 1
"""Raised when the meaning of `memory` changes: an older block is then not read, and the prior is used."""


class ScalesStatus(ApiModel):
    """Factors on modelled times, 1 is the prior. They predict together; none of them is a property of the hardware."""

    memory: float = Field(ge=0.1, le=10, description="Factor on the time of memory accesses.")
    compute: float = Field(ge=0.1, le=10, description="Factor on the time of matrix products.")
    overhead: float = Field(ge=0.1, le=10, description="Factor on fixed times of a step.")
    ttft: float = Field(1.0, ge=0.1, le=10, description="Factor on the time to first token.")


class RangeStatus(ApiModel):
    least: float = Field(description="Smallest value seen.")
    most: float = Field(description="Largest value seen.")


class EnvelopeStatus(ApiModel):
    batch: RangeStatus = Field(description="Sequences that one engine decoded at a time.")
    prompt_tokens: RangeStatus = Field(description="Mean prompt length in a window.")
    output_tokens: RangeStatus = Field(description="Mean output length in a window.")


class CalibrationMemory(ApiModel):
    """What a restarted operator goes on from. Logs are natural."""

    version: int = Field(description="Of this block; a block of another version is not read.")
    itl_log: float = Field(ge=-3, le=3, description="Average log residual of ITL.")
    fitted_itl_log: float = Field(0.0, ge=-3, le=3, description="What the fitted constants make of ITL.")
    prefill_log: float = Field(ge=-3, le=3, description="Average log residual of prefill time.")
    ttft_log: float = Field(ge=-3, le=3, description="Average log residual of TTFT.")
    itl_guard_log: float = Field(ge=0, le=3, description="Added to ITL while its percentile misses the SLO.")
    ttft_guard_log: float = Field(ge=0, le=3, description="Added to TTFT while its percentile misses the SLO.")
    sigma_log: float = Field(ge=0, le=3, description="Average error of one step.")
    fitted: ScalesStatus = Field(description="Constants of the last refit that was accepted.")
    residuals: str = Field(
        max_length=600, description="Last one-step log errors in thousandths, oldest first, separated by blanks."
    )
    prompt_shape: str = Field(
        max_length=300,
        description="Spread of prompt lengths: means of equally likely groups over the mean, separated by blanks.",
    )
    windows: str = Field(
        max_length=1200, description="Last accepted windows, packed; the next refit of the constants uses them."
    )


class CalibrationStatus(ApiModel):
    pool: str = Field(description="Name of the GPUPool.")
    shape: str = Field(
        description="GPUs of one replica and a fingerprint of its modelled step times: a change of model, format, GPU "
        "data, chunk size or physics is another shape."
    )
    model: str = Field(description="Model that was measured.")
    gpu: str = Field(description="GPU type.")
    tensor_parallel_size: int = Field(ge=1, description="GPUs of one replica.")
    state: CalibrationPhase = Field(
        description="Prior (nothing learnt), Learning (fewer than 3 windows), Calibrated, or Frozen (what was learnt "
        "stays in use, and the last windows taught nothing)."
    )
    reason: str = Field(description="What became of the last window, in one word.")
    message: str | None = Field(None, description="The same in a sentence with numbers.")
    factor: float | None = Field(
        None,
        description="What all times of the prior are multiplied with to give the inter-token latency that was measured "
        "at the batches seen last.",
    )
    ttft_factor: float | None = Field(None, description="Time to first token as measured over that of the model.")
    sigma: float | None = Field(
        None, description="Uncertainty that plans carry: standard deviation of log(measured / predicted)."
    )
    interval: RangeStatus | None = Field(
        None, description="Measured over predicted ITL: 80 % of windows are expected within."
    )
    applied: ScalesStatus | None = Field(None, description="What capacity is computed with; moves in steps.")
    windows: int = Field(0, ge=0, description="Windows that were learnt from.")
    rejected: int = Field(0, ge=0, description="Windows that were refused.")
    seen: EnvelopeStatus | None = Field(None, description="Operating points learnt from; beyond them trust falls.")
    updated: Timestamp | None = Field(None, description="End of the last window that was learnt from.")
    memory: CalibrationMemory | None = Field(None, description="For the operator itself.")
