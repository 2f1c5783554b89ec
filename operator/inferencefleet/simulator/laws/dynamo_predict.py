"""The load predictors of NVIDIA Dynamo's planner.

Source: ai-dynamo/dynamo, docs/design-docs/planner-design.md (320e674b), planner-config-reference.mdx (08db9ac2) and
components/src/dynamo/planner/core/load/predictors.py (260b6ae9). All predict the next interval's number of requests
from those before, skip the zeros before the first traffic, and repeat the last value until they have 5 points.

    constant   next = last
    arima      ARIMA(p, d, 0) with a mean, p <= 2, d <= 1, order by AIC, least squares: what its auto-ARIMA comes to
               without the moving average, whose fit needs a package of its own
    kalman     local linear trend: level' = level + trend + w, trend' = trend + u, z = level + v;
               var w = 1.0, var u = 0.1, var v = 10.0

Prophet is left out: its default daily and weekly seasons need days of history, and it draws at random.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MIN_POINTS = 5


class Predictor(Protocol):
    def add(self, requests: float) -> None: ...

    def next(self) -> float: ...


class Constant:
    def __init__(self) -> None:
        self._history: list[float] = []

    def add(self, requests: float) -> None:
        if requests > 0 or self._history:
            self._history.append(requests)

    def next(self) -> float:
        return self._history[-1] if self._history else 0.0


class Arima(Constant):
    def next(self) -> float:
        if len(self._history) < MIN_POINTS or len(set(self._history)) == 1:
            return super().next()
        return max(0.0, arima(self._history))


class Kalman(Constant):
    def __init__(self, *, q_level: float = 1.0, q_trend: float = 0.1, r: float = 10.0) -> None:
        super().__init__()
        self._transition = np.array([[1.0, 1.0], [0.0, 1.0]])
        self._noise = np.diag([q_level, q_trend])
        self._r = r
        self._state: NDArray[np.float64] | None = None
        self._covariance = 1000.0 * np.eye(2)

    def add(self, requests: float) -> None:
        before = len(self._history)
        super().add(requests)
        if len(self._history) == before:
            return
        if self._state is None:
            self._state = np.array([requests, 0.0])
            return
        state, covariance = self._ahead(self._state)
        gain = covariance[:, 0] / (covariance[0, 0] + self._r)
        self._state = state + gain * (requests - state[0])
        self._covariance = covariance - np.outer(gain, covariance[0])

    def next(self) -> float:
        if self._state is None or len(self._history) < MIN_POINTS:
            return super().next()
        return max(0.0, float(self._ahead(self._state)[0][0]))

    def _ahead(self, state: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        covariance = self._transition @ self._covariance @ self._transition.T + self._noise
        return self._transition @ state, covariance


PREDICTORS = {"constant": Constant, "arima": Arima, "kalman": Kalman}


def arima(history: Sequence[float]) -> float:
    """One step ahead by the best ARIMA(p, d, 0); all orders are judged on the same points."""
    series = np.asarray(history, dtype=float)
    best, best_aic = float(series[-1]), math.inf
    for differences in (0, 1):
        steps = np.diff(series, n=differences)
        for order in (0, 1, 2):
            points = len(series) - 3
            if points <= order + 1:
                continue
            lags = [steps[len(steps) - points - lag : len(steps) - lag] for lag in range(1, order + 1)]
            design = np.column_stack([np.ones(points), *lags])
            observed = steps[-points:]
            weights = np.linalg.lstsq(design, observed, rcond=None)[0]
            variance = float(np.mean((observed - design @ weights) ** 2))
            aic = points * math.log(max(variance, 1e-12)) + 2 * (order + 2)
            if aic < best_aic - 1e-9:
                ahead = float(weights[0] + sum(w * steps[-lag] for lag, w in enumerate(weights[1:], start=1)))
                best, best_aic = ahead + (float(series[-1]) if differences else 0.0), aic
    return best
