"""Fitting the physics to measurements: a robust maximum a posteriori estimate of its multiplicative constants.

Minimises, over theta = log(k_mem, k_cmp, k_ovh[, k_ttft]), the soft-L1 loss of the log residuals plus ridge priors:

    sum 2 (sqrt(1 + z^2) - 1) + sum ((theta - prior) / prior sd)^2,   z = (log observed - log predicted) / noise sd

by damped Gauss-Newton steps with a numeric Jacobian (sizing physics, section 6.5). Few points do not identify three
constants: along what they leave open, the priors hold the estimate where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inferencefleet.domain.capacity import Scales

Floats = NDArray[np.float64]

CONSTANTS = ("memory", "compute", "overhead", "ttft")
PRIOR_SD_LOG = (0.10, 0.15, 0.25, 0.15)
"""How far each constant is from 1 before anything is measured: two thirds of section 6.5's, since the physics is off by
less now. Chosen on the training split of benchmarks/accuracy."""
NOISE_SD_LOG = 0.05
"""Spread of a window's mean latency around the truth; a residual far above it counts with its size, not its square."""
LOWEST, HIGHEST = 1 / 3, 3.0
"""Bounds of every constant: beyond them something else is wrong."""
LARGEST_CONDITION = 1000.0
LEAST_SPREAD = 3.0
"""Largest over smallest batch from which on memory and overhead are told apart."""
LENGTH_BUCKET = 2.0
"""Prompts longer than others by this factor are another bucket of lengths."""
_STEP = 1e-4
_ITERATIONS = 30
_PRIOR = Scales()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalesFit:
    """What the measurements say about the constants."""

    scales: Scales
    """The estimate; the prior itself where nothing better was found. Never worse than the prior on the data given."""
    accepted: bool
    """Whether the data identify the constants, so that they may be used far from where they were measured."""
    condition_number: float
    """Of the Jacobian of the log predictions; infinite when a constant leaves no trace in them."""
    residual_sd_log: float
    """Standard deviation of what is left unexplained, from the median absolute residual."""
    sentence: str
    """Why it was accepted or not, with numbers."""


def fit_scales(
    predict_log: Callable[[Scales], NDArray[np.float64]],
    observed_log: ArrayLike,
    prior: Scales = _PRIOR,
    *,
    weights: ArrayLike | None = None,
    running: ArrayLike | None = None,
    prompt_tokens: ArrayLike | None = None,
    prior_sd_log: Sequence[float] = PRIOR_SD_LOG,
    noise_sd_log: float = NOISE_SD_LOG,
) -> ScalesFit:
    """Fit the constants to `observed_log`, the natural logs of n measured times in seconds, shape (n,).

    `predict_log(scales)` gives the log seconds of the same observations under `scales`, shape (n,); ITL and TTFT may be
    mixed. `scales.ttft` is fitted when some prediction depends on it. Entries that are not finite on either side are
    left out. `weights` (n,) multiply the loss of each observation. With `running` (batch of each observation, n,) or
    `prompt_tokens` the fit is accepted only when these spread enough: the largest batch 3 times the smallest, or
    prompts of two length buckets.

    Raises ValueError when shapes do not agree.
    """
    observed = np.atleast_1d(np.asarray(observed_log, dtype=np.float64))
    predicted = _checked(predict_log(prior), observed)
    usable = np.isfinite(observed) & np.isfinite(predicted)
    weight = np.ones(observed.size) if weights is None else _checked(weights, observed)
    if not usable.any():
        return ScalesFit(
            scales=prior,
            accepted=False,
            condition_number=inf,
            residual_sd_log=0.0,
            sentence="no observation is a finite number: the constants stay as they were",
        )
    search = _Search(predict_log, observed[usable], usable, weight[usable], prior, prior_sd_log, noise_sd_log)
    theta = search.run()
    scales = search.scales(theta)
    before, after = observed[usable] - predicted[usable], search.residuals(theta)
    if _mean(np.abs(after), weight[usable]) > _mean(np.abs(before), weight[usable]):
        theta, scales, after = search.start, prior, before
    condition = search.condition_number(theta)
    points = f"the mean error went from {_percent(before)} to {_percent(after)} % over {after.size} points"
    accepted, sentence = _verdict(search, condition, _of(running, usable), _of(prompt_tokens, usable))
    return ScalesFit(
        scales=scales,
        accepted=accepted,
        condition_number=condition,
        residual_sd_log=float(1.4826 * np.median(np.abs(after))),
        sentence=f"{sentence}; {points}",
    )


