"""The slow part of calibration: fit the constants to the last windows, and keep the fit only where it proves itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inferencefleet.domain.calibration import ShapeCalibration, Window
from inferencefleet.domain.capacity import ReplicaShape, Scales
from inferencefleet.physics.fit import fit_scales
from inferencefleet.physics.observed import Observed

EVERY = 5
"""Accepted windows between two refits."""
LEAST_WINDOWS = 15
RECENT_WINDOWS = 15
"""A second fit looks at these only: after a drift the older ones tell of something that is gone."""
HELD_OUT = 5
"""The last windows, which the fit does not see and must predict."""
BETTER = 0.95
"""Largest share of the old constants' error at which new ones are taken."""
AS_GOOD = 1.15
"""And largest error against that of the old constants with the live average on top: what predictions have now."""
HALF_LIFE_WINDOWS = 10.0
"""A window counts half as much as one that is so many younger: engines drift."""
PREFILL_WEIGHT = 0.25
"""Prefill times hold more that the model does not know (prompts that share a step) than ITL does."""

Floats = NDArray[np.float64]


def refit(entry: ShapeCalibration, shape: ReplicaShape) -> ShapeCalibration:
    """`entry` with constants fitted to its windows, or as it was.

    New constants must predict the held-out windows without the help of an average: better than the old constants alone,
    and as well as the old ones do with their average. The average then starts again at what is left.
    """
    if entry.used % EVERY or len(entry.windows) < LEAST_WINDOWS:
        return entry
    held_out, train = _Measured(shape, entry.windows[-HELD_OUT:], entry.prompt_shape), entry.windows[:-HELD_OUT]
    average = float(np.median(_Measured(shape, train[-2 * HELD_OUT :], entry.prompt_shape).itl_log(entry.fitted)))
    bound = min(BETTER * held_out.error(entry.fitted), AS_GOOD * held_out.error(entry.fitted, average))
    best = _fit(shape, train, entry.prompt_shape)
    if best is None or held_out.error(best) > bound:
        best = _fit(shape, train[-(RECENT_WINDOWS - HELD_OUT) :], entry.prompt_shape)
    if best is None or held_out.error(best) > bound:
        return entry
    left = held_out.itl_log(best)
    return replace(
        entry,
        fitted=best,
        itl_log=float(np.median(left)),
        fitted_itl_log=float(held_out.itl_log(Scales())[-1] - left[-1]),
    )


class _Measured:
    """Windows with what was measured in them."""

    def __init__(self, shape: ReplicaShape, windows: Sequence[Window], spread: Sequence[float]) -> None:
        self._observed = Observed(shape, windows, spread)
        self._itl_s = np.array([window.itl_s for window in windows])
        self._prefill = np.log([window.prefill_s or np.nan for window in windows])

    def itl_log(self, scales: Scales) -> Floats:
        """Logs of the factors on the constants that explain each window, shape (n,)."""
        return self._observed.factor_log(scales, self._itl_s)

    def error(self, scales: Scales, average: float = 0.0) -> float:
        """Mean error of ITL, and some of that of prefill, once an average residual of both is taken off."""
        itl = float(np.abs(self.itl_log(scales) - average).mean())
        prefill = np.abs(self._prefill - np.log(self._observed.prefill_s(scales)) - average)
        known = prefill[np.isfinite(prefill)]
        return itl + PREFILL_WEIGHT * float(known.mean()) if known.size else itl


def _fit(shape: ReplicaShape, train: Sequence[Window], spread: Sequence[float]) -> Scales | None:
    """Constants that the windows identify; None when they do not."""
    observed = Observed(shape, train, spread)
    prefill = [i for i, window in enumerate(train) if window.prefill_s is not None]

    def predict(scales: Scales) -> Floats:
        return np.log(np.concatenate((observed.itl_s(scales), observed.prefill_s(scales)[prefill])))

    weights = 0.5 ** (np.arange(len(train))[::-1] / HALF_LIFE_WINDOWS)
    points = [*train, *(train[i] for i in prefill)]
    found = fit_scales(
        predict,
        np.log([*(window.itl_s for window in train), *(train[i].prefill_s or 1.0 for i in prefill)]),
        weights=np.concatenate((weights, PREFILL_WEIGHT * weights[prefill])),
        running=[window.decode_seqs for window in points],
        prompt_tokens=[window.prompt_tokens for window in points],
    )
    return found.scales if found.accepted else None
