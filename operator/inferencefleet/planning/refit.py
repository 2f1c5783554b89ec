"""The slow part of calibration: fit the constants to the last windows, and keep the fit only where it proves itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.calibration import ShapeCalibration
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.physics.fit import fit_scales
from inferencefleet.physics.observed import Observed

EVERY = 5
"""Accepted windows between two refits."""
LEAST_WINDOWS = 15
HELD_OUT = 5
"""The last windows, which the fit does not see and must predict better than what is in use."""
BETTER = 0.95
"""Largest share of the old error at which a fit is taken."""
PREFILL_WEIGHT = 0.25
"""Prefill times hold more that the model does not know (prompts that share a step) than ITL does."""

Floats = NDArray[np.float64]


def refit(entry: ShapeCalibration, shape: ReplicaShape) -> ShapeCalibration:
    """`entry` with constants fitted to its windows, or as it was.

    The average residual starts again at the median of the last residuals under the new constants, so that predictions
    where the engine runs now do not jump.
    """
    if entry.used % EVERY or len(entry.windows) < LEAST_WINDOWS:
        return entry
    itl = np.log([window.itl_s for window in entry.windows])
    everything = Observed(shape, entry.windows)
    seen, train = slice(None, -HELD_OUT), entry.windows[:-HELD_OUT]
    prefill = [i for i, window in enumerate(train) if window.prefill_s is not None]
    training = Observed(shape, train)

    def predict(scales: Scales) -> Floats:
        return np.log(np.concatenate((training.itl_s(scales), training.prefill_s(scales)[prefill])))

    measured = [window.prefill_s for window in train if window.prefill_s is not None]
    found = fit_scales(
        predict,
        np.concatenate((itl[seen], np.log(measured))),
        weights=[1.0] * len(train) + [PREFILL_WEIGHT] * len(measured),
        running=[window.decode_seqs for window in train] + [window.decode_seqs for window in train if window.prefill_s],
        prompt_tokens=[window.new_tokens for window in train]
        + [window.new_tokens for window in train if window.prefill_s],
    )
    if not found.accepted:
        return entry
    # As constants only: TTFT is learnt on its own, and the uncertainty is that of live predictions.
    scales = replace(found.scales, ttft=1.0, sigma_log=entry.fitted.sigma_log)
    old, new = itl - np.log(everything.itl_s(entry.fitted)), itl - np.log(everything.itl_s(scales))
    if _held_out_error(new) > BETTER * _held_out_error(old):
        return entry
    prior = itl - np.log(everything.itl_s(Scales()))
    return replace(
        entry,
        fitted=scales,
        itl_log=float(np.median(new[-HELD_OUT:])),
        fitted_itl_log=float(prior[-1] - new[-1]),
    )


def _held_out_error(residuals: Floats) -> float:
    """Mean error of the last windows, once the average of those before them is taken off, as live predictions do."""
    offset = float(np.median(residuals[-3 * HELD_OUT : -HELD_OUT]))
    return float(np.abs(residuals[-HELD_OUT:] - offset).mean())
