"""Prediction intervals from residuals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inferencefleet.physics.intervals import interval_log


def coverage(seen: int, *, sd: float = 0.1, prior_sd: float = 0.1, level: float = 0.8, heavy: bool = False) -> float:
    chance = np.random.default_rng(7)
    draw = (lambda size: chance.standard_t(3, size) * sd) if heavy else (lambda size: chance.normal(0, sd, size))
    inside = 0
    for _ in range(2000):
        lower, upper = interval_log(draw(seen).tolist(), prior_sd, level)
        inside += lower <= draw(1)[0] <= upper
    return inside / 2000


@pytest.mark.parametrize("seen", [0, 5, 20, 50])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_the_share_of_new_measurements_inside_is_the_level(seen: int, level: float) -> None:
    assert coverage(seen, level=level) == pytest.approx(level, abs=0.03)


def test_with_enough_residuals_their_distribution_and_the_prior_do_not_matter() -> None:
    assert coverage(50, heavy=True) == pytest.approx(0.8, abs=0.03)
    assert coverage(50, sd=0.3, prior_sd=0.01) == pytest.approx(0.8, abs=0.03)


def test_without_residuals_the_interval_is_that_of_the_prior() -> None:
    lower, upper = interval_log([], 0.2)
    assert lower == pytest.approx(-0.2 * 1.2816, rel=0.06)
    assert upper == pytest.approx(0.2 * 1.2816, rel=0.06)


def test_a_bias_of_the_predictions_shifts_the_interval() -> None:
    lower, upper = interval_log([0.3 + 0.001 * i for i in range(40)], 0.2)
    assert 0.3 <= lower < upper <= 0.34


def test_residuals_that_are_not_numbers_are_left_out() -> None:
    assert interval_log([math.nan, math.inf, -math.inf], 0.2) == interval_log([], 0.2)


def test_impossible_questions_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="level=1"):
        interval_log([], 0.2, 1)
    with pytest.raises(ValueError, match="prior_sd_log=-1"):
        interval_log([], -1)
