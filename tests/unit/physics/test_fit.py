"""Fitting the constants of the physics."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inferencefleet.domain.capacity import Scales
from inferencefleet.physics.fit import HIGHEST, LARGEST_CONDITION, LOWEST, fit_scales
from inferencefleet.physics.step import StepModel
from tests.unit.physics.shapes import shape

SHAPE = shape()
TRUTH = Scales(memory=1.2, compute=0.8, overhead=1.4)
SEQS = np.array([1, 2, 4, 8, 16, 32, 64, 128] * 6, dtype=float)
PREFILL = np.tile([0.0, 0.0, 0.0, 0.0, 500.0, 1000.0, 2000.0, 500.0], 6)


def predict(scales: Scales) -> NDArray[np.float64]:
    """Log step times of batches of 1 to 128, half of them with prompt chunks; the TTFT factor has no part in them."""
    return np.log(StepModel(SHAPE, scales).seconds_array(SEQS, SEQS * 1200.0, PREFILL, 600.0))


def predict_with_ttft(scales: Scales) -> NDArray[np.float64]:
    """The last eight are times to first token."""
    found = predict(scales)
    found[-8:] += np.log(scales.ttft)
    return found


def noisy(seed: int = 1, sd: float = 0.03, truth: Scales = TRUTH) -> NDArray[np.float64]:
    return predict(truth) + np.random.default_rng(seed).normal(0, sd, SEQS.size)


def error(scales: Scales, truth: Scales = TRUTH) -> float:
    """Mean absolute log error against the truth without noise."""
    return float(np.abs(predict(scales) - predict(truth)).mean())


def test_hidden_constants_are_found_from_noisy_points() -> None:
    found = fit_scales(predict, noisy(), running=SEQS)
    assert found.accepted, found.sentence
    assert found.scales.memory == pytest.approx(1.2, rel=0.03)
    assert found.scales.compute == pytest.approx(0.8, rel=0.05)
    assert found.scales.overhead == pytest.approx(1.4, rel=0.08)
    assert error(Scales()) > 0.1
    assert error(found.scales) < 0.01
    assert found.residual_sd_log == pytest.approx(0.03, rel=0.5)


@pytest.mark.parametrize("seed", range(10))
def test_one_outlier_in_ten_moves_the_prediction_by_little(seed: int) -> None:
    observed = noisy(seed)
    observed[::10] += np.random.default_rng(seed).choice([-2.0, 2.0], observed[::10].size)
    assert error(fit_scales(predict, observed).scales) < 0.03


@pytest.mark.parametrize("seed", range(10))
def test_nothing_worse_than_the_prior_comes_back_even_from_garbage(seed: int) -> None:
    chance = np.random.default_rng(seed)
    observed = chance.normal(-3, 3, SEQS.size)
    found = fit_scales(predict, observed)
    before, after = np.abs(observed - predict(Scales())), np.abs(observed - predict(found.scales))
    assert after.mean() <= before.mean()
    for value in (found.scales.memory, found.scales.compute, found.scales.overhead):
        assert LOWEST * 0.999 <= value <= HIGHEST * 1.001


def test_three_points_at_low_load_are_explained_and_not_accepted_as_identifying() -> None:
    few = slice(0, 3)
    found = fit_scales(lambda scales: predict(scales)[few], predict(TRUTH)[few])
    assert np.abs(predict(found.scales)[few] - predict(TRUTH)[few]).max() < 0.02
    assert not found.accepted
    assert found.condition_number > LARGEST_CONDITION
    assert found.scales.compute == pytest.approx(1.0, abs=0.02), "what leaves no trace stays at the prior"
    assert "cannot be told apart" in found.sentence


def test_points_that_are_all_alike_are_refused_by_the_spread_guard() -> None:
    seqs = np.linspace(30, 40, 24)
    prefill = np.tile([0.0, 300.0, 3000.0], 8)

    def narrow(scales: Scales) -> NDArray[np.float64]:
        return np.log(StepModel(SHAPE, scales).seconds_array(seqs, seqs * 1200.0, prefill, 600.0))

    found = fit_scales(narrow, narrow(TRUTH), running=seqs, prompt_tokens=np.full(24, 700.0))
    assert found.condition_number < LARGEST_CONDITION
    assert not found.accepted
    assert "too much alike" in found.sentence
    lengths = np.where(np.arange(24) < 12, 500.0, 1500.0)
    assert fit_scales(narrow, narrow(TRUTH), running=seqs, prompt_tokens=lengths).accepted


def test_the_ttft_factor_is_fitted_when_times_to_first_token_are_among_the_points() -> None:
    truth = Scales(memory=1.1, ttft=1.6)
    found = fit_scales(predict_with_ttft, predict_with_ttft(truth))
    assert found.scales.ttft == pytest.approx(1.6, rel=0.05)
    assert fit_scales(predict, predict(truth), Scales(ttft=1.3)).scales.ttft == 1.3, "no trace of it, so it stays"


def test_points_that_are_not_numbers_are_left_out() -> None:
    observed = noisy()
    observed[[3, 17]] = np.nan
    observed[5] = -np.inf
    found = fit_scales(predict, observed)
    assert error(found.scales) < 0.02
    assert f"over {SEQS.size - 3} points" in found.sentence
    nothing = fit_scales(predict, np.full(SEQS.size, np.nan))
    assert (nothing.scales, nothing.accepted) == (Scales(), False)
    assert "no observation is a finite number" in nothing.sentence


def test_weights_decide_between_points_that_disagree() -> None:
    observed = np.concatenate((predict(TRUTH)[:24], predict(Scales())[24:]))
    weights = np.where(np.arange(SEQS.size) < 24, 1.0, 1e-6)
    assert error(fit_scales(predict, observed, weights=weights).scales) < 0.01
    assert error(fit_scales(predict, observed, weights=1 - weights).scales, Scales()) < 0.01


def test_the_same_points_give_the_same_fit() -> None:
    assert fit_scales(predict, noisy()) == fit_scales(predict, noisy())


def test_observations_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="3 observations, but an array of shape"):
        fit_scales(predict, np.zeros(3))


def test_a_prior_that_is_not_one_is_where_the_estimate_starts() -> None:
    prior = Scales(memory=1.15, compute=0.9, overhead=1.3, sigma_log=0.1)
    few = fit_scales(lambda scales: predict(scales)[:1], predict(prior)[:1], prior)
    assert (few.scales.memory, few.scales.overhead) == (pytest.approx(1.15), pytest.approx(1.3))
    assert few.scales.sigma_log == 0.1