class _Search:
    """The Gauss-Newton steps; theta is log(constants) of those that are fitted."""

    def __init__(
        self,
        predict_log: Callable[[Scales], NDArray[np.float64]],
        observed: Floats,
        usable: NDArray[np.bool_],
        weights: Floats,
        prior: Scales,
        prior_sd_log: Sequence[float],
        noise_sd_log: float,
    ) -> None:
        self._predict_log, self._usable, self._observed = predict_log, usable, observed
        self._weights, self._prior, self._noise = weights, prior, noise_sd_log
        self.names: tuple[str, ...] = CONSTANTS
        self.start = np.array([log(getattr(prior, name)) for name in CONSTANTS])
        if not np.any(self._jacobian(self.start)[:, -1]):
            self.names, self.start = CONSTANTS[:-1], self.start[:-1]
        self._precision = np.array([1 / sd**2 for sd in prior_sd_log[: len(self.names)]])

    def scales(self, theta: Floats) -> Scales:
        return replace(self._prior, **{name: exp(value) for name, value in zip(self.names, theta, strict=True)})

    def residuals(self, theta: Floats) -> Floats:
        return self._observed - np.asarray(self._predict_log(self.scales(theta)), dtype=np.float64)[self._usable]

    def run(self) -> Floats:
        theta, damping = self.start, 1e-3
        residuals = self.residuals(theta)
        cost = self._cost(theta, residuals)
        for _ in range(_ITERATIONS):
            jacobian = self._jacobian(theta, residuals)
            # Soft-L1 by reweighting: an observation counts less the further it is off.
            pull = self._weights / (self._noise**2 * np.sqrt(1 + (residuals / self._noise) ** 2))
            normal = (jacobian * pull[:, None]).T @ jacobian + np.diag(self._precision)
            slope = jacobian.T @ (pull * residuals) - self._precision * (theta - self.start)
            moved = False
            while not moved and damping < 1e6:
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slope)
                tried = np.clip(theta + step, log(LOWEST), log(HIGHEST))
                left = self.residuals(tried)
                new_cost = self._cost(tried, left)
                moved = new_cost < cost
                damping = damping / 10 if moved else damping * 10
            if not moved:
                break
            gained, cost, theta, residuals = cost - new_cost, new_cost, tried, left
            if gained < 1e-5 * (1 + cost):
                break
        return theta

    def condition_number(self, theta: Floats) -> float:
        """Largest over smallest singular value of the Jacobian; infinite with fewer points than constants."""
        jacobian = self._jacobian(theta)
        if jacobian.shape[0] < jacobian.shape[1]:
            return inf
        values = np.linalg.svd(jacobian, compute_uv=False)
        return float(values[0] / values[-1]) if values[-1] > 0 else inf

    def _cost(self, theta: Floats, residuals: Floats) -> float:
        loss = 2 * (np.sqrt(1 + (residuals / self._noise) ** 2) - 1)
        cost = float((self._weights * loss).sum() + (self._precision * (theta - self.start) ** 2).sum())
        return cost if np.isfinite(cost) else inf

    def _jacobian(self, theta: Floats, here: Floats | None = None) -> Floats:
        """d log prediction / d theta, shape (n, p), by forward differences from the residuals `here`."""
        here = self.residuals(theta) if here is None else here
        columns = []
        for index in range(theta.size):
            change = np.zeros(theta.size)
            change[index] = _STEP
            # Residuals are observed - predicted, hence the order.
            columns.append((here - self.residuals(theta + change)) / _STEP)
        return np.nan_to_num(np.stack(columns, axis=1), nan=0.0, posinf=0.0, neginf=0.0)


def _verdict(
    search: _Search, condition: float, running: Floats | None, prompt_tokens: Floats | None
) -> tuple[bool, str]:
    if condition >= LARGEST_CONDITION:
        return False, (
            f"{' and '.join(search.names)} cannot be told apart by these points "
            f"(condition number {condition:.3g}, {LARGEST_CONDITION:.0f} is the limit)"
        )
    if running is None and prompt_tokens is None:
        return True, f"the points identify the constants (condition number {condition:.3g})"
    batches, prompts = _ratio(running), _ratio(prompt_tokens)
    if batches < LEAST_SPREAD and prompts < LENGTH_BUCKET:
        return False, (
            f"the points are too much alike: the largest batch is {batches:.2g} times the smallest "
            f"({LEAST_SPREAD:.0f} are needed) and prompts are of one length bucket"
        )
    return True, (
        f"the points identify the constants (condition number {condition:.3g}, batches spread {batches:.2g} times, "
        f"prompts {prompts:.2g} times)"
    )


def _ratio(values: Floats | None) -> float:
    """Largest over smallest; 1 when there are none."""
    known = np.zeros(0) if values is None else values[np.isfinite(values) & (values > 0)]
    return float(known.max() / known.min()) if known.size else 1.0


def _of(values: ArrayLike | None, usable: NDArray[np.bool_]) -> Floats | None:
    return None if values is None else np.asarray(values, dtype=np.float64)[usable]


def _checked(values: ArrayLike, observed: Floats) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != observed.shape:
        raise ValueError(f"{observed.size} observations, but an array of shape {found.shape} beside them")
    return found


def _mean(values: Floats, weights: Floats) -> float:
    return float((values * weights).sum() / max(float(weights.sum()), 1e-300))


def _percent(residuals: Floats) -> str:
    return f"{100 * float(np.abs(residuals).mean()):.1f}"
