"""How far a measurement will be from a prediction: split-conformal intervals from past residuals."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import NormalDist

import numpy as np

ENOUGH = 20
"""Residuals from which on they alone speak; below, the prior makes up the number."""


def interval_log(residuals_log: Sequence[float], prior_sd_log: float, level: float = 0.8) -> tuple[float, float]:
    """Lower and upper offset, in natural log, of the interval that holds a share `level` of log(measured / predicted).

    Multiply a prediction by exp of both to get its interval. The residuals are those of predictions made before the
    measurement was known. Order statistics at ranks (n + 1) p cover a new, exchangeable residual with probability
    `level` whatever its distribution (Papadopoulos et al. 2002; Vovk et al. 2005). With fewer than `ENOUGH` residuals,
    evenly spaced quantiles of a normal distribution with `prior_sd_log` stand in for the missing ones.

    Raises ValueError for a level outside (0, 1) or a negative standard deviation.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must be between 0 and 1, for example 0.8")
    if not prior_sd_log >= 0:
        raise ValueError(f"prior_sd_log={prior_sd_log}: a standard deviation is not negative")
    known = [value for value in residuals_log if isfinite(value)]
    missing = max(0, ENOUGH - len(known))
    inverse = NormalDist().inv_cdf
    known += [prior_sd_log * inverse((index + 1) / (missing + 1)) for index in range(missing)]
    tail = (1 - level) / 2
    lower, upper = np.quantile(known, (tail, 1 - tail), method="weibull")
    return float(lower), float(upper)
